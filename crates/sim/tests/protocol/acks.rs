//! How often ACKs come, by order and by wish (draft-ietf-quic-ack-frequency).

use crate::rig::{Duo, Packet, ms};
use mpquic_base::{Dir, Duration, PathId, Role, Time};
use mpquic_proto::{CloseReason, TransportConfig};
use mpquic_wire::frame::AckFrequency;
use mpquic_wire::{Code, Frame, TransportParameters};

const ORDER: AckFrequency =
    AckFrequency { seq: 0, eliciting_threshold: 4, max_ack_delay: 8000, reordering_threshold: 3 };

/// The search begins with the first data. Over before a story does, it sends nothing in between: neither packets that
/// draw acknowledgements of forged numbers, nor such as are counted.
fn search_the_mtu(duo: &mut Duo) {
    duo.wait(ms(200));
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"x").unwrap();
    duo.wait(ms(1000));
    assert_eq!(duo.connection().path_stats().next().unwrap().mtu, 1452);
}

fn connected(client: TransportConfig) -> (Duo, Packet) {
    let mut duo = Duo::unlike(client, TransportConfig::default(), Default::default());
    search_the_mtu(&mut duo);
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"where packets go").unwrap();
    let like = duo.client_says().into_iter().find(Packet::is_short).unwrap();
    duo.tell_server([like.clone()]);
    duo.wait(ms(100));
    (duo, like)
}

/// A server that was told these frames by its client, in a packet of its own each, and what it says at once.
fn told(duo: &mut Duo, like: &Packet, from: u64, packets: &[&[Frame<'_>]]) -> usize {
    for (pn, frames) in (from..).zip(packets) {
        let packet = Duo::forge(like, Role::Client, PathId::ZERO, pn, frames);
        duo.tell_server([packet]);
    }
    duo.server_says().len()
}

/// Numbers go on from 110; those left out before 100 are known to be missing.
fn order(duo: &mut Duo, like: &Packet) {
    told(duo, like, 100, &[&[Frame::AckFrequency(ORDER)]]);
    for pn in 101..110 {
        told(duo, like, pn, &[&[Frame::Ping]]);
    }
    duo.wait_alone(ms(100));
    let _answer = duo.server_says();
}

#[test]
fn a_peer_that_wants_few_acks_gets_few() {
    let (mut duo, like) = connected(TransportConfig::default());
    order(&mut duo, &like);
    let ping: &[Frame<'_>] = &[Frame::Ping];
    assert_eq!(told(&mut duo, &like, 110, &[ping; 4]), 0, "four may wait");
    assert_eq!(told(&mut duo, &like, 114, &[ping]), 1, "and the fifth may not");
    assert_eq!(told(&mut duo, &like, 115, &[ping]), 0);
    duo.wait_alone(ms(7));
    assert_eq!(duo.server_says().len(), 0);
    duo.wait_alone(ms(1));
    assert_eq!(duo.server_says().len(), 1, "after the delay that was asked for");
}

#[test]
fn an_immediate_ack_is_answered_at_once() {
    let (mut duo, like) = connected(TransportConfig::default());
    order(&mut duo, &like);
    assert_eq!(told(&mut duo, &like, 110, &[&[Frame::Ping]]), 0);
    assert_eq!(told(&mut duo, &like, 111, &[&[Frame::ImmediateAck]]), 1);
}

#[test]
fn an_order_holds_for_every_path() {
    let (mut duo, like) = connected(TransportConfig::default());
    order(&mut duo, &like);
    let (now, local) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    let tuple = mpquic_base::FourTuple { local, peer: crate::rig::server_address() };
    let path = duo.connection().open_path(now, tuple, false).unwrap();
    let first = duo.client_says().into_iter().find(|p| p.tuple.local == local).unwrap();
    duo.tell_server([first.clone()]);
    for _ in 0..20 {
        duo.wait_alone(ms(30));
        let (up, down) = (duo.client_says(), duo.server_says());
        // An answer on the first path would tell the client of forged numbers.
        duo.tell_server(up.into_iter().filter(|p| p.tuple.local == local));
        duo.tell_client(down);
    }
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
    let mut answers = Vec::new();
    for pn in 1000..1010 {
        duo.tell_server([Duo::forge(&first, Role::Client, path, pn, &[Frame::Ping])]);
        answers.push(duo.server_says().len());
    }
    // The three numbers that were left out last can be declared lost one by one.
    assert_eq!(answers, [1, 1, 1, 0, 0, 0, 0, 1, 0, 0]);
}

fn closed_with(frames: &[Frame<'_>]) -> Option<Code> {
    let (mut duo, like) = connected(TransportConfig::default());
    told(&mut duo, &like, 100, &[frames]);
    match duo.server_ended() {
        Some(CloseReason::Violation { code, .. }) => Some(*code),
        _ => None,
    }
}

#[test]
fn a_delay_below_what_was_announced_closes_the_connection() {
    let hasty = AckFrequency { max_ack_delay: 10, ..ORDER };
    assert_eq!(closed_with(&[Frame::AckFrequency(hasty)]), Some(Code::PROTOCOL_VIOLATION));
    let endless = AckFrequency { max_ack_delay: 16_384_000, ..ORDER };
    assert_eq!(closed_with(&[Frame::AckFrequency(endless)]), Some(Code::PROTOCOL_VIOLATION));
    assert_eq!(closed_with(&[Frame::AckFrequency(ORDER), Frame::ImmediateAck]), None);
}

/// Sends 20 MB over 200 Mbit/s and 20 ms each way, in steps of a millisecond; answers how many packets went up and down after the
/// slow start, in which nobody asks for fewer ACKs.
fn transfer(config: TransportConfig, how: Option<fn(&mut TransportParameters)>) -> (usize, usize) {
    let mut duo = match how {
        Some(how) => Duo::meddling(config.clone(), config, Role::Server, how),
        None => Duo::with(config, Default::default()),
    };
    search_the_mtu(&mut duo);
    let id = duo.connection().open(Dir::Uni).unwrap();
    let (data, mut written) = (vec![7; 20_000_000], 0);
    let (mut up, mut down) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
    let (mut sent, mut answered, mut line) = (0, 0, Time::ZERO);
    for _ in 0..20_000 {
        written += duo.connection().write(id, &data[written..]).unwrap();
        let (says, answers) = (duo.client_says(), duo.server_says());
        if duo.connection().path_stats().next().unwrap().slow_start {
            (sent, answered) = (0, 0);
        }
        sent += says.len();
        answered += answers.len();
        let due = duo.now + ms(20);
        for packet in says {
            line = line.max(due) + Duration::from_micros(60);
            up.push_back((line, packet));
        }
        down.extend(answers.into_iter().map(|p| (due, p)));
        duo.wait_alone(ms(1));
        let now = duo.now;
        while up.front().is_some_and(|(at, _)| *at <= now) {
            duo.tell_server(up.pop_front().map(|(_, p)| p));
        }
        while down.front().is_some_and(|(at, _)| *at <= now) {
            duo.tell_client(down.pop_front().map(|(_, p)| p));
        }
        let server = duo.accepted.unwrap();
        let id = duo.server.connection(server).and_then(|c| c.accept(Dir::Uni)).unwrap_or(id);
        let mut out = [0; 65_536];
        while let Some(Ok(mpquic_proto::Read::Data(_))) =
            duo.server.connection(server).map(|c| c.read(id, &mut out))
        {}
        if written == data.len() && duo.connection().stream_stats().send_held == 0 {
            return (sent, answered);
        }
    }
    panic!("the transfer never ends");
}

#[test]
fn a_fast_transfer_asks_for_few_acks_and_gets_them() {
    let (sent, answered) = transfer(TransportConfig::default(), None);
    let quiet = TransportConfig { ack_frequency: false, ..TransportConfig::default() };
    let (_, unasked) = transfer(quiet, None);
    assert!(answered * 8 < sent, "{answered} for {sent} packets");
    assert!(answered * 2 < unasked, "{answered} instead of {unasked}");
}

#[test]
fn a_server_that_knows_no_such_frames_is_sent_none() {
    // The server would close the connection.
    let mute = TransportConfig { ack_frequency: false, ..TransportConfig::default() };
    let mut duo = Duo::unlike(TransportConfig::default(), mute, Default::default());
    duo.wait(ms(200));
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, &[1; 200_000]).unwrap();
    duo.wait(ms(500));
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
    assert_eq!(duo.connection().stream_stats().send_held, 0);
}

#[test]
fn a_probe_asks_for_its_ack_at_once() {
    let (mut duo, _) = connected(TransportConfig::default());
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"lost").unwrap();
    assert_eq!(duo.client_says().len(), 1, "and it goes nowhere");
    duo.wait_alone(ms(500));
    let probes = duo.client_says();
    assert!(!probes.is_empty());
    // One probe alone would otherwise wait for a second one, or the delay.
    duo.tell_server(probes.into_iter().take(1));
    assert!(!duo.server_says().is_empty());
}
