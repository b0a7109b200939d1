//! Congestion controllers: the list. The contract is in [`controller`].

mod bbr;
pub mod controller;
mod cubic;
mod hystart;
mod loss_based;
mod newreno;

pub use controller::{AckBatch, Controller, EcnBatch, LossBatch, MAX_WINDOW, RateSample, SentPacket};

use crate::Entry;

/// Every congestion controller, the default first.
pub const ALL: &[&Entry<dyn Controller>] = &[&bbr::ENTRY, &cubic::ENTRY, &newreno::ENTRY];
