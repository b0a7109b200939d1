//! Which of the numbers below the next one were delivered.
//!
//! A ring of bits that starts small and doubles when packets come later than half of it, so that a flow without
//! reordering costs 64 bytes. Packets older than the longest ring count as not delivered: handing an IP packet over
//! twice does little harm, dropping all that a slow link carries does.

/// 512 numbers at first.
const WORDS_MIN: usize = 8;
/// 16,384 numbers: 300 ms of full-sized packets at 500 Mbit/s.
const WORDS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct History {
    words: Box<[u64]>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { words: vec![0; WORDS_MIN].into_boxed_slice() }
    }

    /// How many numbers below the next one are remembered.
    fn len(&self) -> u32 {
        u32::try_from(self.words.len() * 64).unwrap_or(u32::MAX)
    }

    /// The next number went from `from` to `from + count`; none of these were delivered yet.
    pub(super) fn advance(&mut self, from: u32, count: u32) {
        if count >= self.len() {
            self.words.fill(0);
            return;
        }
        let (mut from, mut rest) = (from, count);
        while rest > 0 {
            let n = (64 - from % 64).min(rest);
            let (word, lowest) = self.place(from);
            let ones = u64::MAX >> (64 - n);
            self.words[word] &= !(ones * lowest);
            from = from.wrapping_add(n);
            rest -= n;
        }
    }

    /// Notes `number`, which lies below the next one.
    pub(super) fn delivered(&mut self, number: u32) {
        let (word, bit) = self.place(number);
        self.words[word] |= bit;
    }

    /// Notes a late packet, `behind` numbers below `next`. False if it was delivered before.
    pub(super) fn is_first(&mut self, number: u32, next: u32, behind: u32) -> bool {
        if behind > self.len() / 2 && self.words.len() < WORDS_MAX {
            self.grow(next, behind);
        }
        if behind > self.len() {
            return true;
        }
        let (word, bit) = self.place(number);
        let first = self.words[word] & bit == 0;
        self.words[word] |= bit;
        first
    }

    fn grow(&mut self, next: u32, behind: u32) {
        let mut words = self.words.len();
        while words < WORDS_MAX && words * 32 < usize::try_from(behind).unwrap_or(usize::MAX) {
            words *= 2;
        }
        let mut grown = Self { words: vec![0; words].into_boxed_slice() };
        for back in 1..=self.len() {
            let number = next.wrapping_sub(back);
            let (word, bit) = self.place(number);
            if self.words[word] & bit != 0 {
                grown.delivered(number);
            }
        }
        *self = grown;
    }

    /// Rings are powers of two, so the place stays right where numbers wrap around.
    fn place(&self, number: u32) -> (usize, u64) {
        let number = usize::try_from(number).unwrap_or(0);
        ((number / 64) & (self.words.len() - 1), 1 << (number % 64))
    }
}

#[cfg(test)]
mod tests;
