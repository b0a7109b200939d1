//! What an emulator's thread sleeps on: one epoll set and one timer in it.
//!
//! Knows descriptors and instants; neither what they mean nor what a link is.

use super::Clock;
use mpquic_base::{Duration, Time};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;

/// Pause between turns while packets are moving. What comes or falls due within it is taken together, that much late;
/// without it a link at 500 Mbit/s would cost two wake-ups every 20 us.
pub(super) const NAP: Duration = Duration::from_micros(150);
/// As `nice` counts: ten times the share of an ordinary thread when processors are short.
const PRIORITY: i32 = -10;
/// Descriptors looked at per turn.
const EVENTS: usize = 64;

pub(super) struct Waiter {
    poll: OwnedFd,
    timer: OwnedFd,
    timer_data: u64,
    clock: Clock,
    /// When the timer will fire.
    armed: Option<Time>,
}

impl Waiter {
    /// `timer` is the number that the timer's own events carry.
    pub(super) fn new(clock: Clock, timer_data: u64) -> io::Result<Self> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Edge-triggered, so that nobody has to read how often it fired.
        epoll::add(&poll, &timer, EventData::new_u64(timer_data), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { poll, timer, timer_data, clock, armed: None })
    }

    /// From now on, `wait` says `data` while there is something to read from `fd`.
    pub(super) fn watch(&self, fd: &impl AsFd, data: u64) -> io::Result<()> {
        epoll::add(&self.poll, fd, EventData::new_u64(data), EventFlags::IN)?;
        Ok(())
    }

    pub(super) fn forget(&self, fd: &impl AsFd) -> io::Result<()> {
        epoll::delete(&self.poll, fd)?;
        Ok(())
    }

    /// A list of events of the size that `wait` fills.
    pub(super) fn events() -> Vec<epoll::Event> {
        Vec::with_capacity(EVENTS)
    }

    /// Fills `events`, after a nap if packets are moving, else as soon as there are any.
    pub(super) fn wait(&mut self, events: &mut Vec<epoll::Event>, moving: bool) -> io::Result<()> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        if moving {
            std::thread::sleep(NAP);
        }
        events.clear();
        let space = rustix::buffer::spare_capacity(events);
        match epoll::wait(&self.poll, space, moving.then_some(&NOW)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if events.iter().any(|event| event.data.u64() == self.timer_data) {
            self.armed = None;
        }
        Ok(())
    }

    /// Makes sure that the timer fires by `wake`.
    pub(super) fn arm(&mut self, wake: Time) -> io::Result<()> {
        if self.armed.is_some_and(|armed| armed <= wake) {
            return Ok(());
        }
        // Zero would stop the timer instead.
        let pause = wake.since(self.clock.now()).max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value =
            Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: i64::from(pause.subsec_nanos()) };
        let once = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.armed = Some(wake);
        Ok(())
    }
}

/// Makes the calling thread wake up when it should: links do not wait for a processor. Where the host does not allow it
/// (a higher priority takes root), the emulator is a little later, no more.
pub(super) fn be_punctual() {
    // The default slack of 50 us would nearly double every nap.
    rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(1)).ok();
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), PRIORITY).ok();
}
