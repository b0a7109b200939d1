//! HyStart++ (RFC 9406): leaving slow start when the queue begins to build, before it overflows.
//!
//! Owns the RTT minima of two rounds and the count of conservative rounds. Refuses to know the window: it only
//! says how eagerly it may grow. Our packets are paced, so a round's growth is not capped (RFC 9406 §4.2, L).

use core::time::Duration;

/// RFC 9406 §4.3, MIN_RTT_THRESH and MAX_RTT_THRESH: how much delay counts as a queue.
const DELAY_MIN: Duration = Duration::from_millis(4);
const DELAY_MAX: Duration = Duration::from_millis(16);
/// RFC 9406 §4.3, MIN_RTT_DIVISOR.
const DELAY_DIVISOR: u32 = 8;
/// RFC 9406 §4.3, N_RTT_SAMPLE.
const SAMPLES_MIN: u32 = 8;
/// RFC 9406 §4.3, CSS_ROUNDS.
const CAUTIOUS_ROUNDS: u32 = 5;
/// RFC 9406 §4.3, CSS_GROWTH_DIVISOR.
pub(super) const CAUTIOUS_DIVISOR: f64 = 4.0;

/// How slow start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Grow by all that was acknowledged.
    Double,
    /// Conservative slow start: by a quarter of it.
    Cautious,
    /// The delay stayed: the path is full, slow start is over.
    Leave,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HyStart {
    last_round: Option<Duration>,
    this_round: Option<Duration>,
    samples: u32,
    /// The window was the limit at some time in this round.
    grew: bool,
    cautious: Option<Cautious>,
}

#[derive(Clone, Copy, Debug)]
struct Cautious {
    /// The RTT that raised the suspicion; below it, it was jitter.
    baseline: Duration,
    rounds: u32,
}

impl HyStart {
    /// One ACK during the first slow start. `round_start` says that it is the first of its round trip.
    ///
    /// While the application is the limit (`app_limited`), delay that comes and goes is not our queue: it must
    /// not end slow start at a small window, from where it would take long to fill the path later.
    pub(super) fn on_ack(&mut self, round_start: bool, rtt: Option<Duration>, app_limited: bool) -> Advice {
        if round_start && self.next_round() {
            return Advice::Leave;
        }
        self.grew |= !app_limited;
        if let Some(rtt) = rtt {
            self.this_round = Some(self.this_round.map_or(rtt, |least| least.min(rtt)));
            self.samples += 1;
        }
        if self.samples >= SAMPLES_MIN && self.grew {
            self.judge();
        }
        if self.cautious.is_some() { Advice::Cautious } else { Advice::Double }
    }

    /// Whether that was the last conservative round. The partial round in which they began counts.
    fn next_round(&mut self) -> bool {
        self.last_round = self.this_round.take();
        self.samples = 0;
        let grew = core::mem::take(&mut self.grew);
        let Some(cautious) = &mut self.cautious else { return false };
        cautious.rounds += u32::from(grew);
        cautious.rounds >= CAUTIOUS_ROUNDS
    }

    fn judge(&mut self) {
        let Some(least) = self.this_round else { return };
        match (self.cautious, self.last_round) {
            (Some(cautious), _) if least < cautious.baseline => self.cautious = None,
            (None, Some(last)) if least >= last + (last / DELAY_DIVISOR).clamp(DELAY_MIN, DELAY_MAX) => {
                self.cautious = Some(Cautious { baseline: least, rounds: 0 });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
