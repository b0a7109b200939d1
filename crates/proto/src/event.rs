//! What the machine tells the application.

use crate::stream::StreamEvent;
use mpquic_base::{Duration, FourTuple, PathId, Rate};
use mpquic_wire::Code;
use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is complete: streams may be opened and the peer is authenticated.
    Connected,
    /// The connection is over; nothing follows.
    Closed(CloseReason),
    Stream(StreamEvent),
    /// Datagrams wait to be read.
    DatagramReadable,
    /// The datagram queue has room again after it was full.
    DatagramWritable,
    /// What was written before the handshake was done has arrived in time, or is sent again now.
    EarlyData {
        accepted: bool,
    },
    /// The server gave us a token: the next connection to it begins with a proven address. The endpoint keeps it; what
    /// [`crate::Endpoint::tokens`] shows may be stored and given to [`crate::Endpoint::remember_token`] of a later one.
    TokenReceived(Vec<u8>),
    Path(PathEvent),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEvent {
    /// The peer answered on the path: data may flow.
    Opened(PathId),
    /// Nothing came back for two PTO; what was in flight was offered to the other paths.
    Silent(PathId),
    /// A silent path answers again.
    Recovered(PathId),
    /// The peer changed what it wishes the path to be used for.
    Status { path: PathId, backup: bool },
    /// The peer's packets arrive from another address.
    Moved(PathId),
    /// The peer sees our packets on the path come from this address: what a NAT made of ours.
    Observed { path: PathId, address: SocketAddr },
    /// The path is being given up, by us or by the peer.
    Abandoned { path: PathId, code: Code },
    /// The path is gone and its resources are free.
    Closed(PathId),
    /// More paths may be opened than before.
    Available,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// We closed it, with this application code.
    Local(u64),
    /// We closed it because the peer broke a rule (or a limit was hit).
    Violation { code: Code, why: &'static str },
    /// The peer's application closed it.
    PeerApplication { code: u64, reason: Vec<u8> },
    /// The peer's transport closed it.
    PeerTransport { code: Code, reason: Vec<u8> },
    /// Nothing was heard for the idle timeout.
    IdleTimeout,
    /// The peer no longer knows the connection.
    StatelessReset,
    /// The peer speaks none of our versions.
    VersionMismatch,
    /// No answer within the handshake time limit.
    HandshakeTimeout,
}

impl core::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Local(code) => write!(f, "closed here with code {code}"),
            Self::Violation { code, why } => write!(f, "closed here: {why} ({code})"),
            Self::PeerApplication { code, reason } => {
                write!(f, "closed by the peer with code {code}: {:?}", String::from_utf8_lossy(reason))
            }
            Self::PeerTransport { code, reason } => {
                write!(f, "closed by the peer's transport: {code} {:?}", String::from_utf8_lossy(reason))
            }
            Self::IdleTimeout => f.write_str("nothing was heard from the peer for too long"),
            Self::StatelessReset => f.write_str("the peer has lost the connection's state"),
            Self::VersionMismatch => f.write_str("the peer speaks no version of QUIC that we speak"),
            Self::HandshakeTimeout => f.write_str("the handshake took too long"),
        }
    }
}

/// One path at a glance.
#[derive(Clone, Copy, Debug)]
pub struct PathStats {
    pub id: PathId,
    pub tuple: FourTuple,
    pub validated: bool,
    pub closing: bool,
    pub silent: bool,
    pub backup: bool,
    pub srtt: Duration,
    pub rttvar: Duration,
    pub min_rtt: Duration,
    pub window: u64,
    pub in_flight: u64,
    pub slow_start: bool,
    /// What the path was seen to deliver.
    pub rate: Rate,
    pub pacing_rate: Rate,
    pub mtu: u16,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_lost: u64,
    pub spurious_losses: u64,
    /// The path was seen to carry ECN marks, and how many of congestion the peer reported.
    pub ecn: bool,
    pub congestion_marks: u64,
    /// Our address as the peer sees it, if it said so.
    pub observed: Option<SocketAddr>,
}
