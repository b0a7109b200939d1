//! The tests. Each is two functions, one for each end, and the figures that they yield.

mod bulk;

use crate::role::Job;
use crate::stack::{Endpoint, Later};
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(crate) const BULK: &[&Test] = &[&bulk::UP, &bulk::DOWN];

/// Every test there is, for the role to find its own.
pub(crate) fn find(name: &str) -> Option<&'static Test> {
    BULK.iter().copied().find(|test| test.name == name)
}

/// What one end of one round measured, by the keys of [`Test::figures`].
pub(crate) type Measured = BTreeMap<String, f64>;

#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The columns of the table, the one that the stacks are compared by first.
    pub(crate) figures: &'static [Figure],
    pub(crate) server: End<()>,
    pub(crate) client: End<SocketAddr>,
}

/// One end of a test: with its endpoint, the server's address if it is the client, and the job.
pub(crate) type End<A> = for<'a> fn(&'a dyn Endpoint, A, &'a Job) -> Later<'a, Measured>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// In JSON.
    pub(crate) key: &'static str,
    /// In the table.
    pub(crate) title: &'static str,
}
