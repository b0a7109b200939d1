//! A shard on its thread: turn, wait, turn.

use crate::app::App;
use crate::io::Io;
use crate::shard::{Budget, Next, Shard, ShardCounters};
use crate::sockets::SocketIo;
use crate::vigil::{Moved, Vigil};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use mpquic_base::Time;
use std::io;

/// How long the last packets may take to leave after the stop.
const FLUSH_MAX: Duration = Duration::from_millis(200);

/// How a shard's thread behaves on its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// The only processor that the thread runs on, counted from 0.
    pub processor: Option<usize>,
    /// How long after the last packet it goes on looking for the next without sleeping: spends a processor to save the
    /// microseconds of a wake-up.
    pub busy_poll: Duration,
}

impl Habits {
    /// Ties the calling thread to its processor. For the thread that is going to [`run`] the shard.
    ///
    /// # Errors
    /// If there is no such processor, or it is not for us.
    pub fn adopt(&self) -> io::Result<()> {
        self.processor.map_or(Ok(()), mpquic_net::pin_thread)
    }
}

/// Runs the shard on this thread until `stop` is set, then until everything it handed to the wheel has left, but not
/// for longer than 200 ms. Whoever sets `stop` from another thread has to wake the shard too.
///
/// # Errors
/// What the system reports about waiting; the shard cannot go on then.
pub fn run<A: App>(
    shard: &mut Shard<A>,
    io: &mut SocketIo,
    stop: &AtomicBool,
    habits: Habits,
) -> io::Result<()> {
    // Pacing works without it too, with the kernel's slack of about 50 us.
    mpquic_net::sharpen_timers().ok();
    let budget = Budget::default();
    let mut busy = Busy { span: habits.busy_poll, packets: 0, until: Time::ZERO };
    let mut vigil = Vigil::default();
    let mut give_up_at: Option<Time> = None;
    loop {
        let next = shard.turn(io, budget);
        let now = io.now();
        if stop.load(Ordering::Acquire) {
            let last = *give_up_at.get_or_insert(now + FLUSH_MAX);
            if shard.is_flushed() || now >= last {
                return Ok(());
            }
        }
        let until = match next {
            Next::Now => Some(now),
            Next::At(at) => Some(at),
            Next::Idle => None,
        };
        let until = if busy.looks_on(now, shard.counters()) { Some(now) } else { until };
        let until = Time::soonest(until, give_up_at);
        if until.is_some_and(|until| until <= now) {
            io.wait(until, Duration::ZERO)?;
            continue;
        }
        let awake = vigil.begin(moved(shard.counters()), shard.endpoint().shortest_rtt());
        let called = io.wait(until, awake)?;
        vigil.end(called.then(|| io.now().since(now)));
    }
}

const fn moved(counters: ShardCounters) -> Moved {
    Moved { received: counters.datagrams_received, sent: counters.datagrams_sent }
}

/// Whether packets moved a short while ago.
struct Busy {
    span: Duration,
    packets: u64,
    until: Time,
}

impl Busy {
    fn looks_on(&mut self, now: Time, counters: ShardCounters) -> bool {
        let packets = counters.datagrams_received + counters.datagrams_sent;
        if packets != core::mem::replace(&mut self.packets, packets) {
            self.until = now + self.span;
        }
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::Busy;
    use crate::shard::ShardCounters;
    use mpquic_base::{Duration, Time};

    #[test]
    fn a_busy_thread_looks_on_for_its_span_after_the_last_packet() {
        let mut busy = Busy { span: Duration::from_millis(2), packets: 0, until: Time::ZERO };
        let at = |ms| Time::from_millis(ms);
        let seen = |n| ShardCounters { datagrams_received: n, ..ShardCounters::default() };
        assert!(!busy.looks_on(at(10), seen(0)), "nothing moved yet");
        assert!(busy.looks_on(at(20), seen(3)) && busy.looks_on(at(21), seen(3)));
        assert!(!busy.looks_on(at(22), seen(3)));
        assert!(busy.looks_on(at(30), seen(4)));
        let mut never = Busy { span: Duration::ZERO, packets: 0, until: Time::ZERO };
        assert!(!never.looks_on(at(30), seen(4)));
    }
}
