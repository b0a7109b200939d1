//! The wheel's entries in one slab, and FIFO lists that run through it by index.
//!
//! Owns memory and order, nothing else: when an entry is due is the wheel's business.

use crate::packet::Lane;

/// The end of every list, and of the list of free places.
const NIL: u32 = u32::MAX;

pub(super) struct Entries<T> {
    slab: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

struct Entry<T> {
    tick: u64,
    next: u32,
    lane: Lane,
    /// `None` marks a free place.
    value: Option<T>,
}

impl<T> Entries<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { slab: Vec::with_capacity(capacity), free: NIL, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    pub(super) fn add(&mut self, tick: u64, lane: Lane, value: T) -> u32 {
        self.len += 1;
        let entry = Entry { tick, next: NIL, lane, value: Some(value) };
        if self.free != NIL {
            let index = self.free;
            let place = &mut self.slab[index as usize];
            self.free = place.next;
            *place = entry;
            return index;
        }
        let index = u32::try_from(self.slab.len()).ok().filter(|i| *i != NIL);
        let index = index.expect("fewer than 2^32 packets wait: memory ends long before");
        self.slab.push(entry);
        index
    }

    /// Takes the value out and frees its place. The caller has unlinked it.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.slab[index as usize];
        let value = entry.value.take()?;
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        Some(value)
    }

    pub(super) fn tick(&self, index: u32) -> u64 {
        self.slab[index as usize].tick
    }

    pub(super) fn lane(&self, index: u32) -> Lane {
        self.slab[index as usize].lane
    }

    pub(super) fn value(&self, index: u32) -> Option<&T> {
        self.slab[index as usize].value.as_ref()
    }

    /// The entry that follows in the same list.
    pub(super) fn after(&self, index: u32) -> Option<u32> {
        some(self.slab[index as usize].next)
    }
}

/// A queue of entries: new ones at the tail, out from the head.
#[derive(Clone, Copy)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL };

    pub(super) fn first(&self) -> Option<u32> {
        some(self.head)
    }

    pub(super) fn push<T>(&mut self, entries: &mut Entries<T>, index: u32) {
        entries.slab[index as usize].next = NIL;
        match some(self.tail) {
            Some(tail) => entries.slab[tail as usize].next = index,
            None => self.head = index,
        }
        self.tail = index;
    }

    pub(super) fn pop<T>(&mut self, entries: &mut Entries<T>) -> Option<T> {
        let head = self.first()?;
        match entries.after(head) {
            Some(next) => self.head = next,
            None => *self = Self::EMPTY,
        }
        entries.remove(head)
    }
}

fn some(index: u32) -> Option<u32> {
    (index != NIL).then_some(index)
}
