//! Path schedulers: the list. The contract is in [`scheduler`].

pub mod scheduler;

pub use scheduler::{PathView, Pick, Scheduler, Want};

use crate::Entry;

/// Every scheduler, the default first.
pub const ALL: &[&Entry<dyn Scheduler>] = &[];
