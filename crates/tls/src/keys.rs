//! Packet protection: the machine's key traits on top of rustls's.
//!
//! Owns the translation and nothing else: which key belongs to which packet, when phases change and how many packets
//! a key has seen is the machine's business. Nothing here allocates per packet.

use mpquic_base::PathId;
use mpquic_proto::crypto::{
    DirectionKeys, Forged, HeaderKey, LevelKeys, NewKeys, NextPhase, PacketKey, PhaseKeys,
};
use rustls::quic::{self, KeyChange};

pub(crate) fn new_keys(change: KeyChange) -> NewKeys {
    match change {
        KeyChange::Handshake { keys } => NewKeys::Handshake(level(keys)),
        KeyChange::OneRtt { keys, next } => {
            NewKeys::OneRtt { keys: level(keys), next: Box::new(Phases(next)) }
        }
    }
}

pub(crate) fn level(keys: quic::Keys) -> LevelKeys {
    LevelKeys { local: direction(keys.local), peer: direction(keys.remote) }
}

pub(crate) fn direction(keys: quic::DirectionalKeys) -> DirectionKeys {
    DirectionKeys { header: Box::new(Header(keys.header)), packet: packet(keys.packet) }
}

fn packet(key: Box<dyn quic::PacketKey>) -> Box<dyn PacketKey> {
    Box::new(Packet(key))
}

struct Packet(Box<dyn quic::PacketKey>);

impl PacketKey for Packet {
    fn seal(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) {
        let text = payload.len().checked_sub(self.0.tag_len()).expect("the caller leaves room for the tag");
        let (plain, room) = payload.split_at_mut(text);
        // The AEADs refuse only what exceeds 2^36 bytes. A failure would leave plaintext in the buffer, so going on
        // is no option.
        let tag = self
            .0
            .encrypt_in_place_for_path(path.0, pn, header, plain)
            .expect("a datagram is far below the AEAD's size limit");
        room.copy_from_slice(tag.as_ref());
    }

    fn open(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, Forged> {
        self.0.decrypt_in_place_for_path(path.0, pn, header, payload).map(<[u8]>::len).map_err(|_| Forged)
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

struct Header(Box<dyn quic::HeaderProtectionKey>);

impl HeaderKey for Header {
    fn sample_len(&self) -> usize {
        self.0.sample_len()
    }

    fn protect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]) {
        // Only wrong lengths fail, and they are ours; going on would send the packet number in clear.
        self.0.encrypt_in_place(sample, first, pn).expect("the sample is sample_len bytes, pn at most 4");
    }

    fn unprotect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]) {
        // Wrong lengths are a mistake of the caller too, but in a peer's packet: the header stays as it is and the
        // packet then fails to open, which is what a forged packet does.
        let unmasked = self.0.decrypt_in_place(sample, first, pn);
        debug_assert!(unmasked.is_ok(), "the sample is sample_len bytes, pn at most 4");
    }
}

struct Phases(quic::Secrets);

impl NextPhase for Phases {
    fn next(&mut self) -> PhaseKeys {
        let keys = self.0.next_packet_keys();
        PhaseKeys { local: packet(keys.local), peer: packet(keys.remote) }
    }
}

#[cfg(test)]
mod tests;
