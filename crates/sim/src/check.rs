//! What must hold after every step of every world.
//!
//! Delivery exactly once and in order is checked where bytes are read ([`crate::world::Transfer`]), numbers never
//! reused where packets are sealed ([`crate::crypto`]), datagram sizes where they are handed over, flow control by the
//! receiving end itself, which closes on a violation. What is left is the books: of each connection and of the pool.

use mpquic_base::Time;

/// Books are audited at every step at first, then only so often: an audit walks every packet in flight.
const THOROUGH_STEPS: u64 = 200;
const AUDIT_EVERY: u64 = 64;

#[derive(Debug, Default)]
pub(crate) struct Audits {
    steps: u64,
    last: Time,
}

impl Audits {
    /// `audit` walks the books of both ends.
    pub(crate) fn check(
        &mut self,
        now: Time,
        audit: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        self.steps += 1;
        if now < self.last {
            return Err(format!("time ran backwards, from {:?} to {now:?}", self.last));
        }
        self.last = now;
        if self.steps > THOROUGH_STEPS && !self.steps.is_multiple_of(AUDIT_EVERY) {
            return Ok(());
        }
        audit()
    }
}
