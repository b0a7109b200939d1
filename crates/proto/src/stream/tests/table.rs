//! Identifiers, counts and the life of a stream in the table.

use super::{
    KIB, Seen, acked, client, control, converse, events, flush, limits, lost, pack, server, streams,
};
use crate::error::Refused;
use crate::stream::{Absorbed, Read, StreamEvent, Streams};
use mpquic_base::{Dir, Role, StreamId};
use mpquic_wire::Code;

fn server_side(count: u64) -> Streams {
    streams(Role::Server, limits(1 << 20, KIB, count))
}

/// What each frame that speaks to the receiving and the sending half of `id` comes to.
fn verdicts(make: impl Fn() -> Streams, id: StreamId) -> ([Option<Code>; 3], [Option<Code>; 2]) {
    let recv = [
        make().on_stream(id, 0, b"", false).err(),
        make().on_reset_stream(id, 0, 0).err(),
        make().on_stream_data_blocked(id, 0).err(),
    ];
    let send = [make().on_stop_sending(id, 0).err(), make().on_max_stream_data(id, 0).err()];
    (recv.map(|v| v.map(|v| v.code)), send.map(|v| v.map(|v| v.code)))
}

#[test]
fn frames_for_a_half_or_a_stream_that_does_not_exist_are_violations() {
    let state = Some(Code::STREAM_STATE_ERROR);
    let limit = Some(Code::STREAM_LIMIT_ERROR);
    let make = || {
        let mut s = server_side(2);
        s.open(Dir::Bi).unwrap();
        s.open(Dir::Uni).unwrap();
        s
    };
    assert_eq!(verdicts(make, server(Dir::Uni, 0)), ([state; 3], [None; 2]), "send-only");
    assert_eq!(verdicts(make, client(Dir::Uni, 0)), ([None; 3], [state; 2]), "receive-only");
    assert_eq!(verdicts(make, server(Dir::Bi, 0)), ([None; 3], [None; 2]));
    assert_eq!(verdicts(make, server(Dir::Bi, 1)), ([state; 3], [state; 2]), "not opened yet");
    assert_eq!(verdicts(make, server(Dir::Uni, 1)), ([state; 3], [state; 2]), "not opened yet");
    assert_eq!(verdicts(make, client(Dir::Bi, 1)), ([None; 3], [None; 2]), "every frame opens it");
    assert_eq!(verdicts(make, client(Dir::Bi, 2)), ([limit; 3], [limit; 2]));
    assert_eq!(verdicts(make, client(Dir::Uni, 2)), ([limit; 3], [state; 2]));
}

#[test]
fn a_stream_opens_all_lower_ones_of_its_type_and_they_are_accepted_in_order() {
    let mut s = server_side(10);
    s.on_stream(client(Dir::Bi, 3), 0, b"x", false).unwrap();
    s.on_max_stream_data(client(Dir::Bi, 4), 1).unwrap();
    assert_eq!(s.stats().open, 5);
    assert_eq!(events(&mut s), [StreamEvent::Opened(Dir::Bi)], "once, and no more than that yet");
    let accepted: Vec<_> = core::iter::from_fn(|| s.accept(Dir::Bi)).collect();
    assert_eq!(accepted, [0, 1, 2, 3, 4].map(|i| client(Dir::Bi, i)));
    assert_eq!(events(&mut s), [StreamEvent::Readable(client(Dir::Bi, 3))]);
    s.on_stream(client(Dir::Bi, 5), 0, b"x", false).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Opened(Dir::Bi)]);
    assert_eq!(s.accept(Dir::Uni), None);
}

#[test]
fn what_happened_before_a_stream_was_accepted_is_told_then() {
    let mut s = server_side(10);
    let (reset, stopped) = (client(Dir::Uni, 0), client(Dir::Bi, 0));
    s.on_stream(reset, 0, b"x", false).unwrap();
    s.on_reset_stream(reset, 5, 1).unwrap();
    s.on_stop_sending(stopped, 6).unwrap();
    let packets = flush(&mut s);
    acked(&mut s, &packets);
    assert_eq!(events(&mut s), [StreamEvent::Opened(Dir::Uni), StreamEvent::Opened(Dir::Bi)]);
    assert_eq!(s.read(reset, &mut [0; 8]), Err(Refused::UnknownStream), "not accepted yet");
    assert_eq!(s.write(stopped, b"x"), Err(Refused::UnknownStream));
    s.accept(Dir::Uni).unwrap();
    s.accept(Dir::Bi).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Reset(reset, 5), StreamEvent::Stopped(stopped, 6)]);
    assert_eq!(s.read(reset, &mut [0; 8]), Err(Refused::Reset(5)));
    assert_eq!(s.write(stopped, b"x"), Err(Refused::Stopped(6)));
}

#[test]
fn count_credit_returns_only_when_both_halves_are_over_and_the_application_knows() {
    let mut s = server_side(2);
    let id = client(Dir::Bi, 0);
    s.on_stream(id, 0, b"x", true).unwrap();
    s.accept(Dir::Bi).unwrap();
    s.finish(id).unwrap();
    let packets = flush(&mut s);
    acked(&mut s, &packets);
    assert!(!s.has_control(), "nobody has read it");
    s.read(id, &mut [0; 8]).unwrap();
    assert!(!s.has_control(), "nobody has seen its end");
    assert_eq!(s.read(id, &mut [0; 8]), Ok(Read::End));
    let packet = control(&mut s);
    assert_eq!(packet.frames, [Seen::MaxStreams(Dir::Bi, 3)]);
    lost(&mut s, &[packet]);
    assert_eq!(control(&mut s).frames, [Seen::MaxStreams(Dir::Bi, 3)]);
    assert!(s.on_stream(client(Dir::Bi, 2), 0, b"", false).is_ok());
    assert!(s.on_stream(client(Dir::Bi, 3), 0, b"", false).is_err());
}

#[test]
fn opening_and_resetting_streams_wins_a_peer_no_credit() {
    let mut s = server_side(5);
    for index in 0..5 {
        s.on_reset_stream(client(Dir::Uni, index), 1, 0).unwrap();
    }
    assert!(!s.has_control());
    assert_eq!(
        s.on_reset_stream(client(Dir::Uni, 5), 1, 0).err().map(|v| v.code),
        Some(Code::STREAM_LIMIT_ERROR)
    );
    while let Some(id) = s.accept(Dir::Uni) {
        assert_eq!(s.read(id, &mut [0; 8]), Err(Refused::Reset(1)));
    }
    assert_eq!(control(&mut s).frames, [Seen::MaxStreams(Dir::Uni, 10)]);
    assert_eq!(s.stats().open, 0);
}

#[test]
fn a_refused_open_is_reported_once_per_limit_and_hears_when_there_is_room() {
    let mut s = streams(Role::Client, limits(KIB, KIB, 1));
    s.open(Dir::Bi).unwrap();
    assert!(!s.has_control(), "nobody wanted more");
    assert_eq!(s.open(Dir::Bi), Err(Refused::StreamLimit));
    let packet = control(&mut s);
    assert_eq!(packet.frames, [Seen::StreamsBlocked(Dir::Bi, 1)]);
    assert_eq!(s.open(Dir::Bi), Err(Refused::StreamLimit));
    assert!(!s.has_control());
    lost(&mut s, &[packet]);
    assert_eq!(control(&mut s).frames, [Seen::StreamsBlocked(Dir::Bi, 1)]);
    s.on_max_streams(Dir::Bi, 1).unwrap();
    s.on_max_streams(Dir::Uni, 9).unwrap();
    assert_eq!(events(&mut s), []);
    s.on_max_streams(Dir::Bi, 3).unwrap();
    s.on_max_streams(Dir::Bi, 4).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Available(Dir::Bi)]);
    assert_eq!(s.open(Dir::Bi), Ok(client(Dir::Bi, 1)));
}

#[test]
fn counts_that_no_stream_id_can_express_are_malformed() {
    let mut s = server_side(1);
    let encoding = Some(Code::FRAME_ENCODING_ERROR);
    assert_eq!(s.on_max_streams(Dir::Bi, (1 << 60) + 1).err().map(|v| v.code), encoding);
    assert_eq!(s.on_streams_blocked(Dir::Uni, (1 << 60) + 1).err().map(|v| v.code), encoding);
    assert_eq!(s.on_max_streams(Dir::Bi, 1 << 60), Ok(()));
    assert_eq!(s.on_streams_blocked(Dir::Uni, 1 << 60), Ok(()));
}

#[test]
fn late_frames_and_tokens_for_a_stream_that_is_over_are_ignored() {
    let (mut a, mut b) = (streams(Role::Client, limits(KIB, KIB, 2)), server_side(2));
    let id = a.open(Dir::Bi).unwrap();
    a.finish(id).unwrap();
    let packets = flush(&mut a);
    b.on_stream(id, 0, b"", true).unwrap();
    b.accept(Dir::Bi).unwrap();
    b.finish(id).unwrap();
    assert_eq!(b.read(id, &mut [0; 8]), Ok(Read::End));
    acked(&mut a, &packets);
    converse(&mut a, &mut b);
    assert_eq!(a.read(id, &mut [0; 8]), Ok(Read::End));
    events(&mut a);
    assert_eq!((a.stats().open, b.stats().open), (0, 0));
    for s in [&mut a, &mut b] {
        assert_eq!(s.on_stream(id, 0, b"late", true), Ok(Absorbed::Yes));
        assert_eq!(s.on_reset_stream(id, 1, 9), Ok(()));
        assert_eq!(s.on_stop_sending(id, 1), Ok(()));
        assert_eq!(s.on_max_stream_data(id, 1), Ok(()));
        assert_eq!(s.on_stream_data_blocked(id, 1), Ok(()));
    }
    lost(&mut a, &packets);
    acked(&mut a, &packets);
    assert_eq!((a.stats().open, a.sendable().again, a.next_event()), (0, 0, None));
}

#[test]
fn the_application_is_refused_what_does_not_exist() {
    let mut s = server_side(2);
    s.on_stream(client(Dir::Uni, 0), 0, b"", false).unwrap();
    s.accept(Dir::Uni).unwrap();
    let (theirs, ours) = (client(Dir::Uni, 0), s.open(Dir::Uni).unwrap());
    let unknown = Refused::UnknownStream;
    assert_eq!(s.write(theirs, b"x"), Err(unknown));
    assert_eq!(s.finish(theirs), Err(unknown));
    assert_eq!(s.reset(theirs, 0), Err(unknown));
    assert_eq!(s.set_priority(theirs, 1), Err(unknown));
    assert_eq!(s.read(ours, &mut [0; 8]), Err(unknown));
    assert_eq!(s.peek(ours), Err(unknown));
    assert_eq!(s.consume(ours, 1), Err(unknown));
    assert_eq!(s.stop(ours, 1), Err(unknown));
    for id in [server(Dir::Bi, 0), client(Dir::Bi, 7)] {
        assert_eq!(s.write(id, b"x"), Err(unknown));
        assert_eq!(s.read(id, &mut [0; 8]), Err(unknown));
    }
}

#[test]
fn control_frames_that_do_not_fit_wait_for_the_next_packet() {
    let mut s = streams(Role::Client, limits(KIB, KIB, 100));
    let ids: Vec<_> = (0..20).map(|_| s.open(Dir::Uni).unwrap()).collect();
    for id in &ids {
        s.reset(*id, 1000).unwrap();
    }
    let mut seen = Vec::new();
    while s.has_control() {
        let packet = pack(17, |frames| s.write_control(frames));
        assert!(!packet.frames.is_empty() && packet.frames.len() == packet.tokens.len());
        seen.extend(packet.frames);
    }
    assert_eq!(seen, ids.iter().map(|id| Seen::Reset { id: *id, code: 1000, size: 0 }).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_ends_while_queued_leaves_its_queues() {
    let mut s = streams(Role::Client, limits(KIB, KIB, 100));
    let (low, high) = (s.open(Dir::Uni).unwrap(), s.open(Dir::Uni).unwrap());
    s.set_priority(high, 5).unwrap();
    s.write(low, b"sent").unwrap();
    s.write(high, b"never sent").unwrap();
    s.reset(high, 0).unwrap();
    let reset = control(&mut s);
    acked(&mut s, &[reset]);
    assert_eq!((s.stats().open, s.queues.fresh.front()), (1, Some(low)));
    flush(&mut s);
    assert_eq!(s.queues.fresh.front(), None);
}
