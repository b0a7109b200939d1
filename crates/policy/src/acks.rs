//! How often the peer should acknowledge (draft-ietf-quic-ack-frequency §8).
//!
//! An ACK costs a system call, a header and a seal at one end and an open, a walk and a controller's step at the other:
//! at every second packet that is a third of the work of a fast transfer. Loss detection and BBR are content with
//! a few ACKs per round trip. One wish holds for all paths of a connection; the machine says it and keeps to the rules.

use crate::sched::PathView;
use mpquic_base::Duration;

/// What the peer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckWish {
    /// Ack-eliciting packets that may arrive without an ACK; 1 is what RFC 9000 §13.2.2 does unasked.
    pub threshold: u32,
    /// How long one may wait at the most.
    pub max_delay: Duration,
}

/// ACKs per round trip, and per window if that is smaller: what `threshold` aims at on the fastest path.
const PER_ROUND: u64 = 8;
/// The same for paths that the timer has to serve, because they are slower than that.
const PER_ROUND_TIMED: u32 = 4;
/// Packets per ACK: at 64, a full GSO batch, ACKs are below 2 % of the packets, and less often saves nothing more.
const PACKETS_MAX: u64 = 64;
/// Below this many packets per ACK the default of two does as well.
const PACKETS_MIN: u64 = 4;
/// PTO and the suspicion that a path fell silent wait for this too, so it is not shorter than what a busy host's
/// scheduler takes to run the receiver again.
const DELAY_MIN: Duration = Duration::from_millis(5);
/// A path with this many packets in flight, or half a window, is one to reckon with.
const LOADED_PACKETS: u64 = 8;

/// The wish for these paths, with a delay within what the peer allows (`least..=most`); `None` while nothing is
/// sent that could tell.
#[must_use]
pub fn wish(paths: &[PathView], least: Duration, most: Duration) -> Option<AckWish> {
    let loaded =
        || paths.iter().filter(|p| p.in_flight >= (LOADED_PACKETS * u64::from(p.mtu)).min(p.window / 2));
    let shortest = loaded().map(|p| p.srtt).min()?;
    let max_delay = (shortest / PER_ROUND_TIMED).max(DELAY_MIN).max(least).min(most);
    let fastest = loaded().map(packets_per_ack).max()?;
    // Where the timer comes too late for a round trip, the count has to be right.
    let hasty = loaded().filter(|p| p.srtt / PER_ROUND_TIMED < max_delay).map(packets_per_ack).min();
    let packets = fastest.min(hasty.unwrap_or(fastest)).min(PACKETS_MAX);
    if packets < PACKETS_MIN {
        return Some(AckWish { threshold: 1, max_delay: most });
    }
    let threshold = u32::try_from(packets - 1).unwrap_or(u32::MAX);
    Some(AckWish { threshold, max_delay })
}

fn packets_per_ack(path: &PathView) -> u64 {
    path.window.min(path.rate.bytes_in(path.srtt)) / (u64::from(path.mtu.max(1)) * PER_ROUND)
}

#[cfg(test)]
mod tests;
