//! The test cases, and all that sets one apart from the others.
//!
//! The names are those that the runner passes to an endpoint, and besides them those that its tables show: the runner
//! itself says `transfer` or `multiconnect` where only its network is special.

use mpquic::tls::Ciphers;
use mpquic::{RetryPolicy, TransportConfig};
use std::time::Duration;

/// RFC 9000 §15 and RFC 9369 §3.1.
pub const VERSION_1: u32 = 1;
pub const VERSION_2: u32 = 0x6b33_43cf;

/// The application protocol of every case but `http3`: HTTP/0.9, one request per stream.
pub const ALPN_HQ: &[u8] = b"hq-interop";

/// First receive windows, in bytes. The runner wants to see them grow during the transfer of a file of 2 MB.
const STREAM_WINDOW: u64 = 256 << 10;
const CONNECTION_WINDOW: u64 = 512 << 10;
/// RFC 9000 §14: what every path carries. The runner of `zerortt` fails a client that says more than 5000 bytes in 1-RTT
/// packets, and a search for a larger size takes that much in probes.
const MTU_LEAST: u16 = 1200;
/// With three of ten packets lost each way, a handshake now and then takes many attempts; the runner waits for 300 s.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    Handshake,
    Transfer,
    LongRtt,
    ChaCha20,
    Multiplexing,
    Retry,
    Resumption,
    ZeroRtt,
    Http3,
    Blackhole,
    KeyUpdate,
    Ecn,
    AmplificationLimit,
    HandshakeLoss,
    TransferLoss,
    HandshakeCorruption,
    TransferCorruption,
    Ipv6,
    V2,
    MultiConnect,
    RebindPort,
    RebindAddr,
    ConnectionMigration,
    Goodput,
    CrossTraffic,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// How a client distributes its requests over connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All side by side on one connection.
    Together,
    /// Each on a connection of its own, a few at a time.
    Apart,
    /// The first on one connection, the others on a second one that resumes the session; `early`: in 0-RTT.
    ComeBack { early: bool },
}

const ALL: [(&str, Case); 25] = [
    ("handshake", Case::Handshake),
    ("transfer", Case::Transfer),
    ("longrtt", Case::LongRtt),
    ("chacha20", Case::ChaCha20),
    ("multiplexing", Case::Multiplexing),
    ("retry", Case::Retry),
    ("resumption", Case::Resumption),
    ("zerortt", Case::ZeroRtt),
    ("http3", Case::Http3),
    ("blackhole", Case::Blackhole),
    ("keyupdate", Case::KeyUpdate),
    ("ecn", Case::Ecn),
    ("amplificationlimit", Case::AmplificationLimit),
    ("handshakeloss", Case::HandshakeLoss),
    ("transferloss", Case::TransferLoss),
    ("handshakecorruption", Case::HandshakeCorruption),
    ("transfercorruption", Case::TransferCorruption),
    ("ipv6", Case::Ipv6),
    ("v2", Case::V2),
    ("multiconnect", Case::MultiConnect),
    ("rebind-port", Case::RebindPort),
    ("rebind-addr", Case::RebindAddr),
    ("connectionmigration", Case::ConnectionMigration),
    ("goodput", Case::Goodput),
    ("crosstraffic", Case::CrossTraffic),
];

impl Case {
    /// Every case, in the order of the runner's tables.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|(_, case)| *case)
    }

    /// `None` for a case that this endpoint does not know.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(known, _)| *known == name).map(|(_, case)| *case)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(_, case)| *case == self).map_or("", |(name, _)| name)
    }

    /// How the client goes about it.
    #[must_use]
    pub const fn plan(self) -> Plan {
        match self {
            Self::MultiConnect | Self::HandshakeLoss | Self::HandshakeCorruption => Plan::Apart,
            Self::Resumption => Plan::ComeBack { early: false },
            Self::ZeroRtt => Plan::ComeBack { early: true },
            _ => Plan::Together,
        }
    }

    /// Files are asked for over HTTP/3.
    #[must_use]
    pub const fn is_http3(self) -> bool {
        matches!(self, Self::Http3)
    }

    /// The client replaces its keys as soon as it may.
    #[must_use]
    pub const fn updates_keys(self) -> bool {
        matches!(self, Self::KeyUpdate)
    }

    /// The server names an address that it would rather be reached at.
    #[must_use]
    pub const fn prefers_address(self) -> bool {
        matches!(self, Self::ConnectionMigration)
    }

    /// The runner fails a server that sends a Retry in `handshake`, and one that sends none in `retry`.
    #[must_use]
    pub const fn retry_policy(self) -> RetryPolicy {
        if matches!(self, Self::Retry) { RetryPolicy::Always } else { RetryPolicy::Never }
    }

    /// The runner demands that nothing else is offered.
    #[must_use]
    pub const fn ciphers(self) -> Ciphers {
        if matches!(self, Self::ChaCha20) { Ciphers::ChaCha20 } else { Ciphers::All }
    }

    /// In every case but one the runner fails a server that speaks anything but version 1. In that one the client begins
    /// with version 1 and offers version 2, which the server prefers (RFC 9368 §2.3).
    #[must_use]
    pub fn versions(self, role: Role) -> Vec<u32> {
        match (self, role) {
            (Self::V2, Role::Client) => vec![VERSION_1, VERSION_2],
            (Self::V2, Role::Server) => vec![VERSION_2, VERSION_1],
            _ => vec![VERSION_1],
        }
    }

    /// How the transport behaves. Plain QUIC: the runner's dissector reads the packets of one path only, and none whose
    /// fixed bit is greased.
    #[must_use]
    pub fn transport(self, role: Role) -> TransportConfig {
        let versions = self.versions(role);
        let defaults = TransportConfig::default();
        let mtu_ceiling = if self == Self::ZeroRtt { MTU_LEAST } else { defaults.mtu_ceiling };
        TransportConfig {
            mtu_ceiling,
            initial_stream_window: STREAM_WINDOW,
            initial_connection_window: CONNECTION_WINDOW,
            handshake_timeout: PATIENCE,
            max_datagram_frame: 0,
            multipath: false,
            address_discovery: false,
            greasing: false,
            versions,
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Case, Role, VERSION_1};

    #[test]
    fn every_case_has_one_name_and_every_name_one_case() {
        for case in Case::all() {
            assert_eq!(Case::named(case.name()), Some(case));
        }
        assert_eq!(Case::named("flying-carpet"), None);
        let names: std::collections::BTreeSet<&str> = ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn a_client_begins_with_version_1_and_only_one_case_speaks_more() {
        for case in Case::all() {
            assert_eq!(case.versions(Role::Client)[0], VERSION_1);
            let several = case.versions(Role::Server).len() > 1;
            assert_eq!(several, case == Case::V2, "{case:?}");
        }
    }
}
