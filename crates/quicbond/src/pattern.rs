//! Data that follows from a seed and can be made from any place on, without a copy of most of it.
//!
//! Random pieces, each beginning with its number: a piece that is missing, doubled or misplaced changes the hash.

use mpquic_base::Rng;

/// Bytes per piece: large enough to be cheap, small enough to stay in the cache.
pub(crate) const PIECE: usize = 64 * 1024;
/// What the number at a piece's beginning takes.
pub(crate) const HEAD: usize = 8;
/// The data repeats after this many pieces, but for the numbers.
const PIECES_IN_BLOCK: u64 = 16;

#[derive(Debug)]
pub(crate) struct Pattern {
    block: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        let mut block = vec![0; PIECE * PIECES_IN_BLOCK as usize];
        Rng::from_number(seed).fill(&mut block);
        Self { block }
    }

    /// Piece `number` in its two parts, which follow one another.
    pub(crate) fn piece(&self, number: u64) -> ([u8; HEAD], &[u8]) {
        let start = (number % PIECES_IN_BLOCK) as usize * PIECE;
        let mut head = number.to_le_bytes();
        for (byte, random) in head.iter_mut().zip(&self.block[start..]) {
            *byte ^= random;
        }
        (head, &self.block[start + HEAD..start + PIECE])
    }

    /// The first `bytes` of the data, piece by piece, as long as `emit` takes them.
    pub(crate) fn pieces<E>(
        &self,
        bytes: u64,
        mut emit: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = bytes;
        for number in 0.. {
            if left == 0 {
                break;
            }
            let (head, tail) = self.piece(number);
            let mut piece = [&head, tail].concat();
            piece.truncate(usize::try_from(left).unwrap_or(PIECE).min(PIECE));
            left -= piece.len() as u64;
            emit(piece)?;
        }
        Ok(())
    }
}
