//! One measurement: iperf3 from the client host to the target, and the CPU time of the tunnel's two ends meanwhile.

use crate::Failure;
use crate::ways::Running;
use crate::world::{Daemon, Host, TARGET, finish};
use serde_json::Value;

const PORT: u16 = 5201;
/// Bytes of one UDP payload: fits into every tunnel's MTU.
const PAYLOAD: f64 = 1200.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// From the client to the target.
    Up,
    Down,
}

impl Direction {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// One connection, as fast as it goes.
    Tcp {
        seconds: u32,
    },
    Udp {
        mbps: u32,
        seconds: u32,
    },
}

/// What came of it; GB are 10^9 bytes of payload that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Offered over UDP; `None` for TCP.
    pub(crate) offered: Option<u32>,
    pub(crate) mbps: f64,
    /// Seconds per GB of the tunnel's client and server.
    pub(crate) cpu: Option<[f64; 2]>,
    /// Datagrams lost, percent.
    pub(crate) lost: f64,
    /// Of the sender's TCP.
    pub(crate) retransmits: f64,
}

pub(crate) fn run(running: &Running, load: Load, direction: Direction) -> Result<Measured, Failure> {
    let mut far = Daemon::start(Host::Target.command("iperf3").args(["-s", "-p", &PORT.to_string()]))?;
    far.listens("tcp", PORT)?;
    let (Load::Tcp { seconds } | Load::Udp { seconds, .. }) = load;
    let mut near = Host::Client.command("timeout");
    let (limit, seconds_word) = ((seconds + 15).to_string(), seconds.to_string());
    near.args([
        "-k",
        "2",
        &limit,
        "iperf3",
        "-J",
        "-c",
        TARGET,
        "-p",
        &PORT.to_string(),
        "-t",
        &seconds_word,
    ]);
    if let Load::Udp { mbps, .. } = load {
        near.args(["-u", "-l", &PAYLOAD.to_string(), "-b", &format!("{mbps}M")]);
    }
    if direction == Direction::Down {
        near.arg("-R");
    }
    let before = cpu(running)?;
    let said = finish(&mut near)?;
    let after = cpu(running)?;
    let said: Value = serde_json::from_str(&said)?;
    let number = |part: &str, key: &str| said["end"][part][key].as_f64().unwrap_or_default();
    let (bytes, lasted) = match load {
        Load::Tcp { .. } => (number("sum_received", "bytes"), number("sum_received", "seconds")),
        Load::Udp { .. } => {
            let arrived = number("sum", "packets") - number("sum", "lost_packets");
            (arrived * PAYLOAD, number("sum", "seconds"))
        }
    };
    let per_gb = |end: usize| (after[end] - before[end]) / (bytes / 1e9);
    Ok(Measured {
        offered: if let Load::Udp { mbps, .. } = load { Some(mbps) } else { None },
        mbps: bytes * 8.0 / 1e6 / lasted,
        cpu: running.ends.as_ref().map(|_| [per_gb(0), per_gb(1)]),
        lost: number("sum", "lost_percent"),
        retransmits: number("sum_sent", "retransmits"),
    })
}

fn cpu(running: &Running) -> Result<[f64; 2], Failure> {
    match &running.ends {
        Some(ends) => Ok([ends.client.cpu()?, ends.server.cpu()?]),
        None => Ok([0.0; 2]),
    }
}
