//! Where a shard's thread sleeps: until a socket is ready, a time has come, or another thread wakes it.
//!
//! Owns the epoll descriptor, the eventfd behind [`Waker`] and the precision of timeouts (nanoseconds, by
//! `epoll_pwait2` or else a timerfd), and the choice between sleeping and looking again. Level-triggered: what is not
//! drained is reported again, so a turn may stop at its budget. Refuses to know what the descriptors are; each has a key
//! that its owner chose.

use crate::clock::Clock;
use crate::sys;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use mpquic_base::Time;
use rustix::event::epoll::{CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Events that one wait reports at most; more are reported by the next.
const EVENTS_MAX: usize = 64;
/// Keys of our own descriptors, beyond those of 16 bits that owners choose.
const WAKER_KEY: u64 = 1 << 32;
const ALARM_KEY: u64 = 2 << 32;

/// Waits for any of a set of descriptors.
pub struct Poller {
    epoll: OwnedFd,
    alarm: Alarm,
    waker: Waker,
    buffer: Box<[libc::epoll_event]>,
    ready: Vec<Event>,
    /// System calls made.
    calls: u64,
}

impl Poller {
    /// # Errors
    /// What the system reports, as a rule too many open files.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Reported once per call of a waker, so that nobody has to read it.
        epoll::add(&epoll, &event, EventData::new_u64(WAKER_KEY), EventFlags::IN | EventFlags::ET)?;
        let signal = Signal { event, raised: AtomicBool::new(false), asleep: AtomicBool::new(false) };
        Ok(Self {
            epoll,
            alarm: Alarm::Timeout,
            waker: Waker { signal: Arc::new(signal) },
            buffer: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX].into_boxed_slice(),
            ready: Vec::with_capacity(EVENTS_MAX),
            calls: 0,
        })
    }

    /// Watches a descriptor for something to read, under a key of the caller's choice.
    ///
    /// # Errors
    /// What the system reports, such as a descriptor that is watched already.
    pub fn add(&self, fd: impl AsFd, key: u16) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, data(key), EventFlags::IN)?)
    }

    /// Also watches for room to write, or no longer. For a socket that refused a packet with "would block".
    ///
    /// # Errors
    /// What the system reports, such as a descriptor that is not watched.
    pub fn want_writable(&self, fd: impl AsFd, key: u16, wanted: bool) -> io::Result<()> {
        let flags = if wanted { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, fd, data(key), flags)?)
    }

    /// Stops watching. Closing a descriptor does the same.
    ///
    /// # Errors
    /// What the system reports, such as a descriptor that is not watched.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// A handle by which any thread ends a wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until something is ready or woken, or until `until` has come; never returns empty-handed before.
    /// A time that has passed looks without sleeping.
    ///
    /// # Errors
    /// What the system reports about the wait itself.
    pub fn wait(&mut self, until: Option<Time>, clock: &Clock) -> io::Result<Ready<'_>> {
        self.watch(until, Duration::ZERO, clock)
    }

    /// As [`Poller::wait`], but looks again and again for `awake` before it sleeps, letting other threads of this core
    /// run in between: a sleep costs tens of microseconds where the core has to be woken as well.
    ///
    /// # Errors
    /// As [`Poller::wait`].
    pub fn watch(&mut self, until: Option<Time>, awake: Duration, clock: &Clock) -> io::Result<Ready<'_>> {
        let begun = clock.now();
        let mut now = begun;
        loop {
            let left = until.map(|u| u.since(now));
            let looking = now.since(begun) < awake;
            let count = match if looking { self.look() } else { self.rest(left) } {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error),
            };
            let woken = self.sort(count)?;
            now = clock.now();
            if woken || !self.ready.is_empty() || until.is_some_and(|u| now >= u) {
                return Ok(Ready { woken, events: &self.ready });
            }
            if looking {
                std::thread::yield_now();
            }
        }
    }

    /// System calls made so far.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    fn look(&mut self) -> io::Result<usize> {
        self.calls += 1;
        sys::epoll_wait(self.epoll.as_fd(), &mut self.buffer, false)
    }

    /// A sleep, unless a waker was called already.
    fn rest(&mut self, left: Option<Duration>) -> io::Result<usize> {
        if left == Some(Duration::ZERO) {
            return self.look();
        }
        let ready = self.waker.signal.fall_asleep();
        let slept = if ready { self.sleep(left) } else { self.look() };
        self.waker.signal.awake();
        slept
    }

    /// One system call's sleep. Returns the number of events, ours included.
    fn sleep(&mut self, left: Option<Duration>) -> io::Result<usize> {
        self.calls += 1;
        if matches!(self.alarm, Alarm::Timeout) {
            match sys::epoll_wait_ns(self.epoll.as_fd(), &mut self.buffer, left) {
                // Linux before 5.11 does not know the call; some container filters answer EPERM for it.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.alarm = self.timer_alarm()?;
                }
                result => return result,
            }
        }
        if let Alarm::Timer(timer) = &self.alarm {
            set_timer(timer, left)?;
        }
        sys::epoll_wait(self.epoll.as_fd(), &mut self.buffer, true)
    }

    fn timer_alarm(&self) -> io::Result<Alarm> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&self.epoll, &timer, EventData::new_u64(ALARM_KEY), EventFlags::IN)?;
        Ok(Alarm::Timer(timer))
    }

    /// Translates the first `count` events and answers our own. Returns whether the waker was used.
    fn sort(&mut self, count: usize) -> io::Result<bool> {
        self.ready.clear();
        for event in &self.buffer[..count] {
            let (key, flags) = (event.u64, event.events);
            match u16::try_from(key) {
                Ok(key) => self.ready.push(Event::new(key, flags)),
                Err(_) if key == WAKER_KEY => {}
                Err(_) => self.alarm.quiet()?,
            }
        }
        Ok(self.waker.signal.lower())
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Poller({:?}, {:?})", self.epoll, self.alarm)
    }
}

/// What ended a wait. Empty if it was the time.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// Somebody called [`Waker::wake`].
    pub woken: bool,
    pub events: &'a [Event],
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key that the descriptor was added under.
    pub key: u16,
    pub readable: bool,
    pub writable: bool,
}

impl Event {
    fn new(key: u16, flags: u32) -> Self {
        let any = |mask: libc::c_int| flags & mask.cast_unsigned() != 0;
        // An error shows, and is cleared, by trying.
        let broken = any(libc::EPOLLERR | libc::EPOLLHUP);
        Self { key, readable: any(libc::EPOLLIN) || broken, writable: any(libc::EPOLLOUT) || broken }
    }
}

/// Ends a wait from any thread. Costs a system call only if the poller sleeps.
#[derive(Clone, Debug)]
pub struct Waker {
    signal: Arc<Signal>,
}

impl Waker {
    /// Makes the poller's present or next wait return. What was done before this call is visible to its thread.
    pub fn wake(&self) {
        self.signal.raise();
    }
}

/// A flag, and an eventfd for a poller that sleeps.
///
/// The poller says that it goes to sleep and then looks at the flag; a waker raises the flag and then looks whether the
/// poller sleeps. In the one order of all these operations at least one of the two sees the other.
#[derive(Debug)]
struct Signal {
    event: OwnedFd,
    raised: AtomicBool,
    asleep: AtomicBool,
}

impl Signal {
    fn raise(&self) {
        if !self.raised.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            // Only a counter at its limit of 2^64 - 2 refuses, and nobody calls that often.
            rustix::io::write(&self.event, &1u64.to_ne_bytes()).ok();
        }
    }

    /// False if there is no need to.
    fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        !self.raised.load(Ordering::SeqCst)
    }

    fn awake(&self) {
        self.asleep.store(false, Ordering::Release);
    }

    /// Whether it was raised since the last call.
    fn lower(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::AcqRel)
    }
}

/// What ends a sleep in time.
#[derive(Debug)]
enum Alarm {
    /// The timeout of `epoll_pwait2`.
    Timeout,
    /// A timer among the watched descriptors.
    Timer(OwnedFd),
}

impl Alarm {
    /// The timer has rung: it is not to be reported again.
    fn quiet(&self) -> io::Result<()> {
        match self {
            Self::Timer(timer) => read_counter(timer),
            Self::Timeout => Ok(()),
        }
    }
}

/// Rings once after `left`; without it, never.
fn set_timer(timer: &OwnedFd, left: Option<Duration>) -> io::Result<()> {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let left = left.unwrap_or_default();
    let value = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: zero, it_value: value })?;
    Ok(())
}

/// Resets a timerfd.
fn read_counter(fd: &OwnedFd) -> io::Result<()> {
    let mut counter = [0; 8];
    match rustix::io::read(fd, &mut counter) {
        // Setting a timer anew takes back a ring that was already reported.
        Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn data(key: u16) -> EventData {
    EventData::new_u64(key.into())
}

#[cfg(test)]
mod tests;
