//! What a connection turned out to be, for those who check: one line of JSON each.

use crate::case::{Case, Role};
use core::fmt;
use mpquic::{CloseReason, Connection, PathEvent};

/// What one end knows of one connection at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    pub role: Role,
    pub case: Case,
    /// The version of QUIC that was spoken.
    pub version: u32,
    pub cipher: &'static str,
    pub alpn: String,
    /// A Retry came first.
    pub retry: bool,
    pub resumed: bool,
    /// 0-RTT was sent and accepted.
    pub early_data: bool,
    pub key_updates: u64,
    /// Packets were marked, and the marks were seen to arrive.
    pub ecn: bool,
    /// Marks of congestion that the peer reported.
    pub congestion_marks: u64,
    pub paths: usize,
    /// Changes of address, of either end.
    pub moves: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub packets_lost: u64,
    /// Why it ended.
    pub end: String,
}

impl Tally {
    /// Follows `connection` until it is over.
    pub(crate) async fn until_closed(connection: &Connection, role: Role, case: Case) -> Self {
        let mut moves = 0;
        while let Some(event) = connection.path_event().await {
            moves += u64::from(matches!(event, PathEvent::Moved(_)));
        }
        let early = connection.early_data_accepted().await.unwrap_or(false);
        let reason = connection.closed().await;
        Self { moves, ..Self::of(connection, role, case, early, &reason) }
    }

    fn of(connection: &Connection, role: Role, case: Case, early_data: bool, end: &CloseReason) -> Self {
        let (counters, paths) = (connection.stats().counters, connection.paths());
        Self {
            role,
            case,
            version: connection.version().unwrap_or_default(),
            cipher: connection.cipher().unwrap_or_default(),
            alpn: String::from_utf8_lossy(connection.alpn().unwrap_or_default()).into_owned(),
            retry: connection.retried(),
            resumed: connection.resumed(),
            early_data,
            key_updates: counters.key_updates,
            ecn: paths.iter().any(|path| path.ecn),
            congestion_marks: paths.iter().map(|path| path.congestion_marks).sum(),
            paths: paths.len(),
            moves: 0,
            bytes_sent: paths.iter().map(|path| path.bytes_sent).sum(),
            bytes_received: paths.iter().map(|path| path.bytes_received).sum(),
            packets_lost: paths.iter().map(|path| path.packets_lost).sum(),
            end: end.to_string(),
        }
    }
}

/// One line of JSON.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.role == Role::Client { "client" } else { "server" };
        write!(f, r#"{{"role":"{role}","case":"{}","version":{},"#, self.case.name(), self.version)?;
        write!(f, r#""cipher":{:?},"alpn":{:?},"retry":{},"#, self.cipher, self.alpn, self.retry)?;
        write!(f, r#""resumed":{},"early_data_accepted":{},"#, self.resumed, self.early_data)?;
        write!(f, r#""key_updates":{},"ecn":{},"#, self.key_updates, self.ecn)?;
        write!(f, r#""congestion_marks":{},"paths":{},"#, self.congestion_marks, self.paths)?;
        write!(f, r#""moves":{},"bytes_sent":{},"#, self.moves, self.bytes_sent)?;
        write!(f, r#""bytes_received":{},"packets_lost":{},"#, self.bytes_received, self.packets_lost)?;
        write!(f, r#""end":"{}"}}"#, self.end.replace(['"', '\\'], "'"))
    }
}
