//! The tests. Each is two functions, one for each end, and the figures that they yield.

mod bulk;
mod handshakes;
mod latency;
mod memory;
mod streams;
mod transfer;

use crate::Options;
use crate::role::Job;
use crate::stack::{Endpoint, Later};
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(crate) const BULK: &[&Test] = &[&bulk::UP, &bulk::DOWN];
pub(crate) const STREAMS: &[&Test] = &[&streams::UP, &streams::DOWN];
pub(crate) const LATENCY: &[&Test] = &[&latency::ECHO];
pub(crate) const HANDSHAKES: &[&Test] = &[&handshakes::FULL];
pub(crate) const MEMORY: &[&Test] = &[&memory::IDLE];

/// Every test there is.
pub(crate) fn all() -> impl Iterator<Item = &'static Test> {
    [BULK, STREAMS, LATENCY, HANDSHAKES, MEMORY].into_iter().flatten().copied()
}

/// For the role to find its own.
pub(crate) fn find(name: &str) -> Option<&'static Test> {
    all().find(|test| test.name == name)
}

/// What one end of one round measured, by the keys of [`Test::figures`].
pub(crate) type Measured = BTreeMap<String, f64>;

#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The columns of the table, the one that the stacks are compared by first.
    pub(crate) figures: &'static [Figure],
    /// How much of what it counts (bytes, round trips, connections) one round does.
    pub(crate) amount: fn(&Options) -> u64,
    /// A stack that fails is tried once more with this part of the amount.
    pub(crate) second_try: Option<u64>,
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
    pub(crate) better: Better,
    /// Behind the point, in the table.
    pub(crate) digits: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
    /// Says under which circumstances the others were measured.
    Neither,
}

/// What one end says at the end of its part.
fn measured<const N: usize>(figures: [(&str, f64); N]) -> Measured {
    figures.map(|(key, value)| (key.to_owned(), value)).into()
}

#[cfg(test)]
#[test]
fn every_test_has_a_name_of_its_own() {
    let mut names: Vec<&str> = all().map(|test| test.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().count());
    assert!(names.iter().all(|name| find(name).is_some_and(|test| test.name == *name)));
}
