//! The latency spin bit of one path (RFC 9000 §17.4).

use mpquic_base::{Rng, Role};

/// RFC 9000 §17.4: at least one path in sixteen does not spin, so that those who never do are not alone.
const SILENT_ONE_IN: u64 = 16;

#[derive(Debug)]
pub(crate) struct Spin {
    spins: bool,
    value: bool,
}

impl Spin {
    pub(crate) fn new(enabled: bool, rng: &mut Rng) -> Self {
        let draw = rng.below(SILENT_ONE_IN * 2);
        let spins = enabled && draw / 2 != 0;
        // A path that does not spin shows either value, for good.
        Self { spins, value: !spins && draw % 2 == 1 }
    }

    pub(crate) const fn value(&self) -> bool {
        self.value
    }

    /// The newest packet of the peer: the server shows it back, the client turns it round.
    pub(crate) const fn on_packet(&mut self, us: Role, value: bool) {
        if self.spins {
            self.value = value != us.is_client();
        }
    }

    /// Another connection ID is used from now on.
    pub(crate) const fn reset(&mut self) {
        if self.spins {
            self.value = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Spin;
    use mpquic_base::{Rng, Role};

    #[test]
    fn one_path_in_sixteen_does_not_spin() {
        let mut rng = Rng::from_number(3);
        let silent = (0..16_000).filter(|_| !Spin::new(true, &mut rng).spins).count();
        assert!((800..1200).contains(&silent), "{silent} of 16000");
        assert!((0..100).all(|_| !Spin::new(false, &mut rng).spins));
    }

    #[test]
    fn the_client_turns_the_bit_and_the_server_shows_it_back() {
        let (mut client, mut server) =
            (Spin { spins: true, value: false }, Spin { spins: true, value: false });
        for turn in [false, true, false, true] {
            server.on_packet(Role::Server, client.value());
            assert_eq!(server.value(), turn);
            client.on_packet(Role::Client, server.value());
        }
        server.on_packet(Role::Server, true);
        server.reset();
        assert!(!server.value());
    }
}
