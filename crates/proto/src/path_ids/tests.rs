//! Path ids against the rules of the multipath draft, with the frames read back from the wire.

use super::{ABANDONS_MAX, Known, PathIds};
use crate::error::Violation;
use crate::frames::{Frames, Token};
use mpquic_base::PathId;
use mpquic_wire::{Code, Frame, Reader};

const ABANDON: Code = Code::APPLICATION_ABANDON_PATH;
/// Room for every frame that a test can want at once.
const ROOMY: usize = 4096;

/// We allow `width` ids, the peer those up to `peer_max`.
fn negotiated(width: u32, peer_max: u32) -> PathIds {
    let mut ids = PathIds::new(width);
    ids.on_negotiated(PathId(peer_max));
    ids
}

fn packet(ids: &mut PathIds, room: usize) -> (Vec<Frame<'static>>, Vec<Token>) {
    let (mut payload, mut tokens) = (vec![0; room], Vec::new());
    let mut frames = Frames::new(&mut payload, &mut tokens);
    ids.write(&mut frames);
    let len = frames.len();
    let (mut reader, mut read) = (Reader::new(&payload[..len]), Vec::new());
    while reader.remaining() > 0 {
        read.push(match Frame::read(&mut reader).unwrap() {
            Frame::PathAbandon { path, code } => Frame::PathAbandon { path, code },
            Frame::MaxPathId(max) => Frame::MaxPathId(max),
            Frame::PathsBlocked(max) => Frame::PathsBlocked(max),
            Frame::PathCidsBlocked { path, next_seq } => Frame::PathCidsBlocked { path, next_seq },
            other => panic!("{other:?} is not about path ids"),
        });
    }
    (read, tokens)
}

fn wanting(ids: &PathIds) -> Vec<u32> {
    ids.wanting_cids().map(|id| id.0).collect()
}

const fn abandon_frame(path: u32) -> Frame<'static> {
    Frame::PathAbandon { path: PathId(path), code: ABANDON.0 }
}

#[track_caller]
fn assert_violation<T: core::fmt::Debug>(result: Result<T, Violation>) {
    assert_eq!(result.unwrap_err().code, Code::PROTOCOL_VIOLATION);
}

/// Gives an id up and forgets its path at once.
fn abandon_and_forget(ids: &mut PathIds, path: u32) {
    ids.abandon(PathId(path), ABANDON);
    ids.on_forgotten();
}

#[test]
fn presence_of_the_parameter_negotiates_even_if_it_is_zero() {
    let ids = negotiated(4, 0);
    assert!(ids.is_negotiated());
    ids.require_negotiated().unwrap();
    assert_eq!(ids.usable_max(), PathId::ZERO);
    assert_eq!(ids.next_unused(), None);
}

#[test]
fn without_the_parameter_there_is_only_path_0() {
    let mut ids = PathIds::new(4);
    assert!(!ids.is_negotiated());
    assert_eq!(wanting(&ids), [0]);
    assert_eq!(ids.next_unused(), None);
    assert_eq!(ids.check(PathId::ZERO).unwrap(), Known::Open);
    assert_violation(ids.check(PathId(1)));
    assert_violation(ids.require_negotiated());
    assert_violation(ids.on_max_path_id(PathId(7)));
    assert_violation(ids.on_paths_blocked(PathId::ZERO));
    ids.on_blocked();
    ids.on_forgotten();
    assert!(!ids.wants());
}

#[test]
fn every_id_that_both_ends_allow_wants_connection_ids() {
    assert_eq!(wanting(&negotiated(4, 9)), [0, 1, 2, 3]);
    assert_eq!(wanting(&negotiated(4, 1)), [0, 1], "never above the peer's limit");
    let mut ids = negotiated(4, 9);
    ids.consume(PathId(1));
    ids.abandon(PathId(2), ABANDON);
    assert_eq!(wanting(&ids), [0, 1, 3], "one in use needs them, one given up does not");
}

#[test]
fn a_raised_limit_lets_more_ids_want_connection_ids() {
    let mut ids = negotiated(4, 1);
    assert!(ids.on_max_path_id(PathId(2)).unwrap());
    assert_eq!(wanting(&ids), [0, 1, 2]);
    assert!(ids.on_max_path_id(PathId(u32::MAX)).unwrap());
    assert_eq!(wanting(&ids), [0, 1, 2, 3], "and our own limit still holds");
}

#[test]
fn the_lowest_unused_id_is_next() {
    let mut ids = negotiated(4, 9);
    assert_eq!(ids.next_unused(), Some(PathId(1)), "the handshake used 0");
    ids.consume(PathId(2));
    assert_eq!(ids.next_unused(), Some(PathId(1)));
    ids.consume(PathId(1));
    assert_eq!(ids.next_unused(), Some(PathId(3)));
    ids.consume(PathId(3));
    assert_eq!(ids.next_unused(), None);
}

#[test]
fn no_id_is_ever_used_twice() {
    let mut ids = negotiated(3, u32::MAX);
    for expected in 1..200 {
        let next = ids.next_unused().unwrap();
        assert_eq!(next, PathId(expected));
        // Some are used first, some given up unused.
        if expected % 3 != 0 {
            ids.consume(next);
        }
        abandon_and_forget(&mut ids, next.0);
        assert!(ids.is_consumed(next) && ids.is_abandoned(next));
        ids.abandon_acked(next);
    }
    assert!(!ids.is_abandoned(PathId::ZERO), "path 0 lives through all of it");
}

#[test]
fn a_max_path_id_that_does_not_raise_the_limit_is_ignored() {
    let mut ids = negotiated(16, 3);
    assert!(!ids.on_max_path_id(PathId(3)).unwrap());
    assert!(ids.on_max_path_id(PathId(8)).unwrap());
    assert!(!ids.on_max_path_id(PathId(8)).unwrap());
    assert!(!ids.on_max_path_id(PathId(5)).unwrap(), "late, but not below the first announcement");
    assert_eq!(ids.usable_max(), PathId(8));
}

#[test]
fn a_max_path_id_below_the_initial_limit_is_a_violation() {
    let mut ids = negotiated(16, 3);
    ids.on_max_path_id(PathId(8)).unwrap();
    assert_violation(ids.on_max_path_id(PathId(2)));
}

#[test]
fn an_id_above_our_advertised_limit_is_a_violation_whatever_the_peer_allows() {
    for peer_max in [0, 3, 1000] {
        let ids = negotiated(4, peer_max);
        assert_eq!(ids.local_max(), PathId(3));
        // The peer's IDs for 3 may overtake the MAX_PATH_ID that allows us to use it.
        assert_eq!(ids.check(PathId(3)).unwrap(), Known::Open);
        assert_violation(ids.check(PathId(4)));
        assert_violation(ids.check(PathId(u32::MAX)));
    }
}

#[test]
fn an_abandoned_id_is_known_as_such_and_no_error() {
    let mut ids = negotiated(4, 9);
    ids.abandon(PathId(2), ABANDON);
    assert_eq!(ids.check(PathId(2)).unwrap(), Known::Abandoned);
    assert_eq!(ids.check(PathId(1)).unwrap(), Known::Open);
    ids.on_forgotten();
    ids.abandon_acked(PathId(2));
    assert_eq!(ids.check(PathId(2)).unwrap(), Known::Abandoned);
}

#[test]
fn a_forgotten_path_makes_room_for_one_more_id() {
    let mut ids = negotiated(4, 9);
    ids.abandon(PathId(1), ABANDON);
    assert_eq!(ids.local_max(), PathId(3), "a closing path still takes its place");
    ids.on_forgotten();
    assert_eq!(ids.local_max(), PathId(4));
    assert_eq!(ids.check(PathId(4)).unwrap(), Known::Open);
    assert_violation(ids.check(PathId(5)));
    assert_eq!(wanting(&ids), [0, 2, 3, 4]);
    let (frames, tokens) = packet(&mut ids, ROOMY);
    assert_eq!(frames, [abandon_frame(1), Frame::MaxPathId(PathId(4))]);
    assert_eq!(tokens, [Token::PathAbandon(PathId(1)), Token::MaxPathId]);
    ids.on_forgotten();
    assert!(!ids.wants(), "nothing more was given up");
}

#[test]
fn a_lost_raise_is_announced_again_with_the_newest_value() {
    let mut ids = negotiated(4, 9);
    abandon_and_forget(&mut ids, 1);
    packet(&mut ids, ROOMY);
    assert!(!ids.wants());
    ids.max_lost();
    abandon_and_forget(&mut ids, 2);
    assert_eq!(packet(&mut ids, ROOMY).0, [abandon_frame(2), Frame::MaxPathId(PathId(5))]);
    assert!(!ids.wants());
}

#[test]
fn an_abandon_is_announced_once() {
    let mut ids = negotiated(4, 9);
    ids.abandon(PathId(1), ABANDON);
    assert_eq!(packet(&mut ids, ROOMY).0, [abandon_frame(1)]);
    ids.abandon(PathId(1), Code::PATH_UNSTABLE_OR_POOR);
    assert!(!ids.wants());
    ids.abandon_acked(PathId(1));
    ids.abandon(PathId(1), ABANDON);
    assert!(!ids.wants());
    assert!(packet(&mut ids, ROOMY).0.is_empty());
}

#[test]
fn a_lost_abandon_is_announced_again_and_an_acknowledged_one_is_not() {
    let mut ids = negotiated(4, 9);
    ids.abandon(PathId(1), ABANDON);
    ids.abandon(PathId(2), ABANDON);
    assert_eq!(packet(&mut ids, ROOMY).0.len(), 2);
    ids.abandon_lost(PathId(2));
    assert!(ids.wants());
    assert_eq!(packet(&mut ids, ROOMY).0, [abandon_frame(2)]);
    ids.abandon_acked(PathId(2));
    ids.abandon_lost(PathId(2));
    assert!(!ids.wants());
    ids.abandon_lost(PathId(1));
    assert_eq!(packet(&mut ids, ROOMY).0, [abandon_frame(1)], "the other's fate is its own");
}

#[test]
fn abandons_that_the_peer_never_acknowledges_stop_the_raises() {
    let mut ids = negotiated(4, u32::MAX);
    let allowed = (1..10_000).find(|id| {
        let refused = ids.check(PathId(*id)).is_err();
        if !refused {
            abandon_and_forget(&mut ids, *id);
        }
        refused
    });
    let pending = allowed.unwrap() as usize - 1;
    assert!((ABANDONS_MAX..=ABANDONS_MAX + 4).contains(&pending), "{pending} frames wait");
    // A peer that answers gets all of its ids back.
    let answered = u32::try_from(pending).unwrap();
    (1..=answered).for_each(|id| ids.abandon_acked(PathId(id)));
    ids.on_forgotten();
    assert_eq!(ids.local_max(), PathId(answered + 3));
}

#[test]
fn blocked_is_said_once_and_only_if_the_peers_limit_is_the_one_that_binds() {
    let mut ids = negotiated(2, 9);
    ids.on_blocked();
    assert!(!ids.wants(), "it is our own limit");
    let mut ids = negotiated(9, 2);
    ids.on_blocked();
    let (frames, tokens) = packet(&mut ids, ROOMY);
    assert_eq!(
        (&frames[..], &tokens[..]),
        (&[Frame::PathsBlocked(PathId(2))][..], &[Token::PathsBlocked][..])
    );
    assert!(!ids.wants());
}

#[test]
fn a_raise_takes_back_that_we_are_blocked() {
    let mut ids = negotiated(9, 2);
    ids.on_blocked();
    ids.on_max_path_id(PathId(2)).unwrap();
    assert!(ids.wants(), "the limit is where it was");
    ids.on_max_path_id(PathId(3)).unwrap();
    assert!(!ids.wants());
}

#[test]
fn a_peer_blocked_above_our_limit_is_a_violation() {
    let ids = negotiated(4, 0);
    ids.on_paths_blocked(PathId(3)).unwrap();
    ids.on_paths_blocked(PathId(0)).unwrap();
    assert_violation(ids.on_paths_blocked(PathId(4)));
    assert!(!ids.wants(), "it obliges to nothing");
}

#[test]
fn missing_connection_ids_are_said_once() {
    let mut ids = negotiated(4, 9);
    ids.on_cids_blocked(PathId(2), 5);
    assert!(ids.wants());
    let (frames, tokens) = packet(&mut ids, ROOMY);
    assert_eq!(frames, [Frame::PathCidsBlocked { path: PathId(2), next_seq: 5 }]);
    assert_eq!(tokens, [Token::PathCidsBlocked(PathId(2))]);
    assert!(!ids.wants());
}

#[test]
fn frames_that_do_not_fit_wait_for_the_next_packet() {
    let mut ids = negotiated(4, 3);
    ids.abandon(PathId(1), ABANDON);
    ids.abandon(PathId(2), ABANDON);
    ids.on_forgotten();
    ids.on_cids_blocked(PathId(3), 0);
    ids.on_blocked();
    let mut said = Vec::new();
    for _ in 0..20 {
        // Five bytes: one frame at a time.
        said.extend(packet(&mut ids, 5).0);
    }
    assert!(!ids.wants());
    assert_eq!(
        said,
        [
            abandon_frame(1),
            abandon_frame(2),
            Frame::MaxPathId(PathId(5)),
            Frame::PathCidsBlocked { path: PathId(3), next_seq: 0 },
            Frame::PathsBlocked(PathId(3)),
        ]
    );
}

#[test]
fn a_width_of_zero_still_leaves_path_0() {
    let ids = negotiated(0, 9);
    assert_eq!(ids.local_max(), PathId::ZERO);
    assert_eq!(wanting(&ids), [0]);
}
