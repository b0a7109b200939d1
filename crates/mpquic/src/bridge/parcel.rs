//! Bytes on their way from a handle to its connection: copied ones in a buffer that is used again and again, chunks where
//! they lie.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Smaller chunks are copied: to keep them is more work than that.
const CHUNK_MIN: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Parcel {
    copied: BytesMut,
    /// Each with the number of bytes that were copied in before it.
    chunks: VecDeque<(usize, Bytes)>,
    /// How many copied bytes came in, and went.
    written: usize,
    read: usize,
    len: usize,
}

impl Parcel {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn write(&mut self, data: &[u8]) {
        self.copied.extend_from_slice(data);
        self.written += data.len();
        self.len += data.len();
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        if chunk.len() < CHUNK_MIN {
            return self.write(&chunk);
        }
        self.len += chunk.len();
        self.chunks.push_back((self.written, chunk));
    }

    /// The next bytes in one piece; empty only if there are none.
    pub(crate) fn front(&self) -> &[u8] {
        match self.chunks.front() {
            Some((at, chunk)) if *at == self.read => chunk,
            Some((at, _)) => &self.copied[..at - self.read],
            None => &self.copied,
        }
    }

    /// Takes `n` bytes off [`Parcel::front`].
    pub(crate) fn advance(&mut self, n: usize) {
        self.len -= n;
        match self.chunks.front_mut() {
            Some((at, chunk)) if *at == self.read => {
                chunk.advance(n);
                if chunk.is_empty() {
                    self.chunks.pop_front();
                }
            }
            _ => {
                self.copied.advance(n);
                self.read += n;
            }
        }
        if self.is_empty() {
            renew(&mut self.copied);
            (self.written, self.read) = (0, 0);
        }
    }
}

/// Makes all of a buffer's allocation free for what comes next, unless somebody still holds a part of it.
pub(crate) fn renew(buffer: &mut BytesMut) {
    buffer.clear();
    // One byte more than is left behind the point that reading came to: all that lies before it.
    let _renewed = buffer.try_reclaim(buffer.capacity() + 1);
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_MIN, Parcel};
    use bytes::Bytes;

    #[test]
    fn copies_and_chunks_come_out_in_the_order_in_which_they_came() {
        let (mut parcel, mut expected) = (Parcel::default(), Vec::new());
        for round in 0..20_u8 {
            for (i, len) in [3, CHUNK_MIN, 2000, CHUNK_MIN - 1, 0, 700].into_iter().enumerate() {
                let data = vec![round.wrapping_mul(7).wrapping_add(u8::try_from(i).unwrap()); len];
                expected.extend_from_slice(&data);
                if (usize::from(round) + i) % 2 == 0 {
                    parcel.write(&data);
                } else {
                    parcel.push(Bytes::from(data));
                }
            }
            assert_eq!(parcel.len(), expected.len());
            // Some of it, in uneven pieces; all of it now and then.
            while !parcel.is_empty() && (round % 5 == 4 || parcel.len() > 1500) {
                let n = parcel.front().len().min(411);
                assert!(n > 0, "bytes that are there are shown");
                assert_eq!(parcel.front()[..n], expected[..n]);
                expected.drain(..n);
                parcel.advance(n);
            }
        }
        assert!(parcel.is_empty() && expected.is_empty());
    }

    #[test]
    fn a_buffer_that_was_read_to_its_end_is_used_again_in_full() {
        let mut parcel = Parcel::default();
        for _ in 0..1000 {
            parcel.write(&[7; 6000]);
            parcel.write(&[7; 6000]);
            while !parcel.is_empty() {
                parcel.advance(parcel.front().len().min(5000));
            }
        }
        assert!(parcel.copied.capacity() < 20_000, "{}", parcel.copied.capacity());
    }

    #[test]
    fn an_unused_parcel_holds_no_memory() {
        let parcel = Parcel::default();
        assert_eq!((parcel.copied.capacity(), parcel.chunks.capacity()), (0, 0));
        assert!(parcel.front().is_empty());
    }
}
