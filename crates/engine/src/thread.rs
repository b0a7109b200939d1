//! A shard on its thread: turn, wait, turn.

use crate::app::App;
use crate::io::Io;
use crate::shard::{Budget, Next, Shard};
use crate::sockets::SocketIo;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use mpquic_base::Time;
use std::io;

/// How long the last packets may take to leave after the stop.
const FLUSH_MAX: Duration = Duration::from_millis(200);

/// Runs the shard on this thread until `stop` is set, then until everything it handed to the wheel has left, but not
/// for longer than 200 ms. Whoever sets `stop` from another thread has to wake the shard too.
///
/// # Errors
/// What the system reports about waiting; the shard cannot go on then.
pub fn run<A: App>(shard: &mut Shard<A>, io: &mut SocketIo, stop: &AtomicBool) -> io::Result<()> {
    // Pacing works without it too, with the kernel's slack of about 50 us.
    mpquic_net::sharpen_timers().ok();
    let budget = Budget::default();
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
        io.wait(Time::soonest(until, give_up_at))?;
    }
}
