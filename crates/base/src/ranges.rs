//! Sorted, disjoint ranges of integers: acknowledged packets, received bytes.

use core::ops::Range;
use std::collections::VecDeque;

/// Half-open ranges in ascending order; touching ranges are merged.
///
/// Appending to the last range and cutting from the front are O(1), everything else is a binary search
/// plus a move. The container does not bound itself: its owner checks [`RangeSet::len`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: VecDeque<Range<u64>>,
}

impl RangeSet {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub const fn empty() -> Self {
        Self { ranges: VecDeque::new() }
    }

    /// The first range that ends above `value`: it holds `value` or is the next one after it.
    #[must_use]
    pub fn first_touching(&self, value: u64) -> Option<Range<u64>> {
        self.ranges.get(self.at(value)).cloned()
    }

    /// How many disjoint ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + '_ {
        self.ranges.iter().cloned()
    }

    #[must_use]
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.front().cloned()
    }

    #[must_use]
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.back().cloned()
    }

    /// The largest value held.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.ranges.back().map(|r| r.end - 1)
    }

    #[must_use]
    pub fn contains(&self, value: u64) -> bool {
        self.ranges.get(self.at(value)).is_some_and(|r| r.contains(&value))
    }

    /// The parts of `range` that are held, in ascending order.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let Range { start, end } = range;
        let held = self.ranges.range(self.at(start)..).take_while(move |r| r.start < end);
        held.map(move |r| r.start.max(start)..r.end.min(end)).filter(|r| !r.is_empty())
    }

    /// Adds `range` and returns how many values were not there before.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        if let Some(last) = self.ranges.back_mut()
            && range.start == last.end
        {
            last.end = range.end;
            return range.end - range.start;
        }
        if self.ranges.back().is_none_or(|last| range.start > last.end) {
            let added = range.end - range.start;
            self.ranges.push_back(range);
            return added;
        }
        // `from..to` are the ranges that overlap or touch the new one and melt into it.
        let from = self.ranges.partition_point(|r| r.end < range.start);
        let to = from + self.ranges.range(from..).take_while(|r| r.start <= range.end).count();
        if from == to {
            let added = range.end - range.start;
            self.ranges.insert(from, range);
            return added;
        }
        let held: u64 = self
            .ranges
            .range(from..to)
            .map(|r| r.end.min(range.end).saturating_sub(r.start.max(range.start)))
            .sum();
        let added = range.end - range.start - held;
        let merged = self.ranges[from].start.min(range.start)..self.ranges[to - 1].end.max(range.end);
        self.ranges[from] = merged;
        self.ranges.drain(from + 1..to);
        added
    }

    /// Removes every value of `range`.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut i = self.at(range.start);
        while let Some(r) = self.ranges.get_mut(i) {
            if r.start >= range.end {
                return;
            }
            if r.start < range.start && r.end > range.end {
                let tail = range.end..r.end;
                r.end = range.start;
                self.ranges.insert(i + 1, tail);
                return;
            }
            if r.start < range.start {
                r.end = range.start;
                i += 1;
            } else if r.end > range.end {
                r.start = range.end;
                return;
            } else {
                self.ranges.remove(i);
            }
        }
    }

    /// Removes and returns the range with the smallest values.
    pub fn pop_first(&mut self) -> Option<Range<u64>> {
        self.ranges.pop_front()
    }

    /// Removes every value below `floor`.
    pub fn remove_below(&mut self, floor: u64) {
        while let Some(first) = self.ranges.front_mut() {
            if first.end <= floor {
                self.ranges.pop_front();
            } else {
                first.start = first.start.max(floor);
                return;
            }
        }
    }

    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Gives back the memory that is not in use.
    pub fn shrink(&mut self) {
        self.ranges.shrink_to_fit();
    }

    /// Index of the first range that ends above `value`.
    fn at(&self, value: u64) -> usize {
        self.ranges.partition_point(|r| r.end <= value)
    }
}

#[cfg(test)]
mod tests;
