//! Blocks that packets are written into and sent from.
//!
//! Owns a bounded number of equally large blocks on a free list. A [`Slot`] is one block on loan; dropping it
//! puts the block back, wherever the drop happens, so no exit path can leak one. Single-threaded on purpose:
//! a pool belongs to one shard. Refuses to know what the bytes mean.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::{Deref, DerefMut};
use std::rc::Rc;

/// How large a pool is and may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Bytes per block. The default of 64 KiB holds the largest batch that one `sendmsg` with GSO takes.
    pub block_bytes: usize,
    /// Blocks made at construction.
    pub initial: usize,
    /// Blocks that may ever exist; beyond it `take` refuses.
    pub max: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { block_bytes: 65_536, initial: 64, max: 1024 }
    }
}

/// Counters of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Blocks that exist, on loan or free.
    pub allocated: usize,
    /// Blocks waiting on the free list.
    pub free: usize,
    /// How often `take` found nothing although the pool was at its limit.
    pub exhausted: u64,
}

/// A handle on the pool; clones share the blocks.
#[derive(Clone)]
pub struct Pool {
    shelf: Rc<Shelf>,
}

impl Pool {
    /// Makes `initial` blocks, but never more than `max`.
    #[must_use]
    pub fn new(config: PoolConfig) -> Self {
        let shelf = Rc::new(Shelf {
            config,
            free: RefCell::new(Vec::new()),
            allocated: Cell::new(0),
            exhausted: Cell::new(0),
        });
        let initial: Vec<_> = (0..config.initial).map_while(|_| shelf.grow()).collect();
        shelf.free.borrow_mut().extend(initial);
        Self { shelf }
    }

    /// A block with whatever bytes its last user left in it, or `None` when all `max` are on loan.
    #[must_use]
    pub fn take(&self) -> Option<Slot> {
        let free = self.shelf.free.borrow_mut().pop();
        let block = match free {
            Some(block) => block,
            None => self.shelf.grow_or_count()?,
        };
        Some(Slot { block, shelf: Rc::clone(&self.shelf) })
    }

    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.shelf.config.block_bytes
    }

    #[must_use]
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            allocated: self.shelf.allocated.get(),
            free: self.shelf.free.borrow().len(),
            exhausted: self.shelf.exhausted.get(),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({:?})", self.stats())
    }
}

/// One block on loan. Goes back to its pool on drop, even if every [`Pool`] handle is gone by then.
pub struct Slot {
    block: Box<[u8]>,
    shelf: Rc<Shelf>,
}

impl Deref for Slot {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.block
    }
}

impl DerefMut for Slot {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.block
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shelf.free.borrow_mut().push(core::mem::take(&mut self.block));
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} bytes)", self.block.len())
    }
}

struct Shelf {
    config: PoolConfig,
    free: RefCell<Vec<Box<[u8]>>>,
    allocated: Cell<usize>,
    exhausted: Cell<u64>,
}

impl Shelf {
    #[inline(never)] // keeps the allocator out of `take`, which a steady transfer runs once per batch
    fn grow_or_count(&self) -> Option<Box<[u8]>> {
        let block = self.grow();
        if block.is_none() {
            self.exhausted.set(self.exhausted.get() + 1);
        }
        block
    }

    fn grow(&self) -> Option<Box<[u8]>> {
        let allocated = self.allocated.get();
        if allocated >= self.config.max {
            return None;
        }
        self.allocated.set(allocated + 1);
        // Room for every block that exists, so that a drop never allocates.
        let mut free = self.free.borrow_mut();
        let room = allocated + 1 - free.len();
        free.reserve(room);
        Some(vec![0; self.config.block_bytes].into_boxed_slice())
    }
}

#[cfg(test)]
mod tests;
