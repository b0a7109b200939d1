//! The stacks that are compared: ours first, the ratio is against the others.

mod mpquic;
mod quinn;

use crate::stack::Stack;

pub(crate) const ALL: &[Stack] = &[mpquic::STACK, quinn::STACK];

/// The application protocol and the name in the certificate.
const ALPN: &[u8] = b"bench";
pub(crate) const NAME: &str = "localhost";
/// The largest UDP payload of an IPv4 or IPv6 packet of 1500 bytes; all stacks use it.
const MTU: u16 = 1452;
