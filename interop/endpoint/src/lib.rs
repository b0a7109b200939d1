//! mpquic as an endpoint of the QUIC interop runner: a file server and a downloader, and what each test case asks of them.
//!
//! [`case`] is the list of cases and the only place that knows what sets them apart, [`options`] what the environment
//! says, [`client`] and [`server`] the two roles, `hq` and `h3` the two ways to ask for a file, [`tally`] what a
//! connection turned out to be. The binary adds the environment, signals and exit codes.

#![forbid(unsafe_code)]

pub mod case;
pub mod client;
mod files;
mod h3;
mod hq;
pub mod options;
mod preferred;
pub mod server;
pub mod tally;
mod trust;

use core::fmt;

/// Why an endpoint gave up: what happened, to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl Failure {
    pub(crate) fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Failure {}
