//! When a shard that has nothing to do stays awake for a moment instead of going to sleep.
//!
//! Two hosts that talk in small turns wait for each other's answer most of the time, and to be woken takes longer than
//! the answer. Owns the judgement whether this is such a talk; knows neither poller nor sockets. A bulk transfer is
//! none: its batches keep the core busy anyway. Nor is a stream of single packets, which come without being asked for,
//! nor a connection over a long way, let alone a quiet one.

use mpquic_base::Duration;

/// How long to stay awake: until a peer that had gone to sleep can have been woken and have answered, some 100 us. With
/// less, one late answer sends both to sleep, and then each waits for the other to be woken, every time just too short.
const AWAKE: Duration = Duration::from_micros(150);
/// An answer within this time, the waking included, would have been worth it.
const SOON: Duration = Duration::from_micros(200);
/// A peer whose quickest answer took longer is not waited for, whatever else arrives meanwhile. Hosts of one network
/// that sleep between two packets are below it.
const NEAR: Duration = Duration::from_micros(500);
/// Datagrams between two waits, both ways, that are no bulk transfer.
const FEW: u64 = 8;
/// Quick answers in a row that make a talk, and how many are remembered.
const STREAK: u32 = 16;
const STREAK_MAX: u32 = 64;
/// What one late answer takes away.
const LATE: u32 = 16;
/// Turns of either side after which it is judged whether they take turns, and by how many one side may be ahead: less
/// than if a receiver acknowledges every second packet.
const TURNS: u32 = 32;
const AHEAD_MAX: u32 = 6;

#[derive(Debug, Default)]
pub(crate) struct Vigil {
    streak: u32,
    /// Datagrams up to the last wait.
    moved: Moved,
    /// Between how many waits something came, and something left, since that was judged last, and the judgement.
    heard: u32,
    spoken: u32,
    mutual: bool,
}

/// Datagrams of a shard so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Vigil {
    /// A wait begins, after so many datagrams, for a peer that never answered sooner than `answers_in`: how long to stay
    /// awake.
    pub(crate) fn begin(&mut self, moved: Moved, answers_in: Option<Duration>) -> Duration {
        let received = moved.received - self.moved.received;
        let sent = moved.sent - self.moved.sent;
        self.moved = moved;
        if received + sent > FEW {
            self.streak = 0;
        }
        self.heard += u32::from(received > 0);
        self.spoken += u32::from(sent > 0);
        if self.heard + self.spoken >= TURNS {
            self.mutual = self.heard.abs_diff(self.spoken) <= AHEAD_MAX;
            (self.heard, self.spoken) = (0, 0);
        }
        let near = answers_in.is_some_and(|time| time <= NEAR);
        if self.mutual && near && self.streak >= STREAK { AWAKE } else { Duration::ZERO }
    }

    /// The wait is over, after that time if something came.
    pub(crate) fn end(&mut self, came_after: Option<Duration>) {
        self.streak = match came_after {
            Some(time) if time <= SOON => (self.streak + 1).min(STREAK_MAX),
            _ => self.streak.saturating_sub(LATE),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{AWAKE, FEW, Moved, STREAK_MAX, Vigil};
    use core::time::Duration;

    const QUICK: Option<Duration> = Some(Duration::from_micros(90));

    /// A shard between its waits.
    #[derive(Default)]
    struct Host {
        vigil: Vigil,
        moved: Moved,
    }

    impl Host {
        fn moves(&mut self, received: u64, sent: u64) {
            self.moved.received += received;
            self.moved.sent += sent;
        }

        /// How long it stays awake for a peer that near.
        fn begins(&mut self, answers_in: Duration) -> Duration {
            self.vigil.begin(self.moved, Some(answers_in))
        }

        /// One question and its answer.
        fn asks(&mut self) -> Duration {
            self.moves(1, 1);
            let awake = self.begins(Duration::from_micros(60));
            self.vigil.end(QUICK);
            awake
        }

        fn talking() -> Self {
            let mut host = Self::default();
            assert_eq!(host.asks(), Duration::ZERO);
            (0..STREAK_MAX).for_each(|_| _ = host.asks());
            host
        }
    }

    #[test]
    fn a_talk_of_quick_answers_keeps_the_shard_awake() {
        let mut host = Host::talking();
        (0..1000).for_each(|_| assert_eq!(host.asks(), AWAKE));
        // One pause is forgiven, a few are the end of it.
        host.vigil.end(None);
        assert_eq!(host.asks(), AWAKE);
        (0..4).for_each(|_| host.vigil.end(Some(Duration::from_millis(20))));
        assert_eq!(host.asks(), Duration::ZERO);
    }

    /// The application of a server is another thread: what came and what leaves lie on two sides of a wait for it.
    #[test]
    fn a_server_that_waits_for_its_application_in_between_stays_awake_too() {
        let mut host = Host::default();
        for trip in 0..200 {
            for (received, sent) in [(1, 0), (0, 1)] {
                host.moves(received, sent);
                let awake = host.begins(Duration::from_micros(60));
                host.vigil.end(QUICK);
                assert!(trip < 20 || awake == AWAKE, "trip {trip}");
            }
        }
    }

    /// A hiccup of one end makes it miss an answer. Neither may go on missing those that follow.
    #[test]
    fn two_ends_that_fell_asleep_once_are_soon_both_awake_again() {
        const WAKING: Duration = Duration::from_micros(80);
        const ANSWERING: Duration = Duration::from_micros(25);
        let (mut one, mut other) = (Host::talking(), Host::talking());
        let mut waited = Duration::from_millis(1);
        for turn in 0..4 {
            one.moves(1, 1);
            let asleep = waited > one.begins(ANSWERING);
            assert_eq!(asleep, turn == 0, "at turn {turn}, after {waited:?}");
            one.vigil.end(Some(waited));
            waited = ANSWERING + if asleep { WAKING } else { Duration::ZERO };
            core::mem::swap(&mut one, &mut other);
        }
    }

    #[test]
    fn a_bulk_transfer_and_a_slow_talk_let_it_sleep() {
        let mut host = Host::talking();
        host.moves(FEW, 1);
        assert_eq!(host.begins(Duration::from_micros(60)), Duration::ZERO);
        let mut slow = Host::default();
        for _ in 0..1000 {
            slow.moves(1, 1);
            assert_eq!(slow.begins(Duration::from_micros(60)), Duration::ZERO);
            slow.vigil.end(Some(Duration::from_millis(1)));
        }
    }

    /// 100 Mbit/s is a packet every 120 us: each comes soon, but not because it was asked for.
    #[test]
    fn evenly_spaced_packets_one_way_let_both_ends_sleep() {
        const SPACED: Option<Duration> = Some(Duration::from_micros(120));
        for acks_every in 2..12 {
            let (mut receiver, mut sender) = (Host::default(), Host::default());
            for packet in 0..1000 {
                let acks = u64::from(packet % acks_every == 0);
                receiver.moves(1, acks);
                sender.moves(acks, 1);
                for host in [&mut receiver, &mut sender] {
                    assert_eq!(
                        host.begins(Duration::from_micros(60)),
                        Duration::ZERO,
                        "one ACK in {acks_every}"
                    );
                    host.vigil.end(SPACED);
                }
            }
        }
    }

    /// What passes through a tunnel may well be as even both ways, but nobody in it can answer at once.
    #[test]
    fn a_peer_that_is_a_long_way_off_is_not_waited_for() {
        let mut host = Host::talking();
        for _ in 0..1000 {
            host.moves(1, 1);
            assert_eq!(host.begins(Duration::from_millis(8)), Duration::ZERO);
            host.vigil.end(QUICK);
        }
        assert_eq!(host.vigil.begin(host.moved, None), Duration::ZERO, "nor is nobody");
    }
}
