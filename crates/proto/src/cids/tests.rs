//! Both ends' connection IDs, with the frames read back from the wire and the peer played by hand.

mod ours;
mod theirs;

use super::{Cids, PEER_CIDS_PER_PATH, RETIREMENTS_MAX, ResetToken, RouteChange};
use crate::error::Violation;
use crate::frames::{Frames, Token};
use mpquic_base::{Cid, PathId, Rng};
use mpquic_wire::frame::NewConnectionId;
use mpquic_wire::{Code, Frame, Reader};

const ZERO: PathId = PathId::ZERO;
const ONE: PathId = PathId(1);
/// Room for every frame that a test can want at once.
const ROOMY: usize = 4096;

/// What went into one packet.
#[derive(Debug, Default)]
struct Packet {
    new: Vec<NewConnectionId>,
    retired: Vec<(PathId, u64)>,
    multipath: Vec<bool>,
    tokens: Vec<Token>,
}

fn packet(cids: &mut Cids, room: usize) -> Packet {
    let (mut payload, mut packet) = (vec![0; room], Packet::default());
    let mut frames = Frames::new(&mut payload, &mut packet.tokens);
    cids.write(&mut frames);
    let len = frames.len();
    let mut reader = Reader::new(&payload[..len]);
    while reader.remaining() > 0 {
        match Frame::read(&mut reader).unwrap() {
            Frame::NewConnectionId(new) => {
                packet.multipath.push(new.multipath);
                packet.new.push(new);
            }
            Frame::RetireConnectionId { path, multipath, seq } => {
                packet.multipath.push(multipath);
                packet.retired.push((path, seq));
            }
            other => panic!("{other:?} is not about connection IDs"),
        }
    }
    packet
}

fn changes(cids: &mut Cids) -> Vec<RouteChange> {
    let mut out = Vec::new();
    cids.take_changes(&mut out);
    out
}

fn cid(byte: u8) -> Cid {
    Cid::new(&[byte; 8]).unwrap()
}

const fn token(byte: u8) -> ResetToken {
    [byte; 16]
}

/// Ours is 0xaa.., the peer's first is 0; the limit is the peer's active_connection_id_limit.
fn multipath(peer_limit: u64) -> Cids {
    let mut cids = Cids::new(cid(0xaa), cid(0));
    cids.on_parameters(true, peer_limit);
    cids
}

/// The peer's frame; `byte` stands for both the ID and its token.
fn new_cid(path: PathId, seq: u64, retire_prior_to: u64, byte: u8) -> NewConnectionId {
    let (cid, reset_token) = (cid(byte), token(byte));
    NewConnectionId { path, multipath: true, seq, retire_prior_to, cid, reset_token }
}

#[track_caller]
fn assert_refused(result: Result<(), Violation>, code: Code) {
    assert_eq!(result.unwrap_err().code, code);
}
