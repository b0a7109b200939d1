//! Available or backup, in both directions (draft-ietf-quic-multipath-21 §3.3).

use crate::frames::{Frames, Token};
use mpquic_base::PathId;
use mpquic_wire::Frame;

#[derive(Debug, Default)]
pub(crate) struct Status {
    local_backup: bool,
    local_seq: u64,
    announce: bool,
    peer_backup: bool,
    peer_seq: Option<u64>,
}

impl Status {
    /// Either end may ask to keep the path in reserve.
    pub(crate) const fn is_backup(&self) -> bool {
        self.local_backup || self.peer_backup
    }

    pub(crate) const fn set_local(&mut self, backup: bool) {
        if self.local_backup != backup {
            self.local_backup = backup;
            self.local_seq += 1;
            self.announce = true;
        }
    }

    /// True if this is news: one counter serves both kinds of frame, and older ones are ignored.
    pub(crate) fn on_status(&mut self, seq: u64, backup: bool) -> bool {
        let news = self.peer_seq.is_none_or(|last| seq > last);
        if news {
            self.peer_seq = Some(seq);
            self.peer_backup = backup;
        }
        news
    }

    pub(crate) const fn wants(&self) -> bool {
        self.announce
    }

    pub(crate) fn write(&mut self, path: PathId, frames: &mut Frames<'_>) {
        if !self.announce {
            return;
        }
        let frame = Frame::PathStatus { path, seq: self.local_seq, backup: self.local_backup };
        if frames.push(&frame, Token::PathStatus { path, seq: self.local_seq }) {
            self.announce = false;
        }
    }

    /// Sent again only if it is still the newest.
    pub(crate) const fn lost(&mut self, seq: u64) {
        if seq == self.local_seq {
            self.announce = true;
        }
    }
}

#[cfg(test)]
mod tests;
