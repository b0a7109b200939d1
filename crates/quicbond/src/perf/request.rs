//! What the two ends say to each other beside the data: one line of JSON each way on the connection's first stream.

use core::time::Duration;
use mpquic::{PathStats, RecvStream, SendStream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Raised when a reader of the old lines would misunderstand the new ones.
pub(super) const VERSION: u32 = 1;
/// A line with sixteen paths has about 3 kB.
const LINE_MAX: usize = 16 * 1024;
const SECONDS_MAX: u32 = 86_400;
const BYTES_MAX: u64 = 1 << 50;

/// What the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) version: u32,
    pub(super) streams: u16,
    pub(super) up: bool,
    pub(super) down: bool,
    pub(super) amount: Amount,
}

/// When a sender has sent enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Amount {
    /// Of all streams together, each way.
    Bytes(u64),
    Seconds(u32),
}

/// Whether the test may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Go,
    Refused(String),
}

/// What one end saw of a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// What arrived at this end, and from the first byte to the last of it.
    pub(super) received_bytes: u64,
    pub(super) received_seconds: f64,
    /// User and system time of the process during the test.
    pub(super) cpu_seconds: f64,
    pub(super) paths: Vec<Path>,
}

/// One path as one end sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Path {
    pub(super) id: u32,
    pub(super) local: String,
    pub(super) peer: String,
    pub(super) rtt_ms: f64,
    pub(super) min_rtt_ms: f64,
    pub(super) mtu: u16,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) packets_sent: u64,
    pub(super) packets_lost: u64,
}

impl Request {
    /// Why the server does not do this, in words for the client's user.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("the two ends are of different releases (test protocol {} here)", VERSION));
        }
        let streams = self.streams >= 1 && u64::from(self.streams) < super::STREAMS_MAX;
        let amount = match self.amount {
            Amount::Bytes(bytes) => (1..=BYTES_MAX).contains(&bytes),
            Amount::Seconds(seconds) => (1..=SECONDS_MAX).contains(&seconds),
        };
        if streams && amount && (self.up || self.down) {
            return Ok(());
        }
        Err("the test has too many streams, lasts too long or moves nothing".to_owned())
    }
}

impl Path {
    pub(super) fn of(stats: &PathStats) -> Self {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            id: stats.id.0,
            local: stats.tuple.local.to_string(),
            peer: stats.tuple.peer.to_string(),
            rtt_ms: millis(stats.srtt),
            min_rtt_ms: millis(stats.min_rtt),
            mtu: stats.mtu,
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            packets_sent: stats.packets_sent,
            packets_lost: stats.packets_lost.saturating_sub(stats.spurious_losses),
        }
    }
}

pub(super) async fn say(to: &mut SendStream, what: &impl Serialize) -> Result<(), String> {
    let mut line = serde_json::to_vec(what).map_err(|error| error.to_string())?;
    line.push(b'\n');
    to.write_all(&line).await.map_err(|error| error.to_string())
}

pub(super) async fn hear<T: DeserializeOwned>(from: &mut RecvStream) -> Result<T, String> {
    let mut line = Vec::new();
    loop {
        // The peer says nothing more before it is answered, so this reads no byte of another line.
        let mut piece = [0; 1024];
        let read = from.read(&mut piece).await.map_err(|error| error.to_string())?;
        let read = read.ok_or("the other end stopped in the middle of a line")?;
        line.extend_from_slice(&piece[..read]);
        if line.last() == Some(&b'\n') {
            return serde_json::from_slice(&line)
                .map_err(|_| "the other end speaks something else".to_owned());
        }
        if line.len() > LINE_MAX {
            return Err("the other end says too much".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, BYTES_MAX, Request, VERSION};

    const FINE: Request =
        Request { version: VERSION, streams: 1, up: true, down: false, amount: Amount::Seconds(10) };

    #[test]
    fn a_request_within_the_limits_is_done_and_no_other() {
        assert_eq!(FINE.check(), Ok(()));
        assert_eq!(Request { streams: 1000, amount: Amount::Bytes(1), ..FINE }.check(), Ok(()));
        for wrong in [
            Request { version: VERSION + 1, ..FINE },
            Request { streams: 0, ..FINE },
            Request { streams: 1001, ..FINE },
            Request { up: false, ..FINE },
            Request { amount: Amount::Seconds(0), ..FINE },
            Request { amount: Amount::Seconds(86_401), ..FINE },
            Request { amount: Amount::Bytes(0), ..FINE },
            Request { amount: Amount::Bytes(BYTES_MAX + 1), ..FINE },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
