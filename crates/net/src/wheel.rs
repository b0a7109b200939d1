//! A hierarchical timing wheel: what paces, and the only thing that waits.
//!
//! ```text
//!            one bucket spans    one level spans
//! level 0    1 us                256 us             a bucket is two FIFO lists: control, then data
//! level 1    256 us              65.5 ms
//! level 2    65.5 ms             16.8 s
//! level 3    16.8 s              71.6 min
//! overflow   everything that is later
//! ```
//!
//! An entry lies on the level of the highest byte in which its tick differs from the wheel's own. So a bucket
//! is emptied into the levels below exactly when the wheel enters its span, before anything can be inserted
//! there directly: order of insertion survives. The wheel jumps from one occupied bucket to the next by bitmap;
//! an idle or stalled one has nothing to catch up with. Refuses to know a clock, and what it holds.

mod list;

use crate::packet::Lane;
use core::fmt;
use list::{Entries, List};
use mpquic_base::Time;

const TICK_NS: u64 = 1000;
const LEVELS: usize = 4;
/// Bits of a tick that one level looks at.
const LEVEL_BITS: usize = 8;
const BUCKETS: usize = 1 << LEVEL_BITS;

/// Entries ordered by tick, then lane, then insertion.
///
/// Times are cut to whole microseconds, so an entry may come out up to 1 us before its time, never later than
/// the first call at or after it.
pub struct Wheel<T> {
    /// The tick that the wheel stands at: no entry is earlier, and it never goes back.
    current: u64,
    entries: Entries<T>,
    buckets: Box<[Bucket]>,
    occupied: [Bitmap; LEVELS],
    overflow: Bucket,
    /// How often an entry was put into a bucket.
    #[cfg(test)]
    filed: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel with room for `capacity` entries; it allocates only to hold more than it ever did.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            current: 0,
            entries: Entries::new(capacity),
            buckets: vec![Bucket::EMPTY; LEVELS * BUCKETS].into_boxed_slice(),
            occupied: [Bitmap::default(); LEVELS],
            overflow: Bucket::EMPTY,
            #[cfg(test)]
            filed: 0,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Files `value` to come out at `at`; a time that has passed means as soon as possible, in FIFO order.
    pub fn insert(&mut self, at: Time, lane: Lane, value: T) {
        let tick = (at.nanos() / TICK_NS).max(self.current);
        let entry = self.entries.add(tick, lane, value);
        self.file(entry);
    }

    /// The first entry whose time has come, if any. Call until `None`.
    pub fn pop_due(&mut self, now: Time) -> Option<T> {
        let now = (now.nanos() / TICK_NS).max(self.current);
        loop {
            let Some((level, index)) = self.first_bucket() else {
                if self.overflow.is_empty() || self.overflow.soonest > now {
                    self.jump(now);
                    return None;
                }
                self.jump(self.overflow.soonest);
                continue;
            };
            let start = self.bucket_start(level, index);
            if start > now {
                // No bucket begins on the way, so every entry still lies on its right level.
                self.current = now;
                return None;
            }
            self.current = start;
            if level == 0 {
                return self.pop(index);
            }
            self.cascade(level, index);
        }
    }

    /// When the first entry is due: exact to the tick.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        let bucket = match self.first_bucket() {
            Some((level, index)) => &self.buckets[level * BUCKETS + index],
            None => &self.overflow,
        };
        (!bucket.is_empty()).then(|| Time::from_nanos(bucket.soonest * TICK_NS))
    }

    /// Moves every entry that `matches` to `out`. The work is in proportion to what the wheel holds.
    pub fn cancel(&mut self, mut matches: impl FnMut(&T) -> bool, out: &mut Vec<T>) {
        for level in 0..LEVELS {
            for index in self.occupied[level].iter() {
                let bucket = &mut self.buckets[level * BUCKETS + index];
                bucket.cancel(&mut self.entries, &mut matches, out);
                if bucket.is_empty() {
                    self.occupied[level].clear(index);
                }
            }
        }
        self.overflow.cancel(&mut self.entries, &mut matches, out);
    }

    /// Puts an entry where its tick belongs as seen from the current one.
    fn file(&mut self, entry: u32) {
        #[cfg(test)]
        {
            self.filed += 1;
        }
        let tick = self.entries.tick(entry);
        let differing = u64::BITS - (tick ^ self.current).leading_zeros();
        let level = (differing.saturating_sub(1) as usize) / LEVEL_BITS;
        if level >= LEVELS {
            self.overflow.push(&mut self.entries, entry);
            return;
        }
        let index = digit(tick, level);
        self.buckets[level * BUCKETS + index].push(&mut self.entries, entry);
        self.occupied[level].set(index);
    }

    /// The occupied bucket whose span begins first. Each level lies wholly before the next, and none wraps.
    fn first_bucket(&self) -> Option<(usize, usize)> {
        self.occupied.iter().enumerate().find_map(|(level, bits)| Some((level, bits.first()?)))
    }

    fn bucket_start(&self, level: usize, index: usize) -> u64 {
        let shift = level * LEVEL_BITS;
        let above = self.current >> (shift + LEVEL_BITS) << (shift + LEVEL_BITS);
        above | ((index as u64) << shift)
    }

    fn pop(&mut self, index: usize) -> Option<T> {
        let bucket = &mut self.buckets[index];
        let value = bucket.pop(&mut self.entries);
        if bucket.is_empty() {
            self.occupied[0].clear(index);
        }
        value
    }

    /// Spreads a bucket, whose span the wheel has just entered, over the levels below.
    fn cascade(&mut self, level: usize, index: usize) {
        self.occupied[level].clear(index);
        let bucket = core::mem::replace(&mut self.buckets[level * BUCKETS + index], Bucket::EMPTY);
        self.refile(&bucket);
    }

    /// Moves an empty wheel forward, and takes from the overflow what has come within reach.
    fn jump(&mut self, tick: u64) {
        let span = LEVELS * LEVEL_BITS;
        let same_span = tick >> span == self.current >> span;
        self.current = tick;
        if !same_span {
            let overflow = core::mem::replace(&mut self.overflow, Bucket::EMPTY);
            self.refile(&overflow);
        }
    }

    fn refile(&mut self, bucket: &Bucket) {
        for list in &bucket.lanes {
            let mut rest = list.first();
            while let Some(entry) = rest {
                rest = self.entries.after(entry);
                self.file(entry);
            }
        }
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wheel({} entries, next {:?})", self.len(), self.next())
    }
}

/// The byte of `tick` that `level` looks at.
fn digit(tick: u64, level: usize) -> usize {
    usize::from((tick >> (level * LEVEL_BITS)).to_le_bytes()[0])
}

/// The entries of one span of time.
#[derive(Clone, Copy)]
struct Bucket {
    /// Indexed by [`Lane`].
    lanes: [List; 2],
    /// The earliest tick inside; means nothing while the bucket is empty.
    soonest: u64,
}

impl Bucket {
    const EMPTY: Self = Self { lanes: [List::EMPTY; 2], soonest: u64::MAX };

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|list| list.first().is_none())
    }

    fn push<T>(&mut self, entries: &mut Entries<T>, entry: u32) {
        let tick = entries.tick(entry);
        self.soonest = if self.is_empty() { tick } else { self.soonest.min(tick) };
        self.lanes[entries.lane(entry) as usize].push(entries, entry);
    }

    fn pop<T>(&mut self, entries: &mut Entries<T>) -> Option<T> {
        self.lanes.iter_mut().find_map(|list| list.pop(entries))
    }

    /// Rebuilds the lists from the entries that stay.
    fn cancel<T>(
        &mut self,
        entries: &mut Entries<T>,
        matches: &mut impl FnMut(&T) -> bool,
        out: &mut Vec<T>,
    ) {
        let before = core::mem::replace(self, Self::EMPTY);
        for list in &before.lanes {
            let mut rest = list.first();
            while let Some(entry) = rest {
                rest = entries.after(entry);
                if entries.value(entry).is_some_and(&mut *matches) {
                    out.extend(entries.remove(entry));
                } else {
                    self.push(entries, entry);
                }
            }
        }
    }
}

/// Which of a level's buckets hold anything.
#[derive(Clone, Copy, Default)]
struct Bitmap([u64; BUCKETS / 64]);

impl Bitmap {
    fn set(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn clear(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    fn first(&self) -> Option<usize> {
        let word = self.0.iter().position(|w| *w != 0)?;
        Some(word * 64 + self.0[word].trailing_zeros() as usize)
    }

    /// The set bits at the time of the call, so that the caller may clear them on the way.
    fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self;
        core::iter::from_fn(move || {
            let index = left.first()?;
            left.clear(index);
            Some(index)
        })
    }
}

#[cfg(test)]
mod tests;
