//! The books of a connection, checked by the simulator after its steps.

use super::Connection;
use crate::handshake::LevelId;
use crate::space::{Sent, State};

impl Connection {
    /// Compares what is kept incrementally with what it should add up to.
    ///
    /// # Errors
    /// Says in words what does not add up: always a bug of this crate.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        for (slot, path) in self.paths.iter().enumerate() {
            let mut flight = path.space.sent.flight_bytes();
            if slot == 0 && path.id == mpquic_base::PathId::ZERO {
                flight += self.handshake.flight_bytes();
            }
            if flight != path.recovery.in_flight() {
                return Err(format!(
                    "{:?}: {} bytes in flight by the books, {flight} by the packets",
                    path.id,
                    path.recovery.in_flight()
                ));
            }
            if path.recovery.window() < 2 * u64::from(crate::path::MTU_BASE) {
                return Err(format!("{:?}: a window below two packets", path.id));
            }
        }
        if self.credits_used > self.config.max_in_flight_transmissions {
            return Err(format!("{} transmissions in flight", self.credits_used));
        }
        let ids = self.paths.windows(2).all(|w| w[0].id < w[1].id);
        if ids { Ok(()) } else { Err("paths out of order".into()) }
    }
}

impl crate::handshake::Handshake {
    fn flight_bytes(&self) -> u64 {
        let levels = [(LevelId::Initial, &self.initial), (LevelId::Handshake, &self.handshake)];
        levels.iter().filter_map(|(_, l)| l.as_ref()).map(|l| l.space.sent.flight_bytes()).sum()
    }
}

impl crate::space::SentRing {
    fn flight_bytes(&self) -> u64 {
        self.iter().filter(|p| p.state == State::Outstanding).map(Sent::flight_bytes).sum()
    }
}
