//! Waking the tasks that wait for streams.
//!
//! A task that is woken takes the core from the shard if both share it, and goes back to sleep after its few bytes: a
//! hundred tasks woken one by one are as many changes there and back. So the shard wakes one of them at the end of its
//! turn, and that one wakes the others when it comes to its stream ([`Others::wake`]): tasks of one thread
//! just get in line. It is not relied upon: after [`PATIENCE`] the shard does it.

use crate::locked;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;
use mpquic_base::Time;
use std::collections::VecDeque;
use std::sync::Mutex;

/// How long the others wait for the task that was woken first.
const PATIENCE: Duration = Duration::from_micros(200);

/// The tasks that have something to do once the shard's turn is over.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    due: Vec<Waker>,
    /// When a task was woken that is to wake [`Others`].
    rung: Time,
}

impl Bells {
    pub(super) fn add(&mut self, waker: Option<Waker>) {
        self.due.extend(waker);
    }

    /// Wakes one of them, unless there is one already on its way to wake all.
    pub(super) fn ring(&mut self, now: Time, others: &Others) {
        if self.deadline(others).is_some_and(|at| at <= now) {
            others.wake();
        }
        if let Some(first) = others.add(self.due.drain(..)) {
            self.rung = now;
            first.wake();
        }
    }

    /// Wakes every one.
    pub(super) fn ring_all(&mut self) {
        self.due.drain(..).for_each(Waker::wake);
    }

    /// When the others have waited long enough.
    pub(super) fn deadline(&self, others: &Others) -> Option<Time> {
        others.are_waiting().then(|| self.rung + PATIENCE)
    }
}

/// The tasks that another one is about to wake.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Whether there are any, for those who come by often.
    waiting: AtomicBool,
    tasks: Mutex<VecDeque<Waker>>,
}

impl Others {
    fn are_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Returns the first one if nobody is going to wake it.
    fn add(&self, mut due: impl Iterator<Item = Waker>) -> Option<Waker> {
        let mut tasks = locked(&self.tasks);
        let first = if tasks.is_empty() { due.next() } else { None };
        tasks.extend(due);
        self.waiting.store(!tasks.is_empty(), Ordering::Release);
        first
    }

    /// Wakes them all.
    pub(crate) fn wake(&self) {
        while self.are_waiting() {
            let mut tasks = locked(&self.tasks);
            let next = tasks.pop_front();
            self.waiting.store(!tasks.is_empty(), Ordering::Release);
            drop(tasks);
            next.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bells, Others, PATIENCE};
    use core::task::Waker;
    use mpquic_base::{Duration, Time};
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    const START: Time = Time::ZERO;

    /// Tasks that write down their names when they are woken.
    #[derive(Default)]
    struct Tasks(Arc<Mutex<String>>);

    struct Task(char, Arc<Mutex<String>>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    impl Tasks {
        fn ring(&self, bells: &mut Bells, now: Time, others: &Others, names: &str) {
            for name in names.chars() {
                bells.add(Some(Waker::from(Arc::new(Task(name, Arc::clone(&self.0))))));
            }
            bells.ring(now, others);
        }

        fn woken(&self) -> String {
            self.0.lock().unwrap().clone()
        }
    }

    fn world() -> (Bells, Others, Tasks) {
        <(Bells, Others, Tasks)>::default()
    }

    #[test]
    fn one_task_is_woken_and_wakes_the_others() {
        let (mut bells, others, tasks) = world();
        tasks.ring(&mut bells, START, &others, "abc");
        assert_eq!(tasks.woken(), "a");
        others.wake();
        assert_eq!(tasks.woken(), "abc");
        assert_eq!(bells.deadline(&others), None);
    }

    #[test]
    fn tasks_of_the_next_turn_wait_for_the_same_one() {
        let (mut bells, others, tasks) = world();
        tasks.ring(&mut bells, START, &others, "ab");
        tasks.ring(&mut bells, START + PATIENCE / 2, &others, "c");
        assert_eq!(tasks.woken(), "a");
        others.wake();
        assert_eq!(tasks.woken(), "abc");
        tasks.ring(&mut bells, START + PATIENCE, &others, "d");
        assert_eq!(tasks.woken(), "abcd", "nobody else was woken who could do it");
    }

    #[test]
    fn a_task_that_does_not_come_is_not_waited_for() {
        let (mut bells, others, tasks) = world();
        tasks.ring(&mut bells, START, &others, "abc");
        assert_eq!(bells.deadline(&others), Some(START + PATIENCE));
        tasks.ring(&mut bells, START + PATIENCE - Duration::from_micros(1), &others, "");
        assert_eq!(tasks.woken(), "a");
        tasks.ring(&mut bells, START + PATIENCE, &others, "de");
        assert_eq!(tasks.woken(), "abcd");
        assert_eq!(bells.deadline(&others), Some(START + PATIENCE * 2));
    }
}
