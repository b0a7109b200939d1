//! The receiving half through the table.

use super::{
    Absorbed, KIB, Seen, acked, audit, client, config, control, converse, data, events, limits, lost, server,
    streams,
};
use crate::error::Refused;
use crate::stream::recv::FRAGMENTS_MAX;
use crate::stream::{Chunk, Read, StreamEvent, Streams};
use mpquic_base::{Dir, Duration, Role, StreamId, Time};
use mpquic_wire::{Code, VARINT_MAX};

const ID: StreamId = client(Dir::Uni, 0);

/// A server with `ID` opened and accepted.
fn reader(data: u64, stream: u64) -> Streams {
    let mut s = streams(Role::Server, limits(data, stream, 10));
    s.on_stream(ID, 0, b"", false).unwrap();
    assert_eq!(s.accept(Dir::Uni), Some(ID));
    events(&mut s);
    s
}

fn read_all(s: &mut Streams, id: StreamId) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 100]);
    while let Ok(Read::Data(n)) = s.read(id, &mut buffer) {
        all.extend_from_slice(&buffer[..n]);
    }
    all
}

fn code<T>(result: Result<T, crate::Violation>) -> Option<Code> {
    result.err().map(|violation| violation.code)
}

#[test]
fn bytes_that_arrive_in_any_order_and_twice_are_read_once_and_in_order() {
    let mut s = reader(KIB, KIB);
    for (offset, data, fin) in [
        (6, "world", true),
        (3, "lo ", false),
        (3, "lo wo", false),
        (0, "hel", false),
        (0, "hello world", true),
    ] {
        assert_eq!(s.on_stream(ID, offset, data.as_bytes(), fin), Ok(Absorbed::Yes));
        audit(&s, data);
    }
    assert_eq!(read_all(&mut s, ID), b"hello world");
    assert_eq!(s.stats().open, 0, "the end was told, the stream is over");
    assert_eq!(s.read(ID, &mut [0; 8]), Err(Refused::UnknownStream));
}

#[test]
fn a_fin_without_data_opens_and_ends_a_stream() {
    let mut s = streams(Role::Server, limits(KIB, KIB, 10));
    s.on_stream(ID, 0, b"", true).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Opened(Dir::Uni)]);
    assert_eq!(s.accept(Dir::Uni), Some(ID));
    assert_eq!(events(&mut s), [StreamEvent::Readable(ID)]);
    assert_eq!(s.read(ID, &mut [0; 8]), Ok(Read::End));
    assert_eq!(s.stats().open, 0);
}

#[test]
fn readable_is_told_once_until_it_was_heard_and_only_for_what_can_be_read() {
    let mut s = reader(KIB, KIB);
    s.on_stream(ID, 1, b"b", false).unwrap();
    assert_eq!(events(&mut s), [], "a hole is not readable");
    s.on_stream(ID, 0, b"a", false).unwrap();
    s.on_stream(ID, 2, b"c", false).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(ID)]);
    s.on_stream(ID, 2, b"c", false).unwrap();
    assert_eq!(events(&mut s), [], "a duplicate is no news");
    s.on_stream(ID, 3, b"d", false).unwrap();
    assert_eq!(read_all(&mut s, ID), b"abcd");
    assert_eq!(events(&mut s), [], "the application was faster than the event");
    s.on_stream(ID, 4, b"", true).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(ID)], "so is the end");
}

#[test]
fn bytes_can_be_read_where_they_lie() {
    let mut s = reader(KIB, KIB);
    s.on_stream(ID, 0, b"abcdef", true).unwrap();
    assert_eq!(s.peek(ID), Ok(Chunk::Data(b"abcdef")));
    s.consume(ID, 2).unwrap();
    assert_eq!(s.peek(ID), Ok(Chunk::Data(b"cdef")));
    s.consume(ID, 1000).unwrap();
    assert_eq!(s.peek(ID), Ok(Chunk::End));
    assert_eq!(s.peek(ID), Err(Refused::UnknownStream), "the end was told");
}

#[test]
fn the_final_size_never_changes() {
    let size = Some(Code::FINAL_SIZE_ERROR);
    for known_by_reset in [false, true] {
        let mut s = reader(KIB, KIB);
        s.on_stream(ID, 2, b"cd", false).unwrap();
        assert_eq!(code(s.on_stream(ID, 0, b"abc", true)), size, "below what was received");
        assert_eq!(code(s.on_reset_stream(ID, 1, 3)), size);
        if known_by_reset {
            s.on_reset_stream(ID, 1, 6).unwrap();
        } else {
            s.on_stream(ID, 6, b"", true).unwrap();
        }
        assert_eq!(code(s.on_stream(ID, 5, b"fg", false)), size, "beyond the end");
        assert_eq!(code(s.on_stream(ID, 4, b"e", true)), size, "another end");
        assert_eq!(code(s.on_reset_stream(ID, 1, 7)), size);
        assert_eq!(code(s.on_reset_stream(ID, 1, 5)), size);
        assert_eq!(s.on_reset_stream(ID, 1, 6), Ok(()));
        assert_eq!(s.on_stream(ID, 4, b"ef", true), Ok(Absorbed::Yes));
    }
}

#[test]
fn the_peer_may_reach_its_limits_and_not_one_byte_further() {
    let flow = Some(Code::FLOW_CONTROL_ERROR);
    let mut s = reader(150, 100);
    assert_eq!(code(s.on_stream(ID, 100, b"x", false)), flow);
    assert_eq!(code(s.on_reset_stream(ID, 1, 101)), flow);
    s.on_stream(ID, 99, b"x", false).unwrap();
    let other = client(Dir::Bi, 0);
    assert_eq!(code(s.on_stream(other, 50, b"x", false)), flow, "the connection's limit");
    assert_eq!(code(s.on_reset_stream(other, 1, 51)), flow);
    s.on_stream(other, 49, b"x", false).unwrap();
    s.on_stream(ID, 0, &[1; 100], false).unwrap();
    s.on_stream(other, 0, &[1; 50], false).unwrap();
    assert_eq!(s.stats().receive_held, 150, "what fills a hole costs nothing");
    assert_eq!(code(s.on_stream(other, 50, b"x", false)), flow);
    assert_eq!(code(s.on_stream(other, VARINT_MAX, b"x", false)), flow);
}

#[test]
fn credit_is_offered_at_half_of_the_window_and_refreshed_when_lost() {
    let mut s = reader(200, 100);
    s.on_stream(ID, 0, &[1; 100], false).unwrap();
    s.read(ID, &mut [0; 49]).unwrap();
    assert!(!s.has_control());
    s.read(ID, &mut [0; 1]).unwrap();
    let packet = control(&mut s);
    assert_eq!(packet.frames, [Seen::MaxStreamData(ID, 150)]);
    s.read(ID, &mut [0; 50]).unwrap();
    lost(&mut s, &[packet]);
    let packet = control(&mut s);
    assert_eq!(packet.frames, [Seen::MaxData(300), Seen::MaxStreamData(ID, 200)]);
    assert!(!s.has_control());
    s.on_stream(ID, 100, &[1; 100], true).unwrap();
    s.read(ID, &mut [0; 99]).unwrap();
    lost(&mut s, &[packet]);
    assert_eq!(control(&mut s).frames, [Seen::MaxData(399)], "no credit for a stream whose end is known");
}

#[test]
fn a_reset_charges_the_gap_and_returns_the_credit() {
    let mut s = reader(200, 100);
    s.on_stream(ID, 0, &[1; 10], false).unwrap();
    s.on_stream(ID, 20, &[1; 10], false).unwrap();
    s.on_reset_stream(ID, 7, 100).unwrap();
    audit(&s, "reset");
    assert_eq!(s.shared.received, 100);
    assert_eq!(s.stats().receive_held, 0);
    assert_eq!(events(&mut s), [StreamEvent::Reset(ID, 7)]);
    assert_eq!(control(&mut s).frames, [Seen::MaxData(300)]);
    s.on_reset_stream(ID, 7, 100).unwrap();
    assert_eq!((s.shared.received, events(&mut s)), (100, vec![]), "once");
    assert_eq!(s.stats().open, 1, "the application has not heard of it");
    assert_eq!(s.read(ID, &mut [0; 8]), Err(Refused::Reset(7)));
    assert_eq!(s.stats().open, 0);
}

#[test]
fn a_reset_is_ignored_only_if_the_end_had_arrived_as_well() {
    let mut s = reader(200, 100);
    s.on_stream(ID, 0, b"all", true).unwrap();
    s.on_reset_stream(ID, 7, 3).unwrap();
    assert_eq!(read_all(&mut s, ID), b"all");

    let mut s = reader(200, 100);
    s.on_stream(ID, 0, b"all", false).unwrap();
    s.on_reset_stream(ID, 7, 3).unwrap();
    assert_eq!(s.read(ID, &mut [0; 8]), Err(Refused::Reset(7)), "nobody said that this is the end");
}

#[test]
fn a_stopped_stream_drops_what_arrives_returns_its_credit_and_asks_until_the_end_is_known() {
    let mut s = reader(200, 100);
    s.on_stream(ID, 10, &[1; 10], false).unwrap();
    s.stop(ID, 9).unwrap();
    assert_eq!(s.read(ID, &mut [0; 8]), Err(Refused::UnknownStream));
    assert_eq!(s.stop(ID, 9), Err(Refused::UnknownStream));
    let stop = control(&mut s);
    assert_eq!(stop.frames, [Seen::Stop { id: ID, code: 9 }]);
    assert!(!s.has_control());
    lost(&mut s, core::slice::from_ref(&stop));
    assert_eq!(control(&mut s).frames, stop.frames);
    s.on_stream(ID, 20, &[1; 80], false).unwrap();
    assert_eq!(s.stats().receive_held, 0);
    assert_eq!(control(&mut s).frames, [Seen::MaxData(300)], "the connection's credit, not the stream's");
    assert_eq!(code(s.on_stream(ID, 100, b"x", false)), Some(Code::FLOW_CONTROL_ERROR));
    s.on_reset_stream(ID, 9, 100).unwrap();
    assert_eq!((s.stats().open, events(&mut s)), (0, vec![]));
    lost(&mut s, &[stop]);
    assert!(!s.has_control(), "nothing is left to stop");
}

#[test]
fn stopping_a_stream_whose_end_is_known_needs_no_frame() {
    let mut s = reader(200, 100);
    s.on_stream(ID, 10, &[1; 10], true).unwrap();
    s.stop(ID, 9).unwrap();
    assert!(!s.has_control());
    assert_eq!(s.stats().open, 0);
}

#[test]
fn confetti_finds_no_room_but_what_continues_the_stream_always_does() {
    let window = 4 * FRAGMENTS_MAX as u64;
    let mut s = reader(window, window);
    for i in 0..FRAGMENTS_MAX as u64 {
        assert_eq!(s.on_stream(ID, 2 + 2 * i, b"x", false), Ok(Absorbed::Yes));
    }
    let (held, received) = (s.stats(), s.shared.received);
    let far = 2 + 2 * FRAGMENTS_MAX as u64;
    assert_eq!(s.on_stream(ID, far, b"x", false), Ok(Absorbed::NoRoom));
    assert_eq!(s.on_stream(ID, far, b"x", true), Ok(Absorbed::NoRoom));
    assert_eq!((s.stats(), s.shared.received), (held, received), "nothing changed");
    assert_eq!(s.on_stream(ID, far - 1, b"xx", false), Ok(Absorbed::Yes), "grows a range that is there");
    assert_eq!(s.on_stream(ID, 0, b"xx", false), Ok(Absorbed::Yes));
    assert_eq!(s.stats().fragments, FRAGMENTS_MAX - 1);
    audit(&s, "confetti");
    assert_eq!(read_all(&mut s, ID), b"xxx");
}

#[test]
fn confetti_on_many_streams_is_bounded_for_all_of_them_together() {
    let mut s = streams(Role::Server, limits(1 << 30, 1 << 20, 10));
    let mut refused = false;
    for i in 0..6 * FRAGMENTS_MAX as u64 {
        let id = client(Dir::Bi, i % 8);
        refused |= s.on_stream(id, 2 + i / 8 * 2, b"x", false) == Ok(Absorbed::NoRoom);
    }
    assert!(refused);
    assert_eq!(s.stats().fragments, 4 * FRAGMENTS_MAX);
    assert_eq!(s.on_stream(client(Dir::Bi, 3), 0, b"xx", false), Ok(Absorbed::Yes));
    for i in 0..8 {
        let id = s.accept(Dir::Bi).unwrap();
        assert_eq!(id, client(Dir::Bi, i));
        s.stop(id, 0).unwrap();
    }
    assert_eq!(s.stats().fragments, 0);
}

#[test]
fn windows_grow_for_a_fast_reader_until_their_caps() {
    let small = limits(20_000, 10_000, 10);
    let mut capped = config(small);
    (capped.receive_window_max, capped.stream_window_max) = (70_000, 60_000);
    let mut b = Streams::new(Role::Server, capped);
    b.on_peer_limits(&small);
    let mut a = streams(Role::Client, small);
    let id = a.open(Dir::Uni).unwrap();
    let mut now = Time::ZERO;
    let mut stream_window = 0;
    for _ in 0..200 {
        a.write(id, &[7; 50_000]).unwrap();
        converse(&mut a, &mut b);
        events(&mut a);
        b.accept(Dir::Uni);
        read_all(&mut b, id);
        b.tune(now, Duration::from_millis(50));
        now += Duration::from_millis(50);
        stream_window = b.table[&id].recv.as_ref().unwrap().window_size();
    }
    assert_eq!((b.stats().receive_window, stream_window), (70_000, 60_000));
}

#[test]
fn a_limit_that_the_peer_may_use_is_one_that_was_sent() {
    let mut s = reader(200, 100);
    s.on_stream(ID, 0, &[1; 100], false).unwrap();
    read_all(&mut s, ID);
    let early = s.on_stream(ID, 100, b"x", false);
    assert_eq!(code(early), Some(Code::FLOW_CONTROL_ERROR), "due, but nobody has told the peer");
    control(&mut s);
    assert_eq!(s.on_stream(ID, 100, b"x", false), Ok(Absorbed::Yes));
}

#[test]
fn both_halves_of_a_stream_end_on_their_own() {
    let (mut a, mut b) =
        (streams(Role::Client, limits(KIB, KIB, 2)), streams(Role::Server, limits(KIB, KIB, 2)));
    let id = b.open(Dir::Bi).unwrap();
    assert_eq!(id, server(Dir::Bi, 0));
    b.write(id, b"question").unwrap();
    b.finish(id).unwrap();
    converse(&mut a, &mut b);
    assert_eq!(a.accept(Dir::Bi), Some(id));
    assert_eq!(read_all(&mut a, id), b"question");
    assert_eq!((a.stats().open, b.stats().open), (1, 1));
    a.write(id, b"answer").unwrap();
    a.finish(id).unwrap();
    let answer = data(&mut a);
    assert_eq!(answer.frames, [Seen::Stream { id, offset: 0, data: b"answer".to_vec(), fin: true }],);
    b.on_stream(id, 0, b"answer", true).unwrap();
    assert_eq!(read_all(&mut b, id), b"answer");
    acked(&mut a, &[answer]);
    assert_eq!((a.stats().open, b.stats().open), (0, 0));
}
