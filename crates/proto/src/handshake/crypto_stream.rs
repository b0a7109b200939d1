//! The CRYPTO stream of one level: ordered, reliable, small (RFC 9000 §7.5, §19.6).

use crate::error::Violation;
use crate::frames::{Frames, Token};
use mpquic_base::{PageStore, Pages, RangeSet};
use mpquic_wire::{Code, Frame};

/// Bytes beyond what was read that may be buffered; RFC 9000 §7.5 demands at least 4096.
const BUFFER_MAX: u64 = 65_536;
/// A type, an offset and a length that fit any message here.
const FRAME_OVERHEAD: usize = 9;

#[derive(Debug, Default)]
pub(super) struct CryptoStream {
    /// Everything ever sent: a few kilobytes, dropped with the level.
    sent: Vec<u8>,
    next: usize,
    acked: RangeSet,
    again: RangeSet,
    received: Pages,
    store: PageStore,
    have: RangeSet,
    read: u64,
}

impl CryptoStream {
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
    }

    pub(super) fn on_data(&mut self, offset: u64, data: &[u8]) -> Result<(), Violation> {
        let end = offset + data.len() as u64;
        if end > self.read + BUFFER_MAX {
            return Err(Violation::new(Code::CRYPTO_BUFFER_EXCEEDED, "handshake data too far ahead"));
        }
        let fresh = offset.max(self.read);
        if fresh < end {
            let skip = usize::try_from(fresh - offset).unwrap_or(usize::MAX);
            self.received.write(&mut self.store, fresh, &data[skip..]);
            self.have.insert(fresh..end);
        }
        Ok(())
    }

    /// What of `data` comes next, if it need not be kept: almost always all of it, because messages arrive in order.
    pub(super) fn pass<'a>(&mut self, offset: u64, data: &'a [u8]) -> Option<&'a [u8]> {
        let known = self.read.checked_sub(offset).filter(|_| self.have.is_empty())?;
        let fresh = data.get(usize::try_from(known).ok()?..).filter(|fresh| !fresh.is_empty())?;
        self.read += fresh.len() as u64;
        self.received.release(&mut self.store, self.read);
        Some(fresh)
    }

    /// Bytes arrived that were never read.
    pub(super) fn has_more(&self) -> bool {
        !self.have.is_empty()
    }

    /// The next bytes in order.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let ready = self.have.first().filter(|r| r.start == self.read)?;
        let mut chunk = vec![0; usize::try_from(ready.end - ready.start).ok()?];
        self.received.read(self.read, &mut chunk);
        self.read = ready.end;
        self.have.pop_first();
        self.received.release(&mut self.store, self.read);
        Some(chunk)
    }

    /// Bytes kept: for being sent again, and for what has to arrive before them.
    pub(super) fn held(&self) -> usize {
        self.sent.len() + self.received.held()
    }

    /// Gives back the memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.store.shrink();
        self.have.shrink();
        self.again.shrink();
        self.acked.shrink();
    }

    pub(super) fn wants(&self) -> bool {
        !self.again.is_empty() || self.next < self.sent.len()
    }

    pub(super) fn write(&mut self, frames: &mut Frames<'_>) {
        while let Some(range) = self.again.first() {
            let Some(len) = self.write_at(range.start, range.end, frames) else { return };
            self.again.remove(range.start..range.start + len);
        }
        while self.next < self.sent.len() {
            let Some(len) = self.write_at(self.next as u64, self.sent.len() as u64, frames) else { return };
            self.next += usize::try_from(len).unwrap_or(0);
        }
    }

    fn write_at(&self, from: u64, to: u64, frames: &mut Frames<'_>) -> Option<u64> {
        let room = frames.remaining().checked_sub(FRAME_OVERHEAD).filter(|room| *room > 0)?;
        let from_at = usize::try_from(from).ok()?;
        let len = room.min(usize::try_from(to - from).ok()?);
        let token = Token::Crypto { offset: from, len: u16::try_from(len).ok()? };
        let frame = Frame::Crypto { offset: from, data: self.sent.get(from_at..from_at + len)? };
        frames.push(&frame, token).then_some(len as u64)
    }

    pub(super) fn acked(&mut self, offset: u64, len: u16) {
        let range = offset..offset + u64::from(len);
        self.again.remove(range.clone());
        self.acked.insert(range);
    }

    pub(super) fn lost(&mut self, offset: u64, len: u16) {
        self.again.insert(offset..offset + u64::from(len));
        for acked in self.acked.iter().collect::<Vec<_>>() {
            self.again.remove(acked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_MAX, CryptoStream};
    use crate::frames::{Frames, Token};

    fn write(stream: &mut CryptoStream, room: usize) -> Vec<Token> {
        let (mut packet, mut tokens) = (vec![0; room], Vec::new());
        stream.write(&mut Frames::new(&mut packet, &mut tokens));
        tokens
    }

    #[test]
    fn a_lost_piece_is_sent_again_and_an_acked_one_never() {
        let mut stream = CryptoStream::default();
        stream.send(&[7; 1000]);
        let first = write(&mut stream, 609);
        assert_eq!(first, [Token::Crypto { offset: 0, len: 600 }]);
        let second = write(&mut stream, 609);
        assert_eq!(second, [Token::Crypto { offset: 600, len: 400 }]);
        stream.acked(600, 400);
        stream.lost(0, 600);
        stream.lost(600, 400);
        assert_eq!(write(&mut stream, 2000), [Token::Crypto { offset: 0, len: 600 }]);
        assert!(!stream.wants());
    }

    #[test]
    fn what_comes_in_order_is_passed_on_once_and_what_does_not_is_kept() {
        let mut stream = CryptoStream::default();
        assert_eq!(stream.pass(0, b"he"), Some(&b"he"[..]));
        assert_eq!(stream.pass(0, b"he"), None, "known");
        assert_eq!(stream.pass(1, b"ell"), Some(&b"ll"[..]));
        assert_eq!(stream.pass(5, b"!"), None, "a gap");
        stream.on_data(5, b"!").unwrap();
        assert_eq!(stream.pass(4, b"o"), None, "what is kept comes out with it");
        stream.on_data(4, b"o").unwrap();
        assert_eq!(stream.take().unwrap(), b"o!");
        assert_eq!(stream.pass(6, b"?"), Some(&b"?"[..]));
    }

    #[test]
    fn data_comes_out_in_order_and_too_much_is_refused() {
        let mut stream = CryptoStream::default();
        stream.on_data(3, b"lo").unwrap();
        assert!(stream.take().is_none());
        stream.on_data(0, b"hell").unwrap();
        assert_eq!(stream.take().unwrap(), b"hello");
        stream.on_data(1, b"ell").unwrap();
        assert!(!stream.has_more() && stream.take().is_none());
        stream.on_data(5, b"!").unwrap();
        assert!(stream.has_more());
        assert!(stream.on_data(BUFFER_MAX, &[0; 6]).is_err());
    }
}
