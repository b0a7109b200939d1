//! The end of a transfer over unlike paths.
//!
//! Owns one decision: stream data that a slow path still carries, while a quicker one has room and there is nothing else to
//! send, is sent once more over the quicker one. Whichever copy arrives first counts; the stream below sees to that.

use super::Connection;
use crate::frames::Token;
use crate::path::{Path, Recovery};
use crate::space::{Sent, State};
use mpquic_base::{Duration, Time};

/// Copies may make up this part of all that was sent, beyond an allowance for short transfers.
const SHARE: u64 = 20;
const ALLOWANCE: u64 = 128 * 1024;

impl Connection {
    /// Gives the tail of slow paths to the quickest path with room. True if there is something to send now.
    pub(super) fn double_the_tail(&mut self, now: Time) -> bool {
        if self.paths.len() < 2 {
            return false;
        }
        self.collect_views(now);
        let open = self.slots.iter().zip(&self.views).filter(|(_, view)| view.can_send && !view.backup);
        let way = |slot: usize| one_way(&self.paths[slot].recovery);
        let Some((&quick, view)) = open.min_by_key(|(slot, _)| way(**slot)) else { return false };
        let left = view.window_left;
        let sent: u64 = self.paths.iter().map(Path::bytes_sent).sum();
        let mut budget = (ALLOWANCE + sent / SHARE).saturating_sub(self.doubled).min(left);
        let arrives = now + way(quick) * 5 / 4;
        for slot in 0..self.paths.len() {
            if slot != quick && self.paths[slot].is_usable() {
                budget = self.double_path(slot, arrives, budget);
            }
        }
        let found = !self.fates.lost.is_empty();
        self.settle_tokens(crate::handshake::LevelId::App);
        found
    }

    /// Collects the stream data on one path that would arrive after `sooner`, the oldest first; returns what is left of
    /// the budget.
    fn double_path(&mut self, slot: usize, sooner: Time, budget: u64) -> u64 {
        let mut budget = budget;
        let Path { space, recovery, .. } = &mut self.paths[slot];
        let way = one_way(recovery);
        let next = space.sent.next_pn();
        // What was sent earlier arrives sooner, and what was doubled before needs no second copy.
        let is_late = |p: &Sent| p.sent_at + way > sooner && !p.doubled;
        let first = (0..next).rev().take_while(|pn| space.sent.get(*pn).is_some_and(is_late)).last();
        for pn in first.unwrap_or(next)..next {
            let Some(packet) = space.sent.get_mut(pn) else { continue };
            packet.doubled = true;
            let size = u64::from(packet.size);
            if packet.state != State::Outstanding {
                continue;
            }
            if size > budget {
                packet.doubled = false;
                break;
            }
            let before = self.fates.lost.len();
            let is_stream = |token: &Token| matches!(token, Token::Stream { .. });
            self.fates.lost.extend(space.sent.tokens(pn).filter(is_stream));
            if self.fates.lost.len() > before {
                budget -= size;
                self.doubled += size;
            }
        }
        budget
    }
}

/// From here to there: a queue, if there is one, is on our way out.
fn one_way(recovery: &Recovery) -> Duration {
    recovery.rtt.smoothed().saturating_sub(recovery.rtt.min() / 2)
}
