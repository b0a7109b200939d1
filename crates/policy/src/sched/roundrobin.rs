//! Each path in turn, a batch at a time.
//!
//! Remembers the last path by its id, so paths may come and go between two batches.

use super::eligible;
use super::scheduler::{PathView, Pick, Scheduler, Want};
use crate::Entry;
use mpquic_base::{PathId, Time};

pub(super) static ENTRY: Entry<dyn Scheduler> = Entry {
    name: "roundrobin",
    about: "every path in turn, whatever its speed; backup paths only when no other is left",
    tunables: &[],
    build: |_| Box::new(RoundRobin { last: None }),
};

#[derive(Debug)]
struct RoundRobin {
    last: Option<PathId>,
}

impl Scheduler for RoundRobin {
    fn pick(&mut self, _now: Time, views: &[PathView], _want: &Want) -> Pick {
        let mut open = eligible(views).filter(|(_, view)| view.can_send);
        let after_last = open.clone().find(|(_, view)| self.last.is_none_or(|last| view.id > last));
        let Some((index, view)) = after_last.or_else(|| open.next()) else { return Pick::Wait };
        self.last = Some(view.id);
        Pick::Send(index)
    }
}

#[cfg(test)]
mod tests;
