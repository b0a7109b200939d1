//! Failed authentications, counted per source and in total, so that guessing is slow and cheap to refuse.
//!
//! A source is an IPv4 address or an IPv6 /64: what one customer of a provider has at least. Each has a bucket of
//! failures that refills within a minute. The total never locks out a source with a clean record: whoever fills it from
//! many places only slows down those who have failed as well.

use core::time::Duration;
use mpquic_base::Time;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Sources remembered at once; 4096 entries are about 300 kB.
const SOURCES_MAX: usize = 4096;
/// The total, as a multiple of what one source may fail.
const TOTAL_FACTOR: u32 = 32;
const MINUTE: Duration = Duration::from_secs(60);

/// The failures of the last minute.
#[derive(Debug)]
pub(crate) struct Failures {
    per_source: u32,
    sources: BTreeMap<IpAddr, Bucket>,
    total: Bucket,
}

impl Failures {
    /// `per_minute` failures of one source are allowed within a minute.
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_source = per_minute.max(1);
        Self { per_source, sources: BTreeMap::new(), total: Bucket::default() }
    }

    /// Whether `source` has to wait before its next attempt is even looked at.
    pub(crate) fn refuses(&self, source: IpAddr, now: Time) -> bool {
        let Some(bucket) = self.sources.get(&origin(source)) else { return false };
        let is_full = |bucket: &Bucket, limit| bucket.level(limit, now) > f64::from(limit) - 1.0;
        let has_failed = bucket.level(self.per_source, now) > 0.0;
        is_full(bucket, self.per_source) || (has_failed && is_full(&self.total, self.total_limit()))
    }

    pub(crate) fn failed(&mut self, source: IpAddr, now: Time) {
        self.total.add(self.total_limit(), now);
        let source = origin(source);
        if !self.sources.contains_key(&source) && self.sources.len() >= SOURCES_MAX {
            self.make_room(now);
        }
        self.sources.entry(source).or_default().add(self.per_source, now);
    }

    /// Forgets those who have waited long enough, or else the one who has failed least.
    fn make_room(&mut self, now: Time) {
        let limit = self.per_source;
        self.sources.retain(|_, bucket| bucket.level(limit, now) > 0.0);
        if self.sources.len() < SOURCES_MAX {
            return;
        }
        let level = |bucket: &Bucket| bucket.level(limit, now);
        let least = self.sources.iter().min_by(|a, b| level(a.1).total_cmp(&level(b.1)));
        if let Some(source) = least.map(|(source, _)| *source) {
            self.sources.remove(&source);
        }
    }

    fn total_limit(&self) -> u32 {
        self.per_source.saturating_mul(TOTAL_FACTOR)
    }
}

/// A level that failures raise and time lowers.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    level: f64,
    at: Time,
}

impl Bucket {
    /// `limit` failures drain within a minute.
    fn level(self, limit: u32, now: Time) -> f64 {
        let drained = now.since(self.at).as_secs_f64() / MINUTE.as_secs_f64() * f64::from(limit);
        (self.level - drained).max(0.0)
    }

    fn add(&mut self, limit: u32, now: Time) {
        self.level = (self.level(limit, now) + 1.0).min(f64::from(limit));
        self.at = now;
    }
}

/// What counts as one source.
fn origin(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
