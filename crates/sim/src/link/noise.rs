//! What chance does to a packet: loss with memory, and delay variation with or without it.

use super::{Jitter, Loss};
use mpquic_base::{Rng, Time};

/// In how many deviations' time an order-keeping jitter forgets where it was. Long enough that the delay hardly
/// ever falls faster than time passes, which would bunch packets and lift the mean above what the spec says
/// (by deviation / WANDER, here a tenth of the deviation).
const WANDER: f64 = 10.0;

/// Remembers the state of a Gilbert-Elliott channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    bad: bool,
}

impl Channel {
    pub(super) fn loses(&mut self, loss: &Loss, rng: &mut Rng) -> bool {
        match *loss {
            Loss::None => false,
            Loss::Bernoulli(p) => rng.chance(p),
            Loss::GilbertElliott { enter, leave, good, bad } => {
                if rng.chance(if self.bad { leave } else { enter }) {
                    self.bad = !self.bad;
                }
                rng.chance(if self.bad { bad } else { good })
            }
        }
    }
}

/// Remembers where an order-keeping jitter is: an Ornstein-Uhlenbeck process, exact at any spacing of packets.
#[derive(Debug, Default)]
pub(super) struct Wander {
    /// In deviations from the mean, and when that was.
    last: Option<(f64, Time)>,
}

impl Wander {
    /// The offset from the nominal delay, in nanoseconds.
    pub(super) fn offset(&mut self, at: Time, jitter: &Jitter, rng: &mut Rng) -> f64 {
        if jitter.deviation.is_zero() {
            return 0.0;
        }
        let deviation = jitter.deviation.as_nanos() as f64;
        let fresh = normal(rng);
        if jitter.reorders {
            return fresh * deviation;
        }
        let value = match self.last {
            None => fresh,
            Some((before, then)) => {
                let keep = (-(at.since(then).as_nanos() as f64) / (deviation * WANDER)).exp();
                before * keep + fresh * (1.0 - keep * keep).sqrt()
            }
        };
        self.last = Some((value, at));
        value * deviation
    }
}

/// A draw from the standard normal distribution (Box-Muller).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
    radius * (core::f64::consts::TAU * rng.unit()).cos()
}
