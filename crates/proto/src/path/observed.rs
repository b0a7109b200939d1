//! The addresses that both ends of a path see of each other (draft-ietf-quic-address-discovery-00).

use crate::frames::{Frames, Token};
use mpquic_base::PathId;
use mpquic_wire::Frame;
use std::net::SocketAddr;

#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The peer wants to know.
    tells: bool,
    wants: bool,
    /// What the peer was told last, and under which number.
    told: Option<(u64, SocketAddr)>,
    /// What the peer told us last.
    heard: Option<(u64, SocketAddr)>,
}

impl Observed {
    pub(crate) fn new(tells: bool) -> Self {
        Self { tells, wants: tells, ..Self::default() }
    }

    /// The peer's wish became known.
    pub(crate) const fn start(&mut self) {
        self.tells = true;
        self.wants = true;
    }

    /// The peer's packets come from another address.
    pub(crate) const fn on_move(&mut self) {
        self.wants = self.tells;
    }

    pub(crate) const fn wants(&self) -> bool {
        self.wants
    }

    /// `next` counts over all paths of the connection.
    pub(crate) fn write(&mut self, path: PathId, peer: SocketAddr, next: &mut u64, frames: &mut Frames<'_>) {
        if !self.wants {
            return;
        }
        let address = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let seq = *next;
        if frames.push(&Frame::ObservedAddress { seq, address }, Token::ObservedAddress { path, seq }) {
            *next += 1;
            self.told = Some((seq, address));
            self.wants = false;
        }
    }

    /// Said again only on the same path, and only if nothing newer was said.
    pub(crate) fn lost(&mut self, seq: u64) {
        self.wants |= self.told.is_some_and(|(told, _)| told == seq);
    }

    /// True if this is news; frames may overtake each other.
    pub(crate) fn on_observed(&mut self, seq: u64, address: SocketAddr) -> bool {
        if self.heard.is_some_and(|(newest, _)| newest >= seq) {
            return false;
        }
        self.heard.replace((seq, address)).is_none_or(|(_, before)| before != address)
    }

    pub(crate) fn heard(&self) -> Option<SocketAddr> {
        self.heard.map(|(_, address)| address)
    }
}

#[cfg(test)]
mod tests {
    use super::Observed;
    use crate::frames::{Frames, Token};
    use mpquic_base::PathId;

    fn said(observed: &mut Observed, peer: &str, next: &mut u64) -> Vec<Token> {
        let (mut payload, mut tokens) = ([0; 100], Vec::new());
        let mut frames = Frames::new(&mut payload, &mut tokens);
        observed.write(PathId(2), peer.parse().unwrap(), next, &mut frames);
        tokens
    }

    #[test]
    fn an_address_is_told_once_and_again_when_it_changed_or_was_lost() {
        let (mut observed, mut next) = (Observed::new(true), 7);
        let token = |seq| vec![Token::ObservedAddress { path: PathId(2), seq }];
        assert_eq!(said(&mut observed, "192.0.2.1:1", &mut next), token(7));
        assert_eq!(said(&mut observed, "192.0.2.1:1", &mut next), []);
        observed.on_move();
        assert_eq!(said(&mut observed, "192.0.2.1:2", &mut next), token(8));
        observed.lost(7);
        assert!(!observed.wants(), "overtaken by what was said later");
        observed.lost(8);
        assert_eq!(said(&mut observed, "192.0.2.1:2", &mut next), token(9));
    }

    #[test]
    fn who_does_not_want_to_know_is_told_nothing() {
        let (mut observed, mut next) = (Observed::new(false), 0);
        observed.on_move();
        observed.lost(0);
        assert_eq!(said(&mut observed, "192.0.2.1:1", &mut next), []);
    }

    #[test]
    fn an_older_observation_that_comes_late_is_ignored() {
        let mut observed = Observed::default();
        let (old, new) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
        assert!(observed.on_observed(5, new));
        assert!(!observed.on_observed(4, old));
        assert!(!observed.on_observed(6, new), "no news");
        assert_eq!(observed.heard(), Some(new));
    }
}
