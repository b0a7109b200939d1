//! Whether the peer answers at this path's addresses (RFC 9000 §8.2).

use mpquic_base::{Duration, Rng, Time};

/// Challenges remembered: an answer to any of them counts.
const CHALLENGES_MAX: usize = 4;
/// Answers queued towards the peer; more are dropped (a flood is not our problem).
const RESPONSES_MAX: usize = 4;
/// RFC 9000 §8.2.4: given up after 3 x max(PTO, PTO at the initial RTT).
const GIVE_UP_PTOS: u32 = 3;

#[derive(Debug)]
pub(crate) struct Validation {
    state: State,
    responses: Vec<[u8; 8]>,
}

#[derive(Debug)]
enum State {
    Validated,
    Pending { sent: Vec<[u8; 8]>, resend_at: Time, interval: Duration, give_up_at: Time },
    Failed,
}

impl Validation {
    pub(crate) const fn validated() -> Self {
        Self { state: State::Validated, responses: Vec::new() }
    }

    /// A challenge is due at once; `pto` is the larger of the path's and the one at the initial RTT.
    pub(crate) fn pending(now: Time, pto: Duration) -> Self {
        Self { state: pending(now, pto), responses: Vec::new() }
    }

    /// Starts over, as after a change of address.
    pub(crate) fn restart(&mut self, now: Time, pto: Duration) {
        self.state = pending(now, pto);
    }

    pub(crate) const fn is_validated(&self) -> bool {
        matches!(self.state, State::Validated)
    }

    pub(crate) fn mark_validated(&mut self) {
        self.state = State::Validated;
    }

    pub(crate) fn challenge_due(&self, now: Time) -> bool {
        matches!(self.state, State::Pending { resend_at, .. } if resend_at <= now)
    }

    /// RFC 9000 §8.2.1: fresh, unpredictable data in every challenge.
    pub(crate) fn next_challenge(&mut self, now: Time, rng: &mut Rng) -> Option<[u8; 8]> {
        let State::Pending { sent, resend_at, interval, .. } = &mut self.state else { return None };
        if *resend_at > now {
            return None;
        }
        let data = rng.u64().to_be_bytes();
        if sent.len() == CHALLENGES_MAX {
            sent.remove(0);
        }
        sent.push(data);
        *resend_at = now + *interval;
        *interval = *interval * 3 / 2;
        Some(data)
    }

    /// True if `data` answers a challenge and validates the path.
    pub(crate) fn on_response(&mut self, data: [u8; 8]) -> bool {
        let answers = matches!(&self.state, State::Pending { sent, .. } if sent.contains(&data));
        if answers {
            self.state = State::Validated;
        }
        answers
    }

    pub(crate) fn on_challenge(&mut self, data: [u8; 8]) {
        if self.responses.len() < RESPONSES_MAX {
            self.responses.push(data);
        }
    }

    pub(crate) const fn waiting(&self) -> usize {
        self.responses.len()
    }

    pub(crate) const fn has_response(&self) -> bool {
        !self.responses.is_empty()
    }

    pub(crate) fn peek_response(&self) -> Option<[u8; 8]> {
        self.responses.first().copied()
    }

    pub(crate) fn commit_response(&mut self) {
        self.responses.remove(0);
    }

    pub(crate) const fn challenge_at(&self) -> Option<Time> {
        match self.state {
            State::Pending { resend_at, .. } => Some(resend_at),
            State::Validated | State::Failed => None,
        }
    }

    pub(crate) const fn give_up_at(&self) -> Option<Time> {
        match self.state {
            State::Pending { give_up_at, .. } => Some(give_up_at),
            State::Validated | State::Failed => None,
        }
    }

    /// True if the path has just been given up.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let gave_up = matches!(self.state, State::Pending { give_up_at, .. } if give_up_at <= now);
        if gave_up {
            self.state = State::Failed;
        }
        gave_up
    }
}

fn pending(now: Time, pto: Duration) -> State {
    // The first challenge is repeated after a third of the PTO: on a lossy link that is what a path waits for.
    State::Pending {
        sent: Vec::new(),
        resend_at: now,
        interval: pto / 3,
        give_up_at: now + pto * GIVE_UP_PTOS,
    }
}

#[cfg(test)]
mod tests;
