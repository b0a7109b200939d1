//! The stacks that are compared: ours first, the peers that were built in, the limit of the machine last.

#[cfg(all(feature = "tquic", feature = "quiche"))]
compile_error!(
    "tquic and quiche each link a BoringSSL of their own, with the same symbols, so no executable can hold both: \
     leave out one of the features, and run with `--with-tquic` to have tquic beside quiche"
);

#[cfg(not(feature = "tquic"))]
mod absent;
mod aead;
mod limit;
mod mpquic;
#[cfg(feature = "noq")]
mod noq;
#[cfg(feature = "quiche")]
mod quiche;
#[cfg(feature = "quinn")]
mod quinn;
#[cfg(feature = "s2n-quic")]
mod s2n_quic;
#[cfg(any(feature = "quinn", feature = "noq"))]
mod tls;
#[cfg(feature = "tquic")]
mod tquic;

use crate::stack::Stack;
use std::time::Duration;

pub(crate) static ALL: &[Stack] = &[
    mpquic::STACK,
    #[cfg(feature = "quinn")]
    quinn::STACK,
    #[cfg(feature = "noq")]
    noq::STACK,
    #[cfg(feature = "s2n-quic")]
    s2n_quic::STACK,
    #[cfg(feature = "quiche")]
    quiche::STACK,
    #[cfg(feature = "tquic")]
    tquic::STACK,
    #[cfg(not(feature = "tquic"))]
    absent::TQUIC,
    limit::STACK,
];

/// The name of the one that cannot be in the same executable as all others.
pub(crate) const TQUIC: &str = "tquic";

/// Whether its ends have to be played by another executable.
pub(crate) fn is_apart(name: &str) -> bool {
    cfg!(not(feature = "tquic")) && name == TQUIC
}

pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|stack| stack.name).collect()
}

/// The application protocol and the name in the certificate.
const ALPN: &[u8] = b"bench";
pub(crate) const NAME: &str = "localhost";
/// The largest UDP payload of an IPv4 or IPv6 packet of 1500 bytes; all stacks use it.
const MTU: u16 = 1452;
/// Receive windows of the peers, where they can bear them, in bytes. Larger ones gain them nothing on loopback.
#[cfg(any(feature = "quinn", feature = "s2n-quic", feature = "quiche", feature = "tquic"))]
const STREAM_WINDOW: u32 = 8 << 20;
#[cfg(any(feature = "quinn", feature = "noq", feature = "s2n-quic", feature = "quiche", feature = "tquic"))]
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Streams that the other end may open.
#[cfg(any(feature = "quinn", feature = "noq", feature = "s2n-quic", feature = "quiche", feature = "tquic"))]
const STREAMS: u32 = 256;
/// Longer than any round: idle connections are what one test counts.
const IDLE: Duration = Duration::from_secs(120);
