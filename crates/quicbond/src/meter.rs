//! Rates out of counters: how much moved between two looks.

use std::collections::BTreeMap;
use std::time::Instant;

/// Bytes, or bytes per second, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moved {
    pub(crate) up: f64,
    pub(crate) down: f64,
}

/// Counters by key as they were last time, and the rates since the time before.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    last: BTreeMap<K, Moved>,
    at: Option<Instant>,
    rates: BTreeMap<K, Moved>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self { last: BTreeMap::new(), at: None, rates: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Rates<K> {
    /// Takes the counters as they are now.
    pub(crate) fn measure(&mut self, counters: Vec<(K, Moved)>) {
        let now = Instant::now();
        let seconds = self.at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        let rate = |key: &K, moved: &Moved| {
            let before = self.last.get(key).copied().unwrap_or_default();
            let per_second =
                |now: f64, before: f64| if seconds > 0.0 { (now - before).max(0.0) / seconds } else { 0.0 };
            Moved { up: per_second(moved.up, before.up), down: per_second(moved.down, before.down) }
        };
        self.rates = counters.iter().map(|(key, moved)| (key.clone(), rate(key, moved))).collect();
        self.last = counters.into_iter().collect();
        self.at = Some(now);
    }

    /// Bytes per second; nothing for a key that is new.
    pub(crate) fn of(&self, key: &K) -> Moved {
        self.rates.get(key).copied().unwrap_or_default()
    }
}
