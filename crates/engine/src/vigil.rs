//! When a shard that has nothing to do stays awake for a moment instead of going to sleep.
//!
//! Two hosts that talk in small turns wait for each other's answer most of the time, and to be woken takes longer than
//! the answer. Owns the judgement whether this is such a talk; knows neither poller nor sockets. A bulk transfer is
//! none: its batches keep the core busy anyway. Nor is a connection over a long way, let alone a quiet one.

use mpquic_base::Duration;

/// How long to stay awake: until a peer that had gone to sleep can have been woken and have answered, some 100 us. With
/// less, one late answer sends both to sleep, and then each waits for the other to be woken, every time just too short.
const AWAKE: Duration = Duration::from_micros(150);
/// An answer within this time, the waking included, would have been worth it.
const SOON: Duration = Duration::from_micros(200);
/// Datagrams of one turn, both ways, that are no bulk transfer.
const FEW: usize = 8;
/// Quick answers in a row that make a talk, and how many are remembered.
const STREAK: u32 = 16;
const STREAK_MAX: u32 = 64;
/// What one late answer takes away.
const LATE: u32 = 16;

#[derive(Debug, Default)]
pub(crate) struct Vigil {
    streak: u32,
    /// Datagrams since the last wait.
    moved: usize,
}

impl Vigil {
    pub(crate) const fn on_moved(&mut self, datagrams: usize) {
        self.moved += datagrams;
    }

    /// A wait begins: how long to stay awake.
    pub(crate) const fn begin(&mut self) -> Duration {
        if self.moved > FEW {
            self.streak = 0;
        }
        self.moved = 0;
        if self.streak >= STREAK { AWAKE } else { Duration::ZERO }
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
    use super::{AWAKE, FEW, STREAK, STREAK_MAX, Vigil};
    use core::time::Duration;

    const QUICK: Option<Duration> = Some(Duration::from_micros(90));

    fn talking() -> Vigil {
        let mut vigil = Vigil::default();
        for _ in 0..STREAK {
            assert_eq!(vigil.begin(), Duration::ZERO);
            vigil.end(QUICK);
            vigil.on_moved(2);
        }
        vigil
    }

    #[test]
    fn a_talk_of_quick_answers_keeps_the_shard_awake() {
        let mut vigil = talking();
        for _ in 0..1000 {
            assert_eq!(vigil.begin(), AWAKE);
            vigil.end(QUICK);
        }
        // One pause is forgiven, a few are the end of it.
        vigil.end(None);
        assert_eq!(vigil.begin(), AWAKE);
        (0..3).for_each(|_| vigil.end(Some(Duration::from_millis(20))));
        assert_eq!(vigil.begin(), Duration::ZERO);
    }

    /// A hiccup of one end makes it miss an answer. Neither may go on missing those that follow.
    #[test]
    fn two_ends_that_fell_asleep_once_are_soon_both_awake_again() {
        const WAKING: Duration = Duration::from_micros(80);
        const ANSWERING: Duration = Duration::from_micros(25);
        let (mut one, mut other) = (talking(), talking());
        for vigil in [&mut one, &mut other] {
            (STREAK..STREAK_MAX).for_each(|_| vigil.end(QUICK));
        }
        let mut waited = Duration::from_millis(1);
        for turn in 0..4 {
            let asleep = waited > one.begin();
            assert_eq!(asleep, turn == 0, "at turn {turn}, after {waited:?}");
            one.end(Some(waited));
            waited = ANSWERING + if asleep { WAKING } else { Duration::ZERO };
            core::mem::swap(&mut one, &mut other);
        }
    }

    #[test]
    fn a_bulk_transfer_and_a_slow_talk_let_it_sleep() {
        let mut vigil = talking();
        vigil.on_moved(FEW + 1);
        assert_eq!(vigil.begin(), Duration::ZERO);
        let mut slow = Vigil::default();
        for _ in 0..1000 {
            slow.end(Some(Duration::from_millis(1)));
            assert_eq!(slow.begin(), Duration::ZERO);
        }
    }
}
