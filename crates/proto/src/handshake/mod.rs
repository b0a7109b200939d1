//! The handshake: TLS messages between levels, and the packet number spaces that end with it.
//!
//! Owns the session, the Initial and Handshake levels and the CRYPTO streams of all three levels. Knows nothing of
//! paths; loss in its spaces is judged by path 0's [`crate::path::Recovery`], which its caller brings along.

mod crypto_stream;
mod undecided;

use crate::crypto::{LevelKeys, NewKeys, NextPhase, Session};
use crate::error::Violation;
use crate::frames::{Frames, Token};
use crate::space::Space;
use crypto_stream::CryptoStream;
use mpquic_base::Rng;
use mpquic_wire::{Code, Frame};
pub(crate) use undecided::Undecided;
use undecided::{Decided, Unborn};

/// Encryption levels with CRYPTO data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LevelId {
    Initial,
    Handshake,
    App,
}

impl LevelId {
    pub(crate) const ALL: [Self; 3] = [Self::Initial, Self::Handshake, Self::App];
}

/// One of the two levels that live only during the handshake.
pub(crate) struct Level {
    pub(crate) space: Space,
    pub(crate) keys: LevelKeys,
    crypto: CryptoStream,
}

pub(crate) struct Handshake {
    pub(crate) session: Box<dyn Session>,
    /// A server's: what stands in the way of a session.
    undecided: Option<Box<Undecided>>,
    pub(crate) initial: Option<Box<Level>>,
    pub(crate) handshake: Option<Box<Level>>,
    /// Only a server that gives tickets says something here.
    app: Option<Box<CryptoStream>>,
    write_level: LevelId,
    /// TLS is done on our side.
    complete: bool,
    /// RFC 9001 §4.1.2: the peer is known to be done as well.
    confirmed: bool,
    done_frame: DoneFrame,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DoneFrame {
    No,
    Wanted,
    Sent,
}

/// What came out of pumping the session.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) one_rtt: Option<(LevelKeys, Box<dyn NextPhase>)>,
    pub(crate) handshake_keys: bool,
    pub(crate) completed: bool,
    /// The server goes on in this version, under these Initial keys.
    pub(crate) change: Option<(u32, LevelKeys)>,
}

/// How a handshake begins.
pub(crate) enum Start {
    Session(Box<dyn Session>),
    Undecided(Box<Undecided>),
}

impl Handshake {
    pub(crate) fn new(start: Start, initial: LevelKeys, rng: &mut Rng) -> Self {
        let (session, undecided): (Box<dyn Session>, _) = match start {
            Start::Session(session) => (session, None),
            Start::Undecided(undecided) => (Box::new(Unborn), Some(undecided)),
        };
        Self {
            session,
            undecided,
            initial: Some(Box::new(Level::new(initial, rng))),
            handshake: None,
            app: None,
            write_level: LevelId::Initial,
            complete: false,
            confirmed: false,
            done_frame: DoneFrame::No,
        }
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The server tells the client that it is done.
    pub(crate) const fn confirm_as_server(&mut self) {
        self.confirmed = true;
        self.done_frame = DoneFrame::Wanted;
    }

    pub(crate) const fn on_handshake_done(&mut self) {
        self.confirmed = true;
    }

    pub(crate) fn level(&mut self, id: LevelId) -> Option<&mut Level> {
        match id {
            LevelId::Initial => self.initial.as_deref_mut(),
            LevelId::Handshake => self.handshake.as_deref_mut(),
            LevelId::App => None,
        }
    }

    fn crypto(&mut self, id: LevelId) -> Option<&mut CryptoStream> {
        match id {
            LevelId::App => Some(self.app.get_or_insert_default()),
            other => self.level(other).map(|l| &mut l.crypto),
        }
    }

    /// CRYPTO data of the peer at `level`.
    pub(crate) fn on_crypto(
        &mut self,
        level: LevelId,
        offset: u64,
        data: &[u8],
        rng: &mut Rng,
    ) -> Result<Progress, Violation> {
        let over = match level {
            LevelId::Initial => self.handshake.is_some(),
            LevelId::Handshake => self.complete,
            LevelId::App => false,
        };
        let Some(crypto) = self.crypto(level) else { return Ok(Progress::default()) };
        let next = crypto.pass(offset, data);
        if next.is_none() {
            crypto.on_data(offset, data)?;
        }
        if over && (next.is_some() || crypto.has_more()) {
            // RFC 9001 §4.1.3: a level whose successor has keys says nothing new.
            return Err(Violation::protocol("handshake data at a level that is over"));
        }
        let mut change = None;
        if let Some(next) = next {
            change = self.read(next)?;
        }
        while let Some(chunk) = self.crypto(level).and_then(CryptoStream::take) {
            change = self.read(&chunk)?.or(change);
        }
        Ok(Progress { change, ..self.advance(rng) })
    }

    /// What comes next of the peer's bytes; as long as a session is undecided, they decide which.
    fn read(&mut self, data: &[u8]) -> Result<Option<(u32, LevelKeys)>, Violation> {
        let Some(undecided) = &mut self.undecided else {
            self.read_tls(data)?;
            return Ok(None);
        };
        match undecided.read(data) {
            None => Ok(None),
            Some(Ok(Decided { session, change, hello })) => {
                (self.session, self.undecided) = (session, None);
                self.read_tls(&hello)?;
                Ok(change)
            }
            Some(Err(_)) => Err(Violation::new(Code::INTERNAL_ERROR, "TLS cannot begin")),
        }
    }

    fn read_tls(&mut self, data: &[u8]) -> Result<(), Violation> {
        self.session.read(data).map_err(|failure| {
            // RFC 9001 §4.8: TLS alerts map into the transport's error space.
            Violation::new(Code::from_alert(failure.alert), "the TLS handshake failed")
        })
    }

    /// Lets TLS write what it can.
    pub(crate) fn advance(&mut self, rng: &mut Rng) -> Progress {
        let mut progress = Progress::default();
        loop {
            let mut bytes = Vec::new();
            let keys = self.session.write(&mut bytes);
            let idle = bytes.is_empty() && keys.is_none();
            if let Some(crypto) = self.crypto(self.write_level).filter(|_| !bytes.is_empty()) {
                crypto.send(&bytes);
            }
            match keys {
                Some(NewKeys::Handshake(keys)) => {
                    self.handshake = Some(Box::new(Level::new(keys, rng)));
                    self.write_level = LevelId::Handshake;
                    progress.handshake_keys = true;
                }
                Some(NewKeys::OneRtt { keys, next }) => {
                    self.write_level = LevelId::App;
                    progress.one_rtt = Some((keys, next));
                }
                None if idle => break,
                None => {}
            }
        }
        if !self.complete && !self.session.is_handshaking() {
            self.complete = true;
            progress.completed = true;
        }
        progress
    }

    pub(crate) fn wants(&self, id: LevelId) -> bool {
        match id {
            LevelId::Initial => self.initial.as_deref().is_some_and(Level::wants),
            LevelId::Handshake => self.handshake.as_deref().is_some_and(Level::wants),
            LevelId::App => {
                self.app.as_ref().is_some_and(|app| app.wants()) || self.done_frame == DoneFrame::Wanted
            }
        }
    }

    /// CRYPTO data of the 1-RTT level and HANDSHAKE_DONE.
    pub(crate) fn write_app(&mut self, frames: &mut Frames<'_>) {
        if self.done_frame == DoneFrame::Wanted && frames.push(&Frame::HandshakeDone, Token::HandshakeDone) {
            self.done_frame = DoneFrame::Sent;
        }
        if let Some(app) = &mut self.app {
            app.write(frames);
        }
    }

    /// Bytes of one level's CRYPTO stream that are kept.
    pub(crate) fn held(&self, id: LevelId) -> usize {
        match id {
            LevelId::Initial => self.initial.as_ref().map_or(0, |l| l.crypto.held()),
            LevelId::Handshake => self.handshake.as_ref().map_or(0, |l| l.crypto.held()),
            LevelId::App => self.app.as_ref().map_or(0, |app| app.held()),
        }
    }

    pub(crate) fn acked(&mut self, level: LevelId, offset: u64, len: u16) {
        if let Some(crypto) = self.crypto(level) {
            crypto.acked(offset, len);
        }
    }

    pub(crate) fn lost(&mut self, level: LevelId, offset: u64, len: u16) {
        if let Some(crypto) = self.crypto(level) {
            crypto.lost(offset, len);
        }
    }

    /// Gives back the memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.app.iter_mut().for_each(|app| app.shrink());
    }

    pub(crate) fn done_lost(&mut self) {
        if self.done_frame == DoneFrame::Sent {
            self.done_frame = DoneFrame::Wanted;
        }
    }
}

impl Level {
    fn new(keys: LevelKeys, rng: &mut Rng) -> Self {
        Self { space: Space::new(rng), keys, crypto: CryptoStream::default() }
    }

    pub(crate) fn wants(&self) -> bool {
        self.crypto.wants() || self.space.acks.is_pending() || self.space.probes > 0
    }

    /// Something besides ACKs waits: it needs room in the congestion window.
    pub(crate) fn wants_eliciting(&self) -> bool {
        self.wants_crypto() || self.space.probes > 0
    }

    pub(crate) fn wants_crypto(&self) -> bool {
        self.crypto.wants()
    }

    pub(crate) fn write_crypto(&mut self, frames: &mut Frames<'_>) {
        self.crypto.write(frames);
    }
}

impl core::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handshake")
            .field("complete", &self.complete)
            .field("confirmed", &self.confirmed)
            .finish()
    }
}
