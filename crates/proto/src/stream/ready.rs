//! Who sends next: streams in the order of their priority, round robin within one priority.
//!
//! A stream keeps its turn for some bytes, so that they stay together and the packets stay few, then goes to the
//! back of its queue. Whether it has anything to send is the business of whoever asks.

use mpquic_base::StreamId;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Highest priority first. Empty classes stay until a new one is needed, so that a steady transfer allocates
    /// nothing.
    classes: Vec<Class>,
}

#[derive(Debug)]
struct Class {
    priority: i32,
    queue: VecDeque<StreamId>,
    /// Bytes of the current turn that the front stream has used.
    spent: u64,
}

impl Ready {
    /// `id` must not be queued here already.
    pub(super) fn push(&mut self, priority: i32, id: StreamId) {
        if let Some(class) = self.classes.iter_mut().find(|c| c.priority == priority) {
            class.queue.push_back(id);
            return;
        }
        self.classes.retain(|c| !c.queue.is_empty());
        let at = self.classes.partition_point(|c| c.priority > priority);
        self.classes.insert(at, Class { priority, queue: VecDeque::from([id]), spent: 0 });
    }

    /// Gives back the memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.classes.retain(|c| !c.queue.is_empty());
        self.classes.shrink_to_fit();
    }

    /// More than one waits.
    pub(super) fn is_crowd(&self) -> bool {
        self.classes.iter().map(|c| c.queue.len()).sum::<usize>() > 1
    }

    pub(super) fn front(&self) -> Option<StreamId> {
        self.classes.iter().find_map(|c| c.queue.front().copied())
    }

    fn class(&mut self) -> Option<&mut Class> {
        self.classes.iter_mut().find(|c| !c.queue.is_empty())
    }

    /// The front stream sent `bytes`; its turn is over after `turn` bytes.
    pub(super) fn charge(&mut self, bytes: u64, turn: u64) {
        if let Some(class) = self.class() {
            class.spent += bytes;
            if class.spent >= turn {
                class.spent = 0;
                class.queue.rotate_left(1);
            }
        }
    }

    /// The front stream has nothing more to send.
    pub(super) fn pop(&mut self) {
        if let Some(class) = self.class() {
            class.spent = 0;
            class.queue.pop_front();
        }
    }

    /// Takes `id` out wherever it stands; linear, for rare occasions.
    pub(super) fn remove(&mut self, priority: i32, id: StreamId) {
        if let Some(class) = self.classes.iter_mut().find(|c| c.priority == priority) {
            if class.queue.front() == Some(&id) {
                class.spent = 0;
            }
            class.queue.retain(|queued| *queued != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ready;
    use mpquic_base::StreamId;

    const TURN: u64 = 16 * 1024;

    #[test]
    fn a_turn_lasts_for_its_bytes_and_higher_priorities_go_first() {
        let [a, b, c] = [StreamId(0), StreamId(4), StreamId(8)];
        let mut ready = Ready::default();
        ready.push(0, a);
        ready.push(0, b);
        assert_eq!(ready.front(), Some(a));
        ready.charge(TURN - 1, TURN);
        assert_eq!(ready.front(), Some(a));
        ready.charge(1, TURN);
        assert_eq!(ready.front(), Some(b));
        ready.push(7, c);
        assert_eq!(ready.front(), Some(c));
        ready.charge(3 * TURN, TURN);
        assert_eq!(ready.front(), Some(c), "alone in its class");
        ready.pop();
        assert_eq!(ready.front(), Some(b));
        ready.remove(0, b);
        assert_eq!(ready.front(), Some(a));
        ready.pop();
        assert_eq!(ready.front(), None);
    }

    #[test]
    fn priorities_that_nobody_uses_any_more_do_not_pile_up() {
        let mut ready = Ready::default();
        for priority in 0..1000 {
            ready.push(priority, StreamId(0));
            ready.pop();
        }
        assert_eq!(ready.classes.len(), 1);
    }
}
