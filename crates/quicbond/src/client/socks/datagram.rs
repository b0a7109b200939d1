//! The header in front of each UDP datagram between client and proxy (RFC 1928 §7).

use super::socks5::{IPV4, IPV6, NAME, host_from, write_ip};
use crate::client::dial::{Host, Target};

/// The target and the payload; `None` for a fragment, which RFC 1928 §7 lets us drop, and for anything malformed.
pub(super) fn read(datagram: &[u8]) -> Option<(Target, &[u8])> {
    let (&[_, _, fragment, kind], rest) = datagram.split_first_chunk()?;
    if fragment != 0 {
        return None;
    }
    let (host, rest) = match kind {
        IPV4 => {
            let (octets, rest) = rest.split_first_chunk::<4>()?;
            (Host::Ip((*octets).into()), rest)
        }
        IPV6 => {
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            (Host::Ip((*octets).into()), rest)
        }
        NAME => {
            let (len, rest) = rest.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(*len))?;
            (host_from(name)?, rest)
        }
        _ => return None,
    };
    let (port, payload) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    (port != 0).then_some((Target { host, port }, payload))
}

/// The header of datagrams that come from `target`. A name stays a name: only the server knows its address.
pub(super) fn header(target: &Target) -> Vec<u8> {
    let mut out = vec![0, 0, 0];
    match &target.host {
        Host::Ip(address) => write_ip(&mut out, *address),
        Host::Name(name) => {
            out.push(NAME);
            // A name that was parsed has at most 254 bytes.
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend(name.bytes());
        }
    }
    out.extend(target.port.to_be_bytes());
    out
}
