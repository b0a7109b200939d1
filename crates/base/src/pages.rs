//! A window of bytes addressed by absolute offset, kept in fixed pages.
//!
//! Streams write into it at one end and release it at the other; holes are allowed, so data that arrives out
//! of order is laid down where it belongs and never moved. Pages come from a [`PageStore`] and return to it, so
//! a steady transfer allocates nothing. The window does not know which bytes were written: its owner does.

use crate::cache::prefetch;
use core::ops::Range;
use std::collections::VecDeque;

/// Large enough that most packets' bytes lie in one page, from where they can be sealed.
pub const PAGE: usize = 16 * 1024;
const PAGE_U64: u64 = PAGE as u64;

type Page = Box<[u8; PAGE]>;

/// Spare pages of one owner of windows: at most as many as are in use, so that a window that breathes takes back what
/// it gave, or a small number when it rests.
pub struct PageStore {
    spare: Vec<Page>,
    used: usize,
    spare_min: usize,
    /// Bytes copied into pages of this store.
    copied: u64,
}

impl Default for PageStore {
    fn default() -> Self {
        Self::keeping(Self::SPARE_MIN)
    }
}

impl PageStore {
    /// Pages that may wait for reuse whatever is in use; more than the larger of both go back to the allocator. Transfers
    /// whose windows empty in one go and fill up again need no others up to 4 MiB, the window that a stream begins with.
    const SPARE_MIN: usize = 4 * 1024 * 1024 / PAGE;
    /// What is left of it when the owner rests.
    const RESTING: usize = 512 * 1024 / PAGE;

    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another number of pages that may wait for reuse whatever is in use.
    #[must_use]
    pub const fn keeping(spare_min: usize) -> Self {
        Self { spare: Vec::new(), used: 0, spare_min, copied: 0 }
    }

    /// Something came to its end here: keeps only what is needed soon if all is quiet now.
    pub fn rest(&mut self) {
        self.spare.truncate(self.used.max(Self::RESTING));
    }

    /// Bytes that were copied into pages of this store so far.
    #[must_use]
    pub const fn copied(&self) -> u64 {
        self.copied
    }

    /// Pages that wait for reuse.
    #[must_use]
    pub const fn spares(&self) -> usize {
        self.spare.len()
    }

    /// Up to `pages` spare ones go to another store, the ones used last first.
    pub fn lend(&mut self, to: &mut Self, pages: usize) {
        let from = self.spare.len().saturating_sub(pages);
        to.spare.extend(self.spare.drain(from..));
    }

    /// Keeps no more than so many spare pages.
    pub fn trim(&mut self, pages: usize) {
        self.spare.truncate(pages);
    }

    /// A page in use goes to another store, for a spare one of that store if it has any.
    fn hand_over(&mut self, to: &mut Self) {
        self.used = self.used.saturating_sub(1);
        to.used += 1;
        self.spare.extend(to.spare.pop());
    }

    fn take(&mut self) -> Page {
        self.used += 1;
        self.spare.pop().unwrap_or_else(fresh)
    }

    fn put(&mut self, page: Page) {
        self.used = self.used.saturating_sub(1);
        let keep = self.used.max(self.spare_min);
        if self.spare.len() < keep {
            self.spare.push(page);
        } else {
            // What was kept for more pages than are in use now goes as well, a little at a time.
            self.spare.truncate(keep.max(self.spare.len() - 1));
        }
    }

    /// Gives back every spare page: nobody is going to need one soon.
    pub fn shrink(&mut self) {
        self.spare = Vec::new();
    }
}

#[inline(never)] // the cold path: a steady transfer reuses pages
fn fresh() -> Page {
    Box::new([0; PAGE])
}

impl core::fmt::Debug for PageStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PageStore({} spare)", self.spare.len())
    }
}

/// The window itself. `first` is the number of the page that `pages[0]` holds.
#[derive(Default)]
pub struct Pages {
    first: u64,
    pages: VecDeque<Option<Page>>,
}

impl core::fmt::Debug for Pages {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Pages(from {}, {} pages)", self.first * PAGE_U64, self.pages.len())
    }
}

impl Pages {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies `data` to `offset`. Bytes below what was released are ignored.
    pub fn write(&mut self, store: &mut PageStore, offset: u64, data: &[u8]) {
        let released = self.first * PAGE_U64;
        let skip = usize::try_from(released.saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        let (mut at, mut rest) = (offset + skip as u64, &data[skip..]);
        store.copied += rest.len() as u64;
        while !rest.is_empty() {
            let within = within(at);
            let n = rest.len().min(PAGE - within);
            let page = self.page(store, at);
            page[within..within + n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            at += n as u64;
        }
    }

    fn page(&mut self, store: &mut PageStore, offset: u64) -> &mut [u8; PAGE] {
        self.place(offset).get_or_insert_with(|| store.take())
    }

    fn place(&mut self, offset: u64) -> &mut Option<Page> {
        let index = usize::try_from(offset / PAGE_U64 - self.first).expect("a window fits into memory");
        while self.pages.len() <= index {
            self.pages.push_back(None);
        }
        &mut self.pages[index]
    }

    /// Moves the bytes of `range` over from another window with the same offsets; to be released there afterwards. Pages that
    /// `range` reaches the end of change hands; the bytes of others, one at each end as a rule, are copied.
    pub fn adopt(
        &mut self,
        store: &mut PageStore,
        from: &mut Self,
        from_store: &mut PageStore,
        range: Range<u64>,
    ) {
        let mut at = range.start.max(self.first * PAGE_U64);
        while at < range.end {
            let page_end = (at / PAGE_U64 + 1) * PAGE_U64;
            let whole = page_end <= range.end && self.chunk(at).is_empty();
            if let Some(page) = whole.then(|| from.take_page(at)).flatten() {
                *self.place(at) = Some(page);
                from_store.hand_over(store);
            } else {
                let chunk = from.chunk(at);
                let n = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(chunk.len());
                self.write(store, at, &chunk[..n]);
            }
            at = page_end;
        }
    }

    fn take_page(&mut self, offset: u64) -> Option<Page> {
        let index = usize::try_from((offset / PAGE_U64).checked_sub(self.first)?).ok()?;
        self.pages.get_mut(index)?.take()
    }

    /// The bytes from `offset` to the end of its page; empty where nothing was written or all was released.
    #[must_use]
    pub fn chunk(&self, offset: u64) -> &[u8] {
        let Some(index) = (offset / PAGE_U64).checked_sub(self.first) else { return &[] };
        let page = usize::try_from(index).ok().and_then(|i| self.pages.get(i)).and_then(Option::as_ref);
        page.map_or(&[], |p| &p[within(offset)..])
    }

    /// Copies `out.len()` bytes from `offset`; the caller knows that they were written. What is copied next is on its way into
    /// the cache meanwhile.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        let (mut at, mut rest) = (offset, out);
        loop {
            let chunk = self.chunk(at);
            let n = chunk.len().min(rest.len());
            let (head, tail) = rest.split_at_mut(n);
            at += n as u64;
            if tail.is_empty() {
                return head.copy_from_slice(&chunk[..n]);
            }
            assert!(n > 0, "read of bytes that were never written");
            prefetch(first(self.chunk(at), tail.len()));
            head.copy_from_slice(&chunk[..n]);
            rest = tail;
        }
    }

    /// How many of the `len` bytes from `offset` lie behind each other in the last page.
    #[must_use]
    pub const fn in_last_page(offset: u64, len: usize) -> usize {
        let within = within(offset);
        if within + len <= PAGE { len } else { (within + len - 1) % PAGE + 1 }
    }

    /// The `len` bytes from `offset`, a page at most, will be read soon: has them brought into the cache.
    pub fn expect(&self, offset: u64, len: usize) {
        let chunk = first(self.chunk(offset), len);
        prefetch(chunk);
        prefetch(first(self.chunk(offset + chunk.len() as u64), len - chunk.len()));
    }

    /// Gives back every page that lies wholly below `offset`.
    pub fn release(&mut self, store: &mut PageStore, offset: u64) {
        let floor = offset / PAGE_U64;
        while self.first < floor {
            match self.pages.pop_front() {
                Some(page) => page.into_iter().for_each(|p| store.put(p)),
                None => {
                    self.first = floor;
                    return;
                }
            }
            self.first += 1;
        }
    }

    /// Gives back every page that lies wholly at or above `end`.
    pub fn truncate(&mut self, store: &mut PageStore, end: u64) {
        let keep = usize::try_from(end.div_ceil(PAGE_U64).saturating_sub(self.first)).unwrap_or(usize::MAX);
        while self.pages.len() > keep {
            self.pages.pop_back().flatten().into_iter().for_each(|page| store.put(page));
        }
    }

    /// Gives back everything.
    pub fn clear(&mut self, store: &mut PageStore) {
        self.pages.drain(..).flatten().for_each(|p| store.put(p));
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pages.iter().flatten().count() * PAGE
    }
}

/// At most `len` bytes from the front.
fn first(bytes: &[u8], len: usize) -> &[u8] {
    &bytes[..bytes.len().min(len)]
}

#[allow(clippy::cast_possible_truncation, reason = "the remainder is below PAGE")]
const fn within(offset: u64) -> usize {
    (offset % PAGE_U64) as usize
}

#[cfg(test)]
mod tests {
    use super::{PAGE, PageStore, Pages};

    #[test]
    fn what_is_cut_off_the_end_returns_and_the_rest_stays() {
        let mut store = PageStore::new();
        let mut pages = Pages::new();
        pages.write(&mut store, 0, &[1; 5 * PAGE]);
        pages.release(&mut store, PAGE as u64);
        pages.truncate(&mut store, 2 * PAGE as u64 + 1);
        assert_eq!((pages.held(), pages.chunk(2 * PAGE as u64).len()), (2 * PAGE, PAGE));
        pages.truncate(&mut store, 2 * PAGE as u64);
        assert_eq!(pages.held(), PAGE);
        pages.truncate(&mut store, 0);
        assert_eq!(pages.held(), 0);
        pages.write(&mut store, PAGE as u64, &[2; 10]);
        assert_eq!(pages.chunk(PAGE as u64)[..10], [2; 10]);
    }

    #[test]
    fn the_end_of_a_range_begins_where_its_last_page_does() {
        for (offset, len, last) in [(0, 0, 0), (0, 7, 7), (0, PAGE, PAGE), (1, PAGE, 1), (PAGE - 1, 2, 1)] {
            assert_eq!(Pages::in_last_page(offset as u64, len), last, "{offset} {len}");
        }
        assert_eq!(Pages::in_last_page(3 * PAGE as u64 - 10, PAGE + 10), PAGE);
        assert_eq!(Pages::in_last_page(3 * PAGE as u64 - 10, PAGE + 11), 1);
    }

    #[test]
    fn bytes_written_out_of_order_read_back_and_pages_return() {
        let mut store = PageStore::new();
        let mut pages = Pages::new();
        let data: Vec<u8> = (0..3 * PAGE + 100).map(|i| (i % 251) as u8).collect();
        pages.write(&mut store, 2000, &data[2000..]);
        pages.write(&mut store, 0, &data[..2000]);
        let mut out = vec![0; data.len() - 7];
        pages.read(7, &mut out);
        assert_eq!(out, data[7..]);
        pages.release(&mut store, 2 * PAGE as u64 + 1);
        assert_eq!(pages.held(), 2 * PAGE);
        assert!(pages.chunk(5).is_empty());
        pages.write(&mut store, 0, &data[..50]);
        assert_eq!(pages.held(), 2 * PAGE, "released bytes stay released");
        pages.clear(&mut store);
        assert_eq!(store.spare.len(), 4);
    }

    #[test]
    fn bytes_move_from_window_to_window_and_whole_pages_without_a_copy() {
        let data: Vec<u8> = (0..20 * PAGE).map(|i| (i % 251) as u8).collect();
        let [mut stores, mut others] = [PageStore::keeping(64), PageStore::keeping(64)];
        let (mut from, mut to) = (Pages::new(), Pages::new());
        let mut rng = crate::Rng::from_number(7);
        let (mut written, mut moved, mut read, mut changed_hands) = (0, 0, 0, 0);
        while read < data.len() {
            let n = usize::try_from(rng.below(3 * PAGE as u64)).unwrap().min(data.len() - written);
            from.write(&mut stores, written as u64, &data[written..written + n]);
            written += n;
            let n = usize::try_from(rng.below((written - moved + 1) as u64)).unwrap();
            let whole = (moved + n) / PAGE - moved.div_ceil(PAGE).min((moved + n) / PAGE);
            let page = (whole > 0).then(|| from.chunk(moved.next_multiple_of(PAGE) as u64).as_ptr());
            let at = moved as u64;
            to.adopt(&mut others, &mut from, &mut stores, at..at + n as u64);
            from.release(&mut stores, at + n as u64);
            if let Some(page) = page {
                assert_eq!(to.chunk(moved.next_multiple_of(PAGE) as u64).as_ptr(), page);
                changed_hands += whole;
            }
            moved += n;
            let mut out = vec![0; usize::try_from(rng.below((moved - read + 1) as u64)).unwrap()];
            to.read(read as u64, &mut out);
            assert_eq!(out, data[read..read + out.len()]);
            read += out.len();
            to.release(&mut others, read as u64);
        }
        assert!(changed_hands > 5, "{changed_hands}");
        from.clear(&mut stores);
        to.clear(&mut others);
        assert_eq!((stores.used, others.used), (0, 0));
    }

    #[test]
    fn a_large_window_that_breathes_takes_back_its_pages_and_a_resting_one_keeps_few() {
        let (mut store, mut pages) = (PageStore::new(), Pages::new());
        let large = 4 * PageStore::SPARE_MIN;
        let data = vec![7; large * PAGE];
        pages.write(&mut store, 0, &data);
        let half = (large / 2 * PAGE) as u64;
        pages.release(&mut store, half);
        assert_eq!(store.spare.len(), large / 2, "as many as are in use");
        pages.write(&mut store, (large * PAGE) as u64, &data[..half as usize]);
        assert!(store.spare.is_empty(), "reused, not allocated");
        pages.clear(&mut store);
        assert!(store.spare.len() <= large / 2, "{} pages wait", store.spare.len());
        assert_eq!(store.used, 0);
        store.rest();
        assert_eq!(store.spare.len(), PageStore::RESTING);
    }
}
