//! What the mailboxes of one connection share: spare pages, and how much they may hold, each way.
//!
//! With many streams each box has its moments. Were each to keep its own spare pages, the same bytes would go round through
//! many times as much memory.

use crate::locked;
use core::sync::atomic::{AtomicUsize, Ordering};
use mpquic_base::PageStore;
use mpquic_base::pages::PAGE;
use std::sync::Mutex;

/// Bytes that an outbox holds: whole pages, and a little less than four of the largest batches carry, so that a full one
/// does not leave a few packets for a fifth.
pub(super) const OUTBOX_BYTES: usize = 15 * PAGE;
/// Bytes that an inbox holds: twice as many, since what arrives in one turn of the shard is more. Its reader may hold as many
/// again.
pub(super) const INBOX_BYTES: usize = 2 * OUTBOX_BYTES;

#[derive(Debug)]
pub(crate) struct Depot {
    /// Bytes in all outboxes, and in all inboxes.
    held: AtomicUsize,
    arrived: AtomicUsize,
    spare: Mutex<PageStore>,
}

impl Default for Depot {
    fn default() -> Self {
        Self {
            held: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            spare: Mutex::new(PageStore::keeping(0)),
        }
    }
}

impl Depot {
    /// Bytes of all boxes, each way, beyond which each is held to its minimum.
    pub(super) const TOTAL: usize = 8 * 1024 * 1024;
    /// A box may always hold this much, however full the others are.
    pub(super) const BOX_MIN: usize = 16 * 1024;
    /// Spare pages beyond this go back to the allocator.
    const SPARES_MAX: usize = 4 * 1024 * 1024 / PAGE;

    /// What one outbox may hold now: as much as is left for all, so that boxes that fill up together get equal shares.
    pub(super) fn per_box(&self) -> usize {
        Self::TOTAL.saturating_sub(self.held()).clamp(Self::BOX_MIN, OUTBOX_BYTES)
    }

    /// The same for an inbox.
    pub(super) fn per_inbox(&self) -> usize {
        Self::TOTAL.saturating_sub(self.arrived()).clamp(Self::BOX_MIN, INBOX_BYTES)
    }

    pub(super) fn arrived(&self) -> usize {
        self.arrived.load(Ordering::Relaxed)
    }

    /// An inbox holds so many bytes now.
    pub(super) fn on_inbox(&self, before: usize, now: usize) {
        // Each has a lock of its own, so the sum goes through states that never were, but comes out right.
        self.arrived.fetch_add(now, Ordering::Relaxed);
        self.arrived.fetch_sub(before, Ordering::Relaxed);
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn on_put(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn on_taken(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Hands out spare pages for `bytes` more, as far as there are any.
    pub(super) fn stock(&self, store: &mut PageStore, bytes: usize) {
        let wanted = (bytes / PAGE + 1).saturating_sub(store.spares());
        if wanted > 0 {
            locked(&self.spare).lend(store, wanted);
        }
    }

    /// Takes all spare pages back.
    pub(super) fn restock(&self, store: &mut PageStore) {
        if store.spares() > 0 {
            let mut spare = locked(&self.spare);
            store.lend(&mut spare, usize::MAX);
            spare.trim(Self::SPARES_MAX);
        }
    }

    /// All is quiet: nobody is going to need a page soon.
    pub(super) fn rest(&self) {
        locked(&self.spare).shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::Piece;
    use super::{Depot, OUTBOX_BYTES};
    use crate::locked;
    use mpquic_base::pages::PAGE;
    use std::sync::Arc;

    fn spares(depot: &Depot) -> usize {
        locked(&depot.spare).spares()
    }

    #[test]
    fn a_full_outbox_leaves_in_four_batches_at_usual_packet_sizes() {
        // Of one send, 65,507 bytes at most; header, tag and the frame's head take up to 39 bytes of each packet.
        for packet in [1200, 1252, 1280, 1350, 1372, 1420, 1452, 1464, 1472] {
            let batch = 65_507 / packet * (packet - 39);
            assert!(3 * batch < OUTBOX_BYTES && OUTBOX_BYTES <= 4 * batch, "{packet}: {batch}");
        }
    }

    #[test]
    fn boxes_that_are_busy_one_after_the_other_use_the_same_pages() {
        let depot = Arc::new(Depot::default());
        let mut pieces: Vec<_> = (0..50).map(|_| Piece::new(Arc::clone(&depot))).collect();
        let data = vec![7; 16 * PAGE];
        for piece in &mut pieces {
            piece.write(&data);
            piece.advance(data.len());
            assert_eq!(spares(&depot), 16);
        }
    }

    #[test]
    fn spare_pages_are_bounded_and_go_when_all_is_quiet() {
        let depot = Arc::new(Depot::default());
        let mut piece = Piece::new(Arc::clone(&depot));
        let pages = 2 * Depot::SPARES_MAX;
        piece.write(&vec![7; pages * PAGE]);
        for _ in 0..pages {
            piece.advance(PAGE);
        }
        assert_eq!(spares(&depot), Depot::SPARES_MAX);
        depot.rest();
        assert_eq!(spares(&depot), 0);
    }
}
