//! Another pair of addresses beside the one that a path uses: asked whether it works, before anything depends on it
//! (RFC 9000 §9.1).
//!
//! Owns what is said there: challenges, answers to the peer's, and how much may be said to an address that nobody has
//! proven. Whether the path then moves is the connection's business.

use super::{AMPLIFICATION, Validation};
use crate::frames::Frames;
use mpquic_base::{Duration, FourTuple, Rng, Time};
use mpquic_wire::Frame;

/// A probe that came to nothing, or that the peer did not follow up, is forgotten after this many PTO.
const FORGET_PTOS: u32 = 6;

#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) tuple: FourTuple,
    pub(crate) validation: Validation,
    /// We want to move there; otherwise the peer may, and only it knows.
    pub(crate) ours: bool,
    pub(crate) forget_at: Time,
    /// Bytes that came from there, and went; `None` if the peer's address needs no proof.
    earned: Option<(u64, u64)>,
}

impl Probe {
    /// We look at other addresses of ours, or at another one of the peer's that it named.
    pub(crate) fn ours(now: Time, tuple: FourTuple, pto: Duration) -> Self {
        Self { ours: true, earned: None, ..Self::theirs(now, tuple, pto) }
    }

    /// The peer looks at us from another address, or at another one of ours.
    pub(crate) fn theirs(now: Time, tuple: FourTuple, pto: Duration) -> Self {
        Self {
            tuple,
            validation: Validation::pending(now, pto),
            ours: false,
            forget_at: now + pto * FORGET_PTOS,
            earned: Some((0, 0)),
        }
    }

    /// A packet with so many bytes of frames came from there.
    pub(crate) const fn on_packet(&mut self, bytes: usize) {
        if let Some((received, _)) = &mut self.earned {
            *received += bytes as u64;
        }
    }

    /// RFC 9000 §8.2.1: at most three times what came from an address that has not proven itself.
    pub(crate) fn allowance(&self) -> u64 {
        let earned = self.earned.filter(|_| !self.validation.is_validated());
        earned.map_or(u64::MAX, |(received, sent)| (received * AMPLIFICATION).saturating_sub(sent))
    }

    pub(crate) fn wants(&self, now: Time) -> bool {
        self.validation.has_response() || self.validation.challenge_due(now)
    }

    pub(crate) fn deadline(&self) -> Time {
        self.validation.challenge_at().map_or(self.forget_at, |at| at.min(self.forget_at))
    }

    pub(crate) fn write(&mut self, now: Time, rng: &mut Rng, frames: &mut Frames<'_>) {
        while let Some(data) = self.validation.peek_response() {
            if !frames.push_untracked(&Frame::PathResponse(data)) {
                return;
            }
            self.validation.commit_response();
        }
        if frames.remaining() >= super::CHALLENGE_LEN
            && let Some(data) = self.validation.next_challenge(now, rng)
        {
            // It fits: a challenge is nine bytes.
            let _fits = frames.push_untracked(&Frame::PathChallenge(data));
        }
    }

    pub(crate) const fn on_sent(&mut self, bytes: u64) {
        if let Some((_, sent)) = &mut self.earned {
            *sent += bytes;
        }
    }
}
