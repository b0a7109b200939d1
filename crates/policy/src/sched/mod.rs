//! Path schedulers: the list. The contract is in [`scheduler`].

mod minrtt;
mod roundrobin;
pub mod scheduler;
mod soonest;

pub use scheduler::{PathView, Pick, Scheduler, Want};

use crate::Entry;

/// Every scheduler, the default first.
pub const ALL: &[&Entry<dyn Scheduler>] = &[&soonest::ENTRY, &minrtt::ENTRY, &roundrobin::ENTRY];

/// The paths that may carry data, with their places in `views`. A backup is one only where nothing else exists:
/// it does not help out while the others are full.
fn eligible(views: &[PathView]) -> impl Iterator<Item = (usize, &PathView)> + Clone {
    let only_backups = views.iter().all(|view| view.backup);
    views.iter().enumerate().filter(move |(_, view)| only_backups || !view.backup)
}

#[cfg(test)]
mod tests;
