//! Two ends that call the same path available or backup, over a network that reorders and loses.

use super::Status;
use crate::frames::{Frames, Token};
use mpquic_base::PathId;
use mpquic_wire::Frame;

const PATH: PathId = PathId(3);

/// What goes out when there are `room` bytes: the frame's bytes and its token.
fn write(status: &mut Status, room: usize) -> (Vec<u8>, Option<Token>) {
    let (mut payload, mut tokens) = (vec![0; room], Vec::new());
    let mut frames = Frames::new(&mut payload, &mut tokens);
    status.write(PATH, &mut frames);
    let len = frames.len();
    payload.truncate(len);
    assert!(tokens.len() <= 1);
    (payload, tokens.pop())
}

fn token(seq: u64) -> Option<Token> {
    Some(Token::PathStatus { path: PATH, seq })
}

fn encoded(seq: u64, backup: bool) -> Vec<u8> {
    let frame = Frame::PathStatus { path: PATH, seq, backup };
    let (mut payload, mut tokens) = ([0; 64], Vec::new());
    let mut frames = Frames::new(&mut payload, &mut tokens);
    assert!(frames.push_untracked(&frame));
    let len = frames.len();
    payload[..len].to_vec()
}

#[test]
fn a_status_older_than_the_newest_or_repeated_is_ignored() {
    let mut status = Status::default();
    assert!(status.on_status(5, true));
    assert!(status.is_backup());
    assert!(!status.on_status(4, false) && status.is_backup());
    assert!(!status.on_status(5, false) && status.is_backup());
    assert!(status.on_status(6, false));
    assert!(!status.is_backup());
}

#[test]
fn the_peers_first_status_counts_whatever_its_number() {
    let mut status = Status::default();
    assert!(status.on_status(0, true));
    assert!(status.is_backup());
    assert!(!status.on_status(0, false) && status.is_backup());
}

#[test]
fn either_end_alone_can_keep_a_path_in_reserve() {
    let mut status = Status::default();
    status.set_local(true);
    assert!(status.is_backup());
    assert!(status.on_status(1, true));
    status.set_local(false);
    assert!(status.is_backup(), "the peer still asks for it");
    assert!(status.on_status(2, false));
    assert!(!status.is_backup());
}

#[test]
fn each_change_is_announced_once_under_a_higher_number() {
    let mut status = Status::default();
    assert!(!status.wants());
    status.set_local(false);
    assert!(!status.wants(), "that is what a path starts as");
    assert_eq!(write(&mut status, 64), (vec![], None));
    status.set_local(true);
    assert!(status.wants());
    assert_eq!(write(&mut status, 64), (encoded(1, true), token(1)));
    assert!(!status.wants());
    status.set_local(true);
    assert_eq!(write(&mut status, 64), (vec![], None), "no change, no frame");
    status.set_local(false);
    assert_eq!(write(&mut status, 64), (encoded(2, false), token(2)));
}

#[test]
fn a_status_that_does_not_fit_waits_for_the_next_packet() {
    let mut status = Status::default();
    status.set_local(true);
    assert_eq!(write(&mut status, encoded(1, true).len() - 1), (vec![], None));
    assert!(status.wants());
    assert_eq!(write(&mut status, encoded(1, true).len()).1, token(1));
}

#[test]
fn a_lost_status_is_sent_again_only_while_it_is_the_newest() {
    let mut status = Status::default();
    status.set_local(true);
    write(&mut status, 64);
    status.lost(1);
    assert_eq!(write(&mut status, 64), (encoded(1, true), token(1)));
    status.set_local(false);
    write(&mut status, 64);
    status.lost(1);
    assert!(!status.wants(), "the peer need not hear what no longer holds");
    status.lost(2);
    assert_eq!(write(&mut status, 64), (encoded(2, false), token(2)));
}
