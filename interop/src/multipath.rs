//! Two paths between us and noq, the only other stack that has several.
//!
//! Each end counts what it moved on every path; both have to agree that every path carried a share.

mod noq;
mod ours;

use crate::exchange::Load;
use crate::trust::Trust;
use std::fmt;
use std::net::Ipv4Addr;
use tokio::join;

/// What goes one way.
pub const LOAD: u64 = 50_000_000;
/// Two links of the loopback interface.
const LINKS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
/// What each path must have carried in one direction: more than probes and ACKs could ever add up to.
const SHARE_MIN: u64 = 1_000_000;

/// Our client, noq's server. Returns how the load was shared.
///
/// # Panics
/// If anything is not as it should be.
pub async fn we_ask_noq(load: Load) -> String {
    let trust = Trust::default();
    let server = noq::Server::bind(&trust);
    let addresses = LINKS.map(|link| (link, server.port()).into());
    let (ours, theirs) = join!(ours::client(&trust, &LINKS, &addresses, load), server.serve());
    compare(load, [("mpquic", ours), ("noq", theirs)])
}

/// noq's client, our server. Returns how the load was shared.
///
/// # Panics
/// If anything is not as it should be.
pub async fn noq_asks_us(load: Load) -> String {
    let trust = Trust::default();
    let server = ours::Server::bind(&trust, &LINKS);
    let addresses = server.addresses();
    let (ours, theirs) = join!(server.serve(), noq::client(&trust, &addresses, load));
    compare(load, [("mpquic", ours), ("noq", theirs)])
}

/// UDP payload bytes that one end counted on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moved {
    path: u32,
    sent: u64,
    received: u64,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {}: {:>11} bytes sent, {:>11} received", self.path, self.sent, self.received)
    }
}

/// Checks that every path of both ends carried its share in one direction, and all together the whole `load`.
fn compare(load: Load, ends: [(&str, Vec<Moved>); 2]) -> String {
    for (who, moved) in &ends {
        assert_eq!(moved.len(), LINKS.len(), "{who} used another number of paths: {moved:?}");
        let (sent, received) = moved.iter().fold((0, 0), |(s, r), m| (s + m.sent, r + m.received));
        assert!(sent.max(received) > load.up.max(load.down), "{who} counted less than was moved: {moved:?}");
        for path in moved {
            assert!(path.most() > SHARE_MIN, "{who}: too little on path {}: {path}", path.path);
        }
    }
    let [(_, ours), _] = &ends;
    let all: u64 = ours.iter().map(|path| path.most()).sum();
    let shares = ours.iter().map(|path| format!("{} %", path.most() * 100 / all));
    shares.collect::<Vec<_>>().join(" and ")
}

impl Moved {
    /// What the busier direction carried.
    fn most(&self) -> u64 {
        self.sent.max(self.received)
    }
}
