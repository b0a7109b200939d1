//! Congestion controllers: the list. The contract is in [`controller`].

mod bbr;
pub mod controller;

pub use controller::{AckBatch, Controller, EcnBatch, LossBatch, RateSample, SentPacket};

use crate::Entry;

/// Every congestion controller, the default first.
pub const ALL: &[&Entry<dyn Controller>] = &[&bbr::ENTRY];
