use super::{Clock, Event, Poller};
use crate::{Socket, SocketOptions};
use core::time::Duration;
use mpquic_base::{Rng, Time};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Both ways of sleeping, because only one of them is in use on any one kernel.
fn pollers() -> [Poller; 2] {
    let timeout = Poller::new().unwrap();
    let mut timer = Poller::new().unwrap();
    timer.alarm = timer.timer_alarm().unwrap();
    [timeout, timer]
}

fn socket() -> Socket {
    Socket::bind("127.0.0.1:0".parse().unwrap(), &SocketOptions::default()).unwrap()
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let clock = Clock::start();
    for mut poller in pollers() {
        let mut rng = Rng::from_number(1);
        for _ in 0..50 {
            let until = clock.now() + Duration::from_nanos(rng.below(3_000_000));
            let ready = poller.wait(Some(until), &clock).unwrap();
            assert!(!ready.woken && ready.events.is_empty());
            assert!(clock.now() >= until);
        }
    }
}

#[test]
fn a_deadline_that_has_passed_still_reports_what_is_ready() {
    let clock = Clock::start();
    for mut poller in pollers() {
        assert!(!poller.wait(Some(Time::ZERO), &clock).unwrap().woken);
        poller.waker().wake();
        assert!(poller.wait(Some(Time::ZERO), &clock).unwrap().woken);
        assert!(!poller.wait(Some(Time::ZERO), &clock).unwrap().woken, "a wake-up is reported once");
    }
}

#[test]
fn an_old_alarm_does_not_disturb_a_later_wait() {
    let clock = Clock::start();
    for mut poller in pollers() {
        let soon = clock.now() + Duration::from_micros(200);
        poller.waker().wake();
        assert!(poller.wait(Some(soon), &clock).unwrap().woken);
        while clock.now() < soon {
            thread::yield_now();
        }
        let later = clock.now() + Duration::from_millis(3);
        assert!(poller.wait(Some(later), &clock).unwrap().events.is_empty());
        assert!(clock.now() >= later);
    }
}

#[test]
fn a_waker_ends_an_endless_wait_from_another_thread() {
    let clock = Clock::start();
    for mut poller in pollers() {
        let waker = poller.waker();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(2));
            waker.wake();
        });
        assert!(poller.wait(None, &clock).unwrap().woken);
        other.join().unwrap();
    }
}

#[test]
fn no_wake_up_is_lost_between_many_threads() {
    let clock = Clock::start();
    let mut poller = Poller::new().unwrap();
    let work = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (waker, work) = (poller.waker(), Arc::clone(&work));
            thread::spawn(move || {
                for round in 0..5000 {
                    work.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                    if round % 64 == 0 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut seen = 0;
    // Without a deadline: a lost wake-up would leave this waiting for ever.
    while seen < 15_000 {
        assert!(poller.wait(None, &clock).unwrap().woken);
        seen = work.load(Ordering::Relaxed);
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn a_socket_is_readable_until_drained_and_writable_only_when_asked() {
    let clock = Clock::start();
    for mut poller in pollers() {
        let (a, b) = (socket(), socket());
        poller.add(&a, 7).unwrap();
        assert!(poller.wait(Some(Time::ZERO), &clock).unwrap().events.is_empty());
        poller.want_writable(&a, 7, true).unwrap();
        let events = poller.wait(None, &clock).unwrap().events;
        assert_eq!(events, [Event { key: 7, readable: false, writable: true }]);
        poller.want_writable(&a, 7, false).unwrap();

        let batch = crate::Batch {
            bytes: &[1; 100],
            segment: 100,
            local: b.local_addr().ip(),
            peer: a.local_addr(),
            ecn: mpquic_base::Ecn::NotEct,
        };
        b.send(&batch).unwrap();
        for _ in 0..2 {
            let events = poller.wait(None, &clock).unwrap().events;
            assert_eq!(events, [Event { key: 7, readable: true, writable: false }]);
        }
        assert_eq!(a.receive(&mut crate::ReceiveBatch::new()).unwrap(), 1);
        assert!(poller.wait(Some(Time::ZERO), &clock).unwrap().events.is_empty());

        b.send(&batch).unwrap();
        poller.remove(&a).unwrap();
        assert!(poller.wait(Some(Time::ZERO), &clock).unwrap().events.is_empty());
    }
}
