//! The path over which the bytes arrive soonest, even if that means to wait for one that is full now.
//!
//! A quicker path with room is always taken. A slower one is taken only if the bytes that wait could not all arrive over
//! the quicker paths before one more packet arrives over the slower: at the end of a transfer nothing is left behind on
//! a link that takes long, while a transfer with much to send uses all of them.

use super::eligible;
use super::scheduler::{PathView, Pick, Scheduler, Want};
use crate::Entry;
use mpquic_base::{Duration, Rate, Time};

pub(super) static ENTRY: Entry<dyn Scheduler> = Entry {
    name: "soonest",
    about: "the path over which data arrives soonest; waits for a full one where that is quicker",
    tunables: &[],
    build: |_| Box::new(Soonest),
};

#[derive(Debug)]
struct Soonest;

impl Scheduler for Soonest {
    fn pick(&mut self, now: Time, views: &[PathView], want: &Want) -> Pick {
        let open = eligible(views).filter(|(_, view)| view.can_send);
        let Some((index, slow)) = open.min_by_key(|(_, view)| one_way(view)) else { return Pick::Wait };
        let quicker = || eligible(views).map(|(_, view)| view).filter(|view| one_way(view) < one_way(slow));
        let rate = quicker().map(|view| view.rate.bytes_per_second()).fold(0, u64::saturating_add);
        if rate == 0 {
            return Pick::Send(index);
        }
        // What is in the windows of the quicker paths already leaves at their rates too.
        let reach = quicker().map(|view| one_way(view) + view.ready_at.since(now)).min().unwrap_or_default();
        let over_quicker = Rate::from_bytes_per_second(rate).delay(want.bytes) + reach;
        if over_quicker <= one_way(slow) { Pick::Wait } else { Pick::Send(index) }
    }
}

/// How long a packet takes to the other end: a queue, if there is one, is on the way out.
fn one_way(view: &PathView) -> Duration {
    view.srtt.saturating_sub(view.min_rtt / 2)
}

#[cfg(test)]
mod tests;
