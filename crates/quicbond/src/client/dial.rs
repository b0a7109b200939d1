//! How a way in asks for a way out: a target, a flow to it or a refusal.
//!
//! Owns names of destinations as users write them, and what a user, a SOCKS client and an HTTP client are told when
//! there is no way. Refuses to know the tunnel: whoever can open flows implements [`Dial`].

use crate::relay::Abort;
use bytes::Bytes;
use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncWrite};

/// RFC 1035 §2.3.4, without the root's empty label.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Opens flows to targets.
pub(crate) trait Dial: Clone + Send + Sync + 'static {
    type Flow: AsyncRead + AsyncWrite + Abort + Send + Unpin + 'static;
    type Datagrams: DatagramFlow;

    /// Ready once the far end accepted the connection.
    fn tcp(&self, target: &Target) -> impl Future<Output = Result<Self::Flow, Refusal>> + Send;

    fn udp(&self, target: &Target) -> impl Future<Output = Result<Self::Datagrams, Refusal>> + Send;
}

/// Datagrams to and from one target.
pub(crate) trait DatagramFlow: Send + Sync + 'static {
    /// False if the datagram was dropped: it is too long, or there is no room.
    fn send(&self, payload: &[u8]) -> bool;

    /// The next datagram; `None` once the flow is over. A call that is dropped before it is ready takes none.
    fn recv(&self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A destination by address, or by a name that the server resolves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// The text names no destination; says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTarget(&'static str);

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for BadTarget {}

impl FromStr for Host {
    type Err = BadTarget;

    /// An address without brackets, or a name.
    fn from_str(text: &str) -> Result<Self, BadTarget> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let labels_fit = name.split('.').all(|l| (1..=LABEL_MAX).contains(&l.len()) && l.bytes().all(legal));
        if name.len() > NAME_MAX || !labels_fit {
            return Err(BadTarget(
                "the host is neither an address nor a name of letters, digits, '-' and '.'",
            ));
        }
        // Resolvers read 127.1 and 0x7f000001 as addresses, past every rule about addresses.
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X") {
            return Err(BadTarget("the host looks like an address but is none"));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    /// `host:port`, with an IPv6 address in brackets.
    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let (host, port) =
            text.rsplit_once(':').ok_or(BadTarget("the port is missing, as in example.com:443"))?;
        let digits_only = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|p| digits_only && *p != 0);
        let port = port.ok_or(BadTarget("the port is not a number from 1 to 65535"))?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inside) => {
                let address = inside.and_then(|inside| inside.parse::<Ipv6Addr>().ok());
                Host::Ip(address.ok_or(BadTarget("what is in brackets is not an IPv6 address"))?.into())
            }
            None if host.contains(':') => {
                return Err(BadTarget("an IPv6 address needs brackets, as in [::1]:443"));
            }
            None => host.parse()?,
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Ip(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Why there is no flow to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A rule of the server forbids it.
    NotAllowed,
    /// The target refused the connection.
    Refused,
    HostUnreachable,
    TimedOut,
    NameUnknown,
    /// A limit of ours or of the server's.
    TooMany,
    TunnelDown,
}

impl Refusal {
    /// For the user: what happened, to what, and what to do.
    pub(crate) fn explain(self, target: &Target) -> String {
        match self {
            Self::NotAllowed => {
                format!("the server does not allow {target}: ask whoever runs it to permit it")
            }
            Self::Refused => {
                format!("{target} refused the connection: check the port, and that the service runs")
            }
            Self::HostUnreachable => format!("{target} cannot be reached from the server: check the address"),
            Self::TimedOut => format!("{target} did not answer in time: check that it is up, or try again"),
            Self::NameUnknown => format!("the name in {target} is unknown: check its spelling"),
            Self::TooMany => {
                format!("too many flows are open for one more to {target}: close some or raise the limit")
            }
            Self::TunnelDown => {
                format!("the tunnel is down, so there is no way to {target}: check the links")
            }
        }
    }

    /// RFC 1928 §6.
    pub(crate) const fn socks5_reply(self) -> u8 {
        match self {
            Self::TooMany => 1,
            Self::NotAllowed => 2,
            Self::TunnelDown => 3,
            Self::HostUnreachable | Self::NameUnknown => 4,
            Self::Refused => 5,
            Self::TimedOut => 6,
        }
    }

    /// RFC 9110 §15.
    pub(crate) const fn http_status(self) -> (u16, &'static str) {
        match self {
            Self::NotAllowed => (403, "Forbidden"),
            Self::Refused | Self::HostUnreachable | Self::NameUnknown => (502, "Bad Gateway"),
            Self::TimedOut => (504, "Gateway Timeout"),
            Self::TooMany | Self::TunnelDown => (503, "Service Unavailable"),
        }
    }
}

#[cfg(test)]
mod tests;
