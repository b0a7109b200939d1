//! The ground floor: values that every other crate speaks in.
//!
//! Owns time and rate arithmetic, identifiers, seeded randomness and bounded containers.
//! Refuses to know packets, sockets, clocks and policies; depends on no other crate of the workspace.

#![deny(unsafe_code)]

mod cache;
mod id;
pub mod pages;
mod ranges;
mod rate;
mod rng;
mod time;

pub use id::{Cid, Dir, Ecn, FourTuple, PathId, Role, StreamId};
pub use pages::{PageStore, Pages};
pub use ranges::RangeSet;
pub use rate::Rate;
pub use rng::Rng;
pub use time::Time;

pub use core::time::Duration;
