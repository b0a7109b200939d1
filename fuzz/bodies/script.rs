//! The input of a target that plays: steps, and what they need to know.

/// Bytes that one step may invent.
const PIECE_MAX: usize = 1400;

/// What is left of the input.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte().unwrap_or(0)) % n
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from(self.byte().unwrap_or(0)) << 8 | u64::from(self.byte().unwrap_or(0))
    }

    /// A length in two bytes and as many bytes as are there of it.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let len = usize::try_from(self.number()).unwrap_or(0).min(PIECE_MAX).min(self.0.len());
        let (piece, rest) = self.0.split_at(len);
        self.0 = rest;
        piece
    }
}

/// Cuts a datagram short. The stand-in for TLS encrypts nothing, so a reset token that was inside must not end up at the end,
/// where it would count.
pub(crate) fn cut(bytes: &mut Vec<u8>, at: usize) {
    bytes.truncate(at);
    if let Some(last) = bytes.last_mut() {
        *last ^= 0x80;
    }
}
