//! What BBR believes about the path: small filters, each fed by the ACK clock and ignorant of the state machine.

use super::Ack;
use mpquic_base::{Duration, Rate, Time};

/// draft-ietf-ccwg-bbr-06 §2.16.1: how long a lowest RTT counts.
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// §2.16.2: at least this long between two visits to `ProbeRTT`.
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// §2.16.2: how long `ProbeRTT` holds the flight down.
pub(super) const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);
/// Departs from the draft for RTTs above half a second: with fewer rounds than this between two visits, Startup over a
/// satellite never sees the three rounds in a row that tell it that the pipe is full.
const PROBE_RTT_ROUNDS: u32 = 10;
/// §2.12: round trips that the aggregation filter looks back once the pipe was full.
const EXTRA_ACKED_ROUNDS: usize = 10;
/// §5.3.1.2: a round is a plateau if its rate grew by less than a quarter; three of them mean a full pipe.
pub(super) const FULL_GROWTH: f64 = 1.25;
const FULL_ROUNDS: u8 = 3;
/// Departs from the draft for links whose delay wanders by a quarter of their lowest RTT: there three poor rounds are
/// chance, and Startup would end at a tenth of the rate.
const FULL_ROUNDS_NOISY: u8 = 6;

/// How many stretches of time, of which length, show whether the delay wanders: together about one probe cycle, of
/// which the probe itself fills less than half.
const SPREADS: usize = 5;
const SPREAD_STRETCH: Duration = Duration::from_millis(500);
/// The first few are shorter, so that Startup can know.
const SPREAD_SHORT_STRETCHES: usize = 3;
const SPREAD_SHORT_STRETCH: Duration = Duration::from_millis(150);
/// No more than a wandering delay of 25 ms standard deviation in either direction needs, with room.
const SPREAD_MAX: Duration = Duration::from_millis(100);

/// The best sample of a round is this share of the modelled rate or less, so many rounds in a row. Jitter makes the
/// model up to 1.4 times too high, which must not look like a shortfall.
const SHORTFALL: f64 = 0.6;
const SHORTFALL_ROUNDS: u8 = 5;
/// And for as long as measuring anew takes: on a short path, five rounds pass while a host hiccups.
const SHORTFALL_LASTS: Duration = PROBE_RTT_DURATION;
/// The quickest reply of a round takes so many times as long as usual, so many rounds in a row. A full window is two
/// usual round trips, so that our own queue alone adds up to less. Hosts may add as much as a path of some microseconds takes
/// many times over, and more when they are busy.
const OVERDUE: u32 = 3;
const OVERDUE_ROUNDS: u8 = 3;
const OVERDUE_AT_LEAST: Duration = Duration::from_millis(5);

/// Packet-timed round trips: each ends with the first ACK of a packet that was sent after the last one ended.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) count: u64,
    /// The ACK at hand ends a round.
    pub(super) ended: bool,
    /// Round trips since the last probe for bandwidth, from a random start of 0 or 1.
    pub(super) since_probe: u64,
    next: u64,
}

impl Rounds {
    pub(super) fn on_ack(&mut self, ack: &Ack) {
        self.ended = match ack.prior_delivered {
            Some(prior) => prior >= self.next,
            None => ack.path_round,
        };
        if self.ended {
            self.restart(ack.delivered);
            self.count += 1;
            self.since_probe += 1;
        }
    }

    /// The current round starts afresh: it ends with the ACK of a packet sent from here on.
    pub(super) fn restart(&mut self, delivered: u64) {
        self.next = delivered;
    }
}

/// The highest delivery rate of this `ProbeBW` cycle and the one before.
#[derive(Debug, Default)]
pub(super) struct MaxRate {
    now: Rate,
    before: Rate,
}

impl MaxRate {
    pub(super) fn get(&self) -> Rate {
        self.now.max(self.before)
    }

    pub(super) fn add(&mut self, rate: Rate) {
        self.now = self.now.max(rate);
    }

    /// The path is known to carry no more than this.
    pub(super) fn replace(&mut self, rate: Rate) {
        *self = Self { now: rate, before: Rate::ZERO };
    }

    /// A new cycle begins; the cycle before the last is forgotten.
    pub(super) fn advance(&mut self) {
        // A cycle without a sample says nothing, so it may not push out one that had some.
        if self.now != Rate::ZERO {
            self.before = core::mem::take(&mut self.now);
        }
    }
}

/// How much more than the path's rate is acknowledged at once: the volume that a jittery or batching link hides.
#[derive(Debug, Default)]
pub(super) struct Aggregation {
    since: Time,
    delivered: u64,
    /// The most of each of the last rounds, `rounds[0]` being the current one.
    rounds: [u64; EXTRA_ACKED_ROUNDS],
    round: u64,
}

impl Aggregation {
    pub(super) fn restart(&mut self, now: Time) {
        self.since = now;
        self.delivered = 0;
    }

    pub(super) fn on_ack(&mut self, ack: &Ack, bw: Rate, cwnd: u64, round: u64) {
        let mut expected = bw.bytes_in(ack.now.since(self.since));
        if self.delivered <= expected {
            self.restart(ack.now);
            expected = 0;
        }
        self.delivered = self.delivered.saturating_add(ack.acked);
        let extra = self.delivered.saturating_sub(expected).min(cwnd);
        let passed =
            usize::try_from(round - self.round).unwrap_or(EXTRA_ACKED_ROUNDS).min(EXTRA_ACKED_ROUNDS);
        self.round = round;
        self.rounds.rotate_right(passed);
        self.rounds[..passed].fill(0);
        self.rounds[0] = self.rounds[0].max(extra);
    }

    /// The most over the window: this and the last round while the path's rate is still being looked for, since
    /// a rate that is known too low makes every ACK look like a burst.
    pub(super) fn extra(&self, full_once: bool) -> u64 {
        let window = if full_once { EXTRA_ACKED_ROUNDS } else { 2 };
        self.rounds[..window].iter().copied().max().unwrap_or(0)
    }
}

/// Whether sending faster still delivers more.
#[derive(Debug, Default)]
pub(super) struct FullPipe {
    /// The pipe was full at some time in the path's life.
    pub(super) once: bool,
    /// It is full according to the search that began last.
    pub(super) now: bool,
    pub(super) baseline: Rate,
    pub(super) plateaus: u8,
}

impl FullPipe {
    pub(super) fn search_from(&mut self, baseline: Rate) {
        self.baseline = baseline;
        self.plateaus = 0;
        self.now = false;
    }

    pub(super) fn on_ack(&mut self, ack: &Ack, round_ended: bool, noisy: bool) {
        if self.now || !round_ended || ack.app_limited || ack.rate == Rate::ZERO {
            return;
        }
        if ack.rate >= self.baseline.scaled(FULL_GROWTH) {
            self.search_from(ack.rate);
            return;
        }
        self.plateaus += 1;
        let enough = if noisy && !self.once { FULL_ROUNDS_NOISY } else { FULL_ROUNDS };
        self.now = self.plateaus >= enough;
        self.once |= self.now;
    }
}

/// The lowest RTT of the last 10 s, refreshed at least every 5 s.
#[derive(Debug, Default)]
pub(super) struct MinRtt {
    min: Option<Duration>,
    stamp: Time,
    /// The lowest RTT since the last `ProbeRTT`, and when it was seen.
    recent: Option<Duration>,
    recent_stamp: Time,
    /// No RTT as low as the recent one was seen for 5 s.
    pub(super) stale: bool,
}

impl MinRtt {
    pub(super) fn start(now: Time) -> Self {
        Self { stamp: now, recent_stamp: now, ..Self::default() }
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.min
    }

    pub(super) fn on_ack(&mut self, now: Time, rtt: Option<Duration>) {
        let interval = PROBE_RTT_INTERVAL.max(self.min.unwrap_or_default().saturating_mul(PROBE_RTT_ROUNDS));
        self.stale = now > self.recent_stamp + interval;
        if let Some(rtt) = rtt
            && (self.stale || self.recent.is_none_or(|recent| rtt < recent))
        {
            self.recent = Some(rtt);
            self.recent_stamp = now;
        }
        let expired = now > self.stamp + MIN_RTT_WINDOW.max(interval.saturating_mul(2));
        if let Some(recent) = self.recent
            && (expired || self.min.is_none_or(|min| recent < min))
        {
            self.min = Some(recent);
            self.stamp = self.recent_stamp;
        }
    }

    /// `ProbeRTT` is done: the next one is due in a full interval.
    pub(super) fn refreshed(&mut self, now: Time) {
        self.recent_stamp = now;
    }

    /// A visit to `ProbeRTT` begins that shall measure the path anew.
    pub(super) fn forget_recent(&mut self) {
        self.recent = None;
    }

    /// That visit is over: its lowest RTT is the path's, even if it is higher than before.
    pub(super) fn adopt_recent(&mut self, now: Time) {
        if let Some(recent) = self.recent {
            self.min = Some(recent);
            self.stamp = now;
        }
    }

    /// The path may not be what it was: the next sample counts, whatever was before. The old value stays in use
    /// until then.
    pub(super) fn doubt(&mut self) {
        self.recent = None;
        self.stamp = Time::ZERO;
    }
}

/// How much longer than its minimum a round trip usually takes because the path's delay wanders.
///
/// An addition to the draft. A radio link's lowest RTT in ten seconds can be a third of the usual one; a window of
/// twice the lowest then starves the flow, which lowers the measured rate, which lowers the window. Our own queue
/// must not count as such a spread. It changes in few of the stretches of time looked at here, and jitter shows in
/// all of them: hence the median.
#[derive(Debug, Default)]
pub(super) struct Spread {
    until: Time,
    lowest: Duration,
    sum: Duration,
    samples: u32,
    /// Mean less minimum of the last stretches, and their median.
    stretches: [Duration; SPREADS],
    next: usize,
    /// How many stretches there are.
    seen: usize,
    median: Duration,
}

impl Spread {
    pub(super) fn on_ack(&mut self, now: Time, rtt: Option<Duration>) {
        if now >= self.until {
            if self.samples > 0 {
                self.stretches[self.next] = (self.sum / self.samples).saturating_sub(self.lowest);
                self.next = (self.next + 1) % SPREADS;
                self.seen = (self.seen + 1).min(SPREADS);
                let mut sorted = self.stretches;
                sorted[..self.seen].sort_unstable();
                self.median = sorted[(self.seen - 1) / 2].min(SPREAD_MAX);
            }
            let short = self.seen < SPREAD_SHORT_STRETCHES;
            self.until = now + if short { SPREAD_SHORT_STRETCH } else { SPREAD_STRETCH };
            self.lowest = Duration::MAX;
            self.sum = Duration::ZERO;
            self.samples = 0;
        }
        if let Some(rtt) = rtt {
            self.lowest = self.lowest.min(rtt);
            self.sum = self.sum.saturating_add(rtt);
            self.samples += 1;
        }
    }

    pub(super) fn get(&self) -> Duration {
        self.median
    }
}

/// Rounds in a row that delivered far less than the modelled rate although the window was full.
///
/// An addition to the draft, which learns of a lower rate from loss or after two cycles. Behind a deep queue there is
/// no loss, and with the queue the cycles grow to many seconds, all the while two old BDPs are in flight.
#[derive(Debug, Default)]
pub(super) struct Shortfall {
    round_best: Rate,
    best: Rate,
    rounds: u8,
    since: Option<Time>,
}

impl Shortfall {
    /// The rate that the path really carries, once it is certain that it is a lower one.
    pub(super) fn on_ack(
        &mut self,
        ack: &Ack,
        round_ended: bool,
        counts: bool,
        modelled: Rate,
    ) -> Option<Rate> {
        self.round_best = self.round_best.max(ack.rate);
        if !round_ended {
            return None;
        }
        let best = core::mem::take(&mut self.round_best);
        if !counts || best == Rate::ZERO || best >= modelled.scaled(SHORTFALL) {
            *self = Self::default();
            return None;
        }
        self.best = self.best.max(best);
        self.rounds = self.rounds.saturating_add(1);
        let lasted = ack.now.since(*self.since.get_or_insert(ack.now));
        let certain = self.rounds >= SHORTFALL_ROUNDS && lasted >= SHORTFALL_LASTS;
        certain.then(|| core::mem::take(self).best)
    }

    /// The last rounds fell short.
    pub(super) fn is_near(&self) -> bool {
        self.rounds > 0
    }
}

/// Rounds in a row that took far longer than the path's RTT is believed to be, although the window was full.
///
/// An addition to the draft, which remembers the lowest RTT for ten seconds. If that was chance, or the path has become
/// longer, the window is a small share of what the path takes; the rate measured is then that of the window, which
/// confirms the window.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    round_lowest: Option<Duration>,
    rounds: u8,
}

impl Overdue {
    /// Whether it is certain enough to measure the RTT anew.
    pub(super) fn on_ack(
        &mut self,
        rtt: Option<Duration>,
        round_ended: bool,
        counts: bool,
        usual: Option<Duration>,
    ) -> bool {
        self.round_lowest = rtt.into_iter().chain(self.round_lowest).min();
        if !round_ended {
            return false;
        }
        let lowest = self.round_lowest.take();
        let late = counts && lowest > usual.map(|usual| usual.saturating_mul(OVERDUE).max(OVERDUE_AT_LEAST));
        self.rounds = if late { self.rounds + 1 } else { 0 };
        if self.rounds < OVERDUE_ROUNDS {
            return false;
        }
        self.rounds = 0;
        true
    }
}
