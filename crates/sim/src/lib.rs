//! Links, faults and the ways to drive them.
//!
//! Owns one link model, driven by virtual time in tests and by real time in the emulator, and the list of
//! link profiles that every claim is measured on. The model refuses to know what a packet is, what time it
//! is and who sends: it is told, and everything random in it follows from one seed.

#![forbid(unsafe_code)]

mod check;
pub mod crypto;
pub mod emulator;
pub mod hostile;
pub mod link;
pub mod profile;
pub mod random;
pub mod world;

pub use world::{Side, World};
