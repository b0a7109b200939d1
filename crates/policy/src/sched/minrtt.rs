//! The path with the lowest RTT that can send now: the reference scheduler of every multipath transport.
//!
//! Keeps no state: each batch is decided from the views alone.

use super::eligible;
use super::scheduler::{PathView, Pick, Scheduler, Want};
use crate::Entry;
use mpquic_base::Time;

pub(super) static ENTRY: Entry<dyn Scheduler> = Entry {
    name: "minrtt",
    about: "the path with the lowest round-trip time that has room; backup paths only when no other is left",
    tunables: &[],
    build: |_| Box::new(MinRtt),
};

#[derive(Debug)]
struct MinRtt;

impl Scheduler for MinRtt {
    fn pick(&mut self, _now: Time, views: &[PathView], _want: &Want) -> Pick {
        let open = eligible(views).filter(|(_, view)| view.can_send);
        open.min_by_key(|(_, view)| view.srtt).map_or(Pick::Wait, |(index, _)| Pick::Send(index))
    }
}

#[cfg(test)]
mod tests;
