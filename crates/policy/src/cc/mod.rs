//! Congestion controllers: the list. The contract is in [`controller`].

pub mod controller;

pub use controller::{AckBatch, Controller, EcnBatch, LossBatch, RateSample, SentPacket};

use crate::Entry;

/// Every congestion controller, the default first.
pub const ALL: &[&Entry<dyn Controller>] = &[];
