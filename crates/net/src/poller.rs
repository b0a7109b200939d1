//! Where a shard's thread sleeps: until a socket is ready, a time has come, or another thread wakes it.
//!
//! Owns the epoll descriptor, the eventfd behind [`Waker`] and the precision of timeouts (nanoseconds, by
//! `epoll_pwait2` or else a timerfd). Level-triggered: what is not drained is reported again, so a turn may stop
//! at its budget. Refuses to know what the descriptors are; each has a key that its owner chose.

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
}

impl Poller {
    /// # Errors
    /// What the system reports, as a rule too many open files.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &event, EventData::new_u64(WAKER_KEY), EventFlags::IN)?;
        Ok(Self {
            epoll,
            alarm: Alarm::Timeout,
            waker: Waker { signal: Arc::new(Signal { event, raised: AtomicBool::new(false) }) },
            buffer: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX].into_boxed_slice(),
            ready: Vec::with_capacity(EVENTS_MAX),
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
        loop {
            let left = until.map(|u| u.since(clock.now()));
            let count = match self.sleep(left) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let woken = self.sort(count)?;
            if woken || !self.ready.is_empty() || until.is_some_and(|u| clock.now() >= u) {
                return Ok(Ready { woken, events: &self.ready });
            }
        }
    }

    /// One system call's sleep. Returns the number of events, ours included.
    fn sleep(&mut self, left: Option<Duration>) -> io::Result<usize> {
        if matches!(self.alarm, Alarm::Timeout) {
            match sys::epoll_wait_ns(self.epoll.as_fd(), &mut self.buffer, left) {
                // Linux before 5.11 does not know the call; some container filters answer EPERM for it.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.alarm = self.timer_alarm()?;
                }
                result => return result,
            }
        }
        let sleeps = left != Some(Duration::ZERO);
        if let (true, Alarm::Timer(timer)) = (sleeps, &self.alarm) {
            set_timer(timer, left)?;
        }
        sys::epoll_wait(self.epoll.as_fd(), &mut self.buffer, sleeps)
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
        let mut woken = false;
        for event in &self.buffer[..count] {
            let (key, flags) = (event.u64, event.events);
            match u16::try_from(key) {
                Ok(key) => self.ready.push(Event::new(key, flags)),
                Err(_) if key == WAKER_KEY => {
                    self.waker.signal.lower()?;
                    woken = true;
                }
                Err(_) => self.alarm.quiet()?,
            }
        }
        Ok(woken)
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

/// Ends a wait from any thread. Costs one atomic swap if the poller has not yet seen the last call.
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

/// An eventfd and a flag that saves the system calls nobody needs.
///
/// The flag is raised before the descriptor is written and lowered after it was read. So while it is up, the
/// descriptor is readable or is just being answered, and in both cases the poller reports a wake-up later than
/// the caller's work.
#[derive(Debug)]
struct Signal {
    event: OwnedFd,
    raised: AtomicBool,
}

impl Signal {
    fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            // Only a counter at its limit of 2^64 - 2 refuses, and that one is readable anyway.
            rustix::io::write(&self.event, &1u64.to_ne_bytes()).ok();
        }
    }

    fn lower(&self) -> io::Result<()> {
        read_counter(&self.event)?;
        self.raised.swap(false, Ordering::AcqRel);
        Ok(())
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

/// Resets an eventfd or timerfd.
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
