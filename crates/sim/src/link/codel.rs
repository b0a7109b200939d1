//! CoDel (RFC 8289): drops at the head once packets have waited too long for too long.
//!
//! Judges one packet at a time, at the moment it leaves the queue. It knows neither the queue nor what
//! becomes of a packet it condemns: dropping or marking is the direction's affair.

use super::CodelSpec;
use mpquic_base::{Duration, Time};

/// RFC 8289 §4.2: a queue of no more than one full packet is never too long.
const ONE_PACKET: u64 = 1514;
/// RFC 8289 §5.5: a drop rate found this recently (in intervals) is the starting point of the next episode.
const RECENT: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Codel {
    /// When the sojourn time will have been above target for one interval.
    above_since: Option<Time>,
    dropping: bool,
    drop_next: Time,
    count: u32,
    last_count: u32,
}

impl Codel {
    /// True if the packet leaving at `now` after `sojourn`, with `left` bytes behind it, is to be dropped or marked.
    pub(super) fn condemns(&mut self, spec: &CodelSpec, now: Time, sojourn: Duration, left: u64) -> bool {
        let standing = self.is_standing(spec, now, sojourn, left);
        if !standing {
            self.dropping = false;
            return false;
        }
        if self.dropping {
            if now < self.drop_next {
                return false;
            }
            self.count = self.count.saturating_add(1);
            self.drop_next = self.after(self.drop_next, spec);
            return true;
        }
        self.dropping = true;
        let found = self.count.saturating_sub(self.last_count);
        let recent = now.since(self.drop_next) < spec.interval * RECENT;
        self.count = if found > 1 && recent { found } else { 1 };
        self.last_count = self.count;
        self.drop_next = self.after(now, spec);
        true
    }

    fn is_standing(&mut self, spec: &CodelSpec, now: Time, sojourn: Duration, left: u64) -> bool {
        if sojourn < spec.target || left <= ONE_PACKET {
            self.above_since = None;
            return false;
        }
        now >= *self.above_since.get_or_insert(now + spec.interval)
    }

    /// The control law: the gap shrinks with the square root of the number of drops.
    fn after(&self, t: Time, spec: &CodelSpec) -> Time {
        t + spec.interval.div_f64(f64::from(self.count.max(1)).sqrt())
    }
}
