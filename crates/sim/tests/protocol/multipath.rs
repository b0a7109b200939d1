//! What a peer may not do with paths (draft-ietf-quic-multipath-21 §2, §3, §4).

use crate::rig::{Duo, Packet, client_address, ms, server_address};
use mpquic_base::{Cid, Dir, FourTuple, PathId, Role};
use mpquic_proto::{Admission, CloseReason, TransportConfig};
use mpquic_wire::frame::NewConnectionId;
use mpquic_wire::{Code, Frame};

/// The server of a connected pair after the client sent `frames`, which it should not have.
fn after(server: TransportConfig, frames: &[Frame<'_>]) -> Duo {
    let mut duo = Duo::unlike(TransportConfig::default(), server, Admission::default());
    duo.wait(ms(100));
    let id = duo.connection().open(Dir::Bi).unwrap();
    duo.connection().write(id, b"x").unwrap();
    let like = duo.client_says().pop().unwrap();
    duo.tell_server([like.clone(), Duo::forge(&like, Role::Client, PathId::ZERO, 5000, frames)]);
    duo
}

fn is_violation(duo: &Duo) -> bool {
    matches!(duo.server_ended(), Some(CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, .. }))
}

fn new_cid(path: u32) -> Frame<'static> {
    let (cid, reset_token) = (Cid::new(&path.to_be_bytes()).unwrap(), [3; 16]);
    let path = PathId(path);
    Frame::NewConnectionId(NewConnectionId {
        path,
        multipath: true,
        seq: 0,
        retire_prior_to: 0,
        cid,
        reset_token,
    })
}

fn frames_of(path: u32) -> Vec<Frame<'static>> {
    vec![
        Frame::PathAbandon { path: PathId(path), code: 0 },
        Frame::PathStatus { path: PathId(path), seq: 1, backup: true },
        Frame::PathsBlocked(PathId(path)),
        Frame::PathCidsBlocked { path: PathId(path), next_seq: 0 },
        new_cid(path),
    ]
}

#[test]
fn multipath_frames_without_multipath_are_violations() {
    let single = TransportConfig { multipath: false, ..TransportConfig::default() };
    for frame in frames_of(0).into_iter().chain([Frame::MaxPathId(PathId(9))]) {
        assert!(is_violation(&after(single.clone(), &[frame])), "{frame:?}");
    }
}

#[test]
fn a_path_id_above_what_we_announced_is_a_violation_in_every_frame() {
    for frame in frames_of(8) {
        assert!(is_violation(&after(TransportConfig::default(), &[frame])), "{frame:?}");
    }
    assert!(after(TransportConfig::default(), &[Frame::PathsBlocked(PathId(7))]).server_ended().is_none());
}

#[test]
fn frames_about_an_abandoned_path_are_ignored() {
    let mut frames = vec![Frame::PathAbandon { path: PathId(3), code: 0 }];
    let late = frames_of(3).into_iter().filter(|f| !matches!(f, Frame::PathsBlocked(_)));
    frames.extend(late);
    frames.push(Frame::RetireConnectionId { path: PathId(3), multipath: true, seq: 0 });
    let mut duo = after(TransportConfig::default(), &frames);
    assert_eq!(duo.server_ended(), None);
    duo.wait(ms(100));
    assert_eq!(duo.server_ended(), None);
}

#[test]
fn a_peer_that_waits_for_an_id_beyond_the_next_is_in_error() {
    let blocked = |next_seq| Frame::PathCidsBlocked { path: PathId(2), next_seq };
    assert!(after(TransportConfig::default(), &[blocked(1)]).server_ended().is_none());
    assert!(is_violation(&after(TransportConfig::default(), &[blocked(2)])));
}

#[test]
fn retiring_the_id_on_the_packet_is_a_violation() {
    let frame = Frame::RetireConnectionId { path: PathId::ZERO, multipath: true, seq: 0 };
    assert!(is_violation(&after(TransportConfig::default(), &[frame])));
}

#[test]
fn a_client_learns_its_address_on_every_path_and_again_when_a_nat_moves_it() {
    let mut duo = Duo::new();
    duo.wait(ms(100));
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    duo.wait(ms(300));
    let seen = |duo: &mut Duo| duo.connection().path_stats().map(|p| p.observed).collect::<Vec<_>>();
    assert_eq!(seen(&mut duo), [Some(client_address()), Some(local)]);
    // Behind a NAT the same packets come from elsewhere; what is sent there reaches the client all the same.
    let outside = "198.51.100.99:7000".parse().unwrap();
    for _ in 0..20 {
        let id = duo.connection().open(Dir::Uni).unwrap();
        duo.connection().write(id, &[1; 4000]).unwrap();
        let up: Vec<_> = duo
            .client_says()
            .into_iter()
            .map(|mut p| {
                if p.tuple.local == client_address() {
                    p.tuple.local = outside;
                }
                p
            })
            .collect();
        duo.tell_server(up);
        let down: Vec<_> = duo
            .server_says()
            .into_iter()
            .map(|mut p| {
                if p.tuple.peer == outside {
                    p.tuple.peer = client_address();
                }
                p
            })
            .collect();
        duo.tell_client(down);
        duo.wait_alone(ms(20));
    }
    assert_eq!(seen(&mut duo), [Some(outside), Some(local)]);
}

#[test]
fn a_lone_acknowledgement_from_a_new_port_earns_the_client_a_challenge() {
    let mut duo = Duo::new();
    duo.wait(ms(200));
    let id = duo.server_connection().open(Dir::Uni).unwrap();
    // The first data begins the search for the MTU, which is over before the ACK.
    duo.server_connection().write(id, &[1; 1000]).unwrap();
    duo.wait(ms(1000));
    duo.server_connection().write(id, &[1; 4000]).unwrap();
    let down = duo.server_says();
    duo.tell_client(down);
    // A client that only downloads has no more than this to say, and repeats nothing.
    let mut ack = duo.client_says().pop().unwrap();
    assert!(ack.bytes.len() < 60, "{} bytes", ack.bytes.len());
    ack.tuple.local.set_port(7000);
    let (outside, earned) = (ack.tuple.local, 3 * ack.bytes.len());
    duo.tell_server([ack]);
    let down = duo.server_says();
    let there: Vec<_> = down.into_iter().filter(|p| p.tuple.peer == outside).collect();
    assert!(!there.is_empty(), "the server has to ask who is there");
    assert!(
        there.iter().map(|p| p.bytes.len()).sum::<usize>() <= earned,
        "RFC 9000 §8: no more than three times as much"
    );
    duo.tell_client(there.into_iter().map(|mut p| {
        p.tuple.peer = client_address();
        p
    }));
    let up = duo.client_says();
    duo.tell_server(up.into_iter().map(|mut p| {
        p.tuple.local = outside;
        p
    }));
    let path = duo.server_connection().path_stats().next().unwrap();
    assert!(path.validated && path.tuple.peer == outside, "{path:?}");
}

#[test]
fn an_address_from_a_client_or_unasked_for_is_a_violation() {
    let frame = Frame::ObservedAddress { seq: 0, address: client_address() };
    assert!(is_violation(&after(TransportConfig::default(), &[frame])));
    let deaf = TransportConfig { address_discovery: false, ..TransportConfig::default() };
    let mut duo = Duo::unlike(deaf, TransportConfig::default(), Admission::default());
    duo.wait(ms(200));
    assert_eq!(duo.connection().path_stats().next().unwrap().observed, None);
}

#[test]
fn a_server_opens_no_path() {
    let mut duo = Duo::new();
    duo.wait(ms(100));
    let tuple = FourTuple { local: server_address(), peer: client_address() };
    let now = duo.now;
    assert_eq!(duo.server_connection().open_path(now, tuple, false), Err(mpquic_proto::Refused::NotAllowed));
}

#[test]
fn the_answer_to_a_challenge_leaves_on_the_path_it_came_by_under_an_id_of_that_path() {
    let mut duo = Duo::new();
    duo.wait(ms(100));
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    let challenge = duo.client_says();
    assert!(challenge.iter().all(|p| p.tuple.local == local && p.bytes.len() >= 1200));
    duo.tell_server(challenge.clone());
    let answer = duo.server_says();
    assert!(answer.iter().any(|p| p.tuple.peer == local && p.bytes.len() >= 1200));
    // A challenge that comes from elsewhere proves nothing about that place, and the path stays where it is.
    let elsewhere = "203.0.113.6:4000".parse().unwrap();
    let moved: Vec<Packet> = challenge
        .into_iter()
        .map(|p| Packet { tuple: FourTuple { local: elsewhere, ..p.tuple }, ..p })
        .collect();
    duo.tell_server(moved);
    assert!(duo.server_says().iter().all(|p| p.tuple.peer != elsewhere), "a repeated packet draws nothing");
}
