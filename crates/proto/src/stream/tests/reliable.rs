//! Resets that come after a part of the stream (draft-ietf-quic-reliable-stream-reset-10).

use super::{
    Absorbed, KIB, Packet, Seen, acked, audit, carry, client, control, data, events, flush, limits, lost,
    streams,
};
use crate::error::Refused;
use crate::stream::{Read, StreamEvent, Streams};
use mpquic_base::{Dir, Role, StreamId};
use mpquic_wire::Code;

const ID: StreamId = client(Dir::Uni, 0);

fn writer() -> Streams {
    let mut s = streams(Role::Client, limits(1 << 20, 1 << 20, 10));
    assert_eq!(s.open(Dir::Uni), Ok(ID));
    s
}

fn reader() -> Streams {
    let mut s = streams(Role::Server, limits(64 * KIB, 64 * KIB, 10));
    s.on_stream(ID, 0, b"", false).unwrap();
    assert_eq!(s.accept(Dir::Uni), Some(ID));
    events(&mut s);
    s
}

fn read(s: &mut Streams) -> Result<Read, Refused> {
    s.read(ID, &mut [0; 4096])
}

fn code<T>(result: Result<T, crate::Violation>) -> Option<Code> {
    result.err().map(|violation| violation.code)
}

const fn reset_at(code: u64, size: u64, reliable: u64) -> Seen {
    Seen::ResetAt { id: ID, code, size, reliable }
}

/// Highest offset of the STREAM frames.
fn reach(packets: &[Packet]) -> u64 {
    let ends = packets.iter().flat_map(|p| &p.frames).map(|frame| match frame {
        Seen::Stream { offset, data, .. } => offset + data.len() as u64,
        _ => 0,
    });
    ends.max().unwrap_or(0)
}

#[test]
fn the_reliable_part_is_sent_again_until_it_arrives_and_the_rest_is_not() {
    let mut s = writer();
    s.write(ID, &[1; 5000]).unwrap();
    let first = flush(&mut s);
    s.reset_at(ID, 42, 2000).unwrap();
    assert_eq!(s.write(ID, b"more"), Err(Refused::Finished));
    let reset = control(&mut s);
    assert_eq!(reset.frames, [reset_at(42, 5000, 2000)]);
    lost(&mut s, &first);
    assert_eq!(s.sendable().again, 2000);
    let again = flush(&mut s);
    assert_eq!(reach(&again), 2000);
    acked(&mut s, core::slice::from_ref(&reset));
    assert_eq!(s.stats().open, 1, "the reliable part is on its way");
    lost(&mut s, &again);
    audit(&s, "lost twice");
    let again = flush(&mut s);
    acked(&mut s, &again);
    assert_eq!((s.stats().open, s.stats().held_bytes), (0, 0));
    assert_eq!(events(&mut s), [StreamEvent::Finished(ID)]);
    acked(&mut s, &first);
    lost(&mut s, &[reset]);
    assert!(flush(&mut s).is_empty(), "late news of what is over");
}

#[test]
fn a_reset_waits_for_the_reliable_part_to_be_let_go_by_flow_control() {
    let mut s = streams(Role::Client, limits(1 << 20, 1500, 10));
    s.open(Dir::Uni).unwrap();
    s.write(ID, &[1; 3000]).unwrap();
    let first = flush(&mut s);
    assert_eq!(reach(&first), 1500);
    s.reset_at(ID, 7, 2500).unwrap();
    assert!(flush(&mut s).is_empty());
    s.on_max_stream_data(ID, 2000).unwrap();
    let second = flush(&mut s);
    assert_eq!(reach(&second), 2000);
    assert!(!second.iter().flat_map(|p| &p.frames).any(|frame| matches!(frame, Seen::ResetAt { .. })));
    s.on_max_stream_data(ID, 9000).unwrap();
    let third: Vec<Seen> = flush(&mut s).into_iter().flat_map(|p| p.frames).collect();
    assert!(third.contains(&reset_at(7, 2500, 2500)), "{third:?}");
    assert!(!third.iter().any(|frame| matches!(frame, Seen::Stream { fin: true, .. })));
    audit(&s, "sent");
}

#[test]
fn a_lost_reset_is_repeated_and_only_the_smallest_size_counts() {
    let mut s = writer();
    s.write(ID, &[1; 3000]).unwrap();
    let bytes = flush(&mut s);
    s.reset_at(ID, 5, 2000).unwrap();
    let first = control(&mut s);
    s.reset_at(ID, 6, 2500).unwrap();
    assert!(control(&mut s).frames.is_empty(), "it never grows");
    s.reset_at(ID, 6, 800).unwrap();
    let second = control(&mut s);
    assert_eq!(second.frames, [reset_at(5, 3000, 800)], "code and final size stand");
    lost(&mut s, core::slice::from_ref(&first));
    assert!(control(&mut s).frames.is_empty());
    acked(&mut s, &bytes);
    acked(&mut s, &[first]);
    assert_eq!(s.stats().open, 1, "the peer may not know the smaller one");
    lost(&mut s, &[second]);
    let third = control(&mut s);
    assert_eq!(third.frames, [reset_at(5, 3000, 800)]);
    acked(&mut s, &[third]);
    assert_eq!(s.stats().open, 0);
}

#[test]
fn a_plain_reset_or_a_stop_ends_a_reliable_reset_with_the_same_code() {
    for stop in [false, true] {
        let mut s = writer();
        s.write(ID, &[1; 3000]).unwrap();
        let bytes = flush(&mut s);
        s.reset_at(ID, 5, 2000).unwrap();
        control(&mut s);
        if stop {
            s.on_stop_sending(ID, 9).unwrap();
        } else {
            s.reset(ID, 9).unwrap();
        }
        let told = if stop { vec![StreamEvent::Stopped(ID, 9)] } else { vec![] };
        assert_eq!(events(&mut s), told);
        lost(&mut s, &bytes);
        let packets = flush(&mut s);
        assert_eq!(packets[0].frames, [Seen::Reset { id: ID, code: 5, size: 3000 }]);
        acked(&mut s, &packets);
        assert_eq!(s.stats().open, 0);
    }
}

#[test]
fn a_reset_after_the_end_was_said_keeps_its_final_size() {
    let mut s = writer();
    s.write(ID, &[1; 3000]).unwrap();
    s.finish(ID).unwrap();
    let bytes = flush(&mut s);
    s.reset_at(ID, 5, 9000).unwrap();
    let reset = control(&mut s);
    assert_eq!(reset.frames, [reset_at(5, 3000, 3000)], "no more than was written");
    lost(&mut s, &bytes);
    let again = flush(&mut s);
    acked(&mut s, &again);
    acked(&mut s, &[reset]);
    assert_eq!((s.stats().open, events(&mut s)), (0, vec![StreamEvent::Finished(ID)]));
}

#[test]
fn a_peer_that_does_not_know_such_resets_is_sent_none() {
    let mut s = writer();
    s.allow_reset_at(false);
    s.write(ID, b"data").unwrap();
    assert_eq!(s.reset_at(ID, 5, 2), Err(Refused::NoResetAt));
    assert_eq!(data(&mut s).frames.len(), 1, "and the stream goes on");
}

#[test]
fn the_reliable_part_is_read_and_then_the_reset() {
    let mut s = reader();
    s.on_stream(ID, 0, &[1; 1000], false).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(ID)]);
    s.on_reset_stream_at(ID, 7, 5000, 2000).unwrap();
    assert_eq!(read(&mut s), Ok(Read::Data(1000)));
    assert_eq!(read(&mut s), Ok(Read::Blocked));
    events(&mut s);
    // Beyond the reliable part nothing is kept.
    s.on_stream(ID, 1500, &[3; 3000], false).unwrap();
    audit(&s, "beyond");
    assert_eq!(s.stats().receive_held, 500);
    s.on_stream(ID, 1000, &[2; 500], false).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Readable(ID)]);
    assert_eq!(read(&mut s), Ok(Read::Data(1000)));
    assert_eq!(read(&mut s), Err(Refused::Reset(7)));
    assert_eq!((s.stats().open, s.stats().held_bytes), (0, 0));
}

#[test]
fn a_reset_behind_what_was_read_already_is_told_at_once_and_returns_all_credit() {
    let mut s = reader();
    s.on_stream(ID, 0, &[1; 3000], false).unwrap();
    s.on_stream(ID, 4000, &[1; 1000], false).unwrap();
    events(&mut s);
    assert_eq!(read(&mut s), Ok(Read::Data(3000)));
    s.on_reset_stream_at(ID, 7, 40_000, 2000).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Reset(ID, 7)]);
    assert_eq!((s.stats().receive_held, s.stats().fragments), (0, 0));
    assert_eq!(control(&mut s).frames[0], Seen::MaxData(40_000 + 64 * KIB), "skipped bytes included");
    assert_eq!(read(&mut s), Err(Refused::Reset(7)));
    assert_eq!(s.stats().open, 0);
}

#[test]
fn a_smaller_reliable_size_counts_and_a_larger_one_does_not() {
    let mut s = reader();
    s.on_stream(ID, 0, &[1; 3000], false).unwrap();
    for (reliable, held) in [(2500, 2500), (2800, 2500), (1000, 1000), (2000, 1000)] {
        s.on_reset_stream_at(ID, 7, 5000, reliable).unwrap();
        assert_eq!(s.stats().receive_held, held);
        audit(&s, "shrunk");
    }
    s.on_reset_stream(ID, 7, 5000).unwrap();
    assert_eq!(read(&mut s), Err(Refused::Reset(7)), "a plain one leaves nothing");
}

#[test]
fn a_reset_that_changes_its_code_or_final_size_is_a_violation() {
    let ended = |later: fn(&mut Streams) -> Option<Code>| {
        let mut s = reader();
        s.on_reset_stream_at(ID, 7, 5000, 2000).unwrap();
        later(&mut s)
    };
    assert_eq!(ended(|s| code(s.on_reset_stream_at(ID, 8, 5000, 1000))), Some(Code::STREAM_STATE_ERROR));
    assert_eq!(ended(|s| code(s.on_reset_stream(ID, 8, 5000))), Some(Code::STREAM_STATE_ERROR));
    assert_eq!(ended(|s| code(s.on_reset_stream_at(ID, 7, 5001, 1000))), Some(Code::FINAL_SIZE_ERROR));
    assert_eq!(ended(|s| code(s.on_reset_stream(ID, 7, 4999))), Some(Code::FINAL_SIZE_ERROR));
    assert_eq!(ended(|s| code(s.on_stream(ID, 4999, &[1; 2], false))), Some(Code::FINAL_SIZE_ERROR));
    assert_eq!(ended(|s| code(s.on_stream(ID, 0, &[1; 2], true))), Some(Code::FINAL_SIZE_ERROR));
    assert_eq!(ended(|s| code(s.on_stream(ID, 4000, &[1; 1000], true))), None);
    let mut s = reader();
    s.on_reset_stream(ID, 7, 50).unwrap();
    assert_eq!(code(s.on_reset_stream_at(ID, 8, 50, 10)), Some(Code::STREAM_STATE_ERROR));
}

#[test]
fn a_reset_beyond_the_limits_is_a_violation() {
    let mut s = reader();
    assert_eq!(code(s.on_reset_stream_at(ID, 7, 64 * KIB + 1, 0)), Some(Code::FLOW_CONTROL_ERROR));
    assert_eq!(code(s.on_reset_stream_at(client(Dir::Uni, 50), 7, 1, 0)), Some(Code::STREAM_LIMIT_ERROR));
}

#[test]
fn a_stop_ends_a_reliable_part_that_nobody_wants() {
    let mut s = reader();
    s.on_stream(ID, 0, &[1; 1000], false).unwrap();
    s.on_reset_stream_at(ID, 7, 5000, 2000).unwrap();
    s.stop(ID, 1).unwrap();
    assert_eq!((s.stats().open, s.stats().held_bytes), (0, 0));
    audit(&s, "stopped");
}

#[test]
fn an_unaccepted_stream_tells_its_reliable_part_and_reset_when_it_is_accepted() {
    let mut s = streams(Role::Server, limits(64 * KIB, 64 * KIB, 10));
    s.on_reset_stream_at(ID, 7, 100, 4).unwrap();
    assert_eq!(s.on_stream(ID, 0, b"head and more", false), Ok(Absorbed::Yes));
    assert_eq!(events(&mut s), [StreamEvent::Opened(Dir::Uni)]);
    assert_eq!(s.accept(Dir::Uni), Some(ID));
    assert_eq!(events(&mut s), [StreamEvent::Readable(ID)]);
    assert_eq!((read(&mut s), read(&mut s)), (Ok(Read::Data(4)), Err(Refused::Reset(7))));
}

#[test]
fn both_ends_agree_on_a_reliable_reset() {
    let (mut a, mut b) = (writer(), reader());
    a.write(ID, &[9; 3000]).unwrap();
    a.reset_at(ID, 3, 1234).unwrap();
    let packets = flush(&mut a);
    assert_eq!(reach(&packets), 1234, "what nobody needs is not even sent");
    carry(&mut a, &mut b, &packets);
    assert_eq!((read(&mut b), read(&mut b)), (Ok(Read::Data(1234)), Err(Refused::Reset(3))));
    assert_eq!((a.stats().open, b.stats().open), (0, 0));
}

#[test]
fn after_refused_early_data_the_reset_is_said_again_or_a_plain_one_to_a_peer_that_forgot_it() {
    for still_known in [true, false] {
        let mut s = writer();
        s.write(ID, &[1; 3000]).unwrap();
        s.reset_at(ID, 42, 2000).unwrap();
        let early = flush(&mut s);
        assert!(early.iter().any(|p| p.frames.contains(&reset_at(42, 2000, 2000))));
        s.allow_reset_at(still_known);
        lost(&mut s, &early);
        s.rewind(Some(&limits(1 << 20, 1 << 20, 10)));
        audit(&s, "begun anew");
        let again = flush(&mut s);
        if still_known {
            assert_eq!(reach(&again), 2000);
            assert!(again.iter().any(|p| p.frames.contains(&reset_at(42, 2000, 2000))));
        } else {
            let frames: Vec<_> = again.iter().flat_map(|p| &p.frames).collect();
            assert_eq!(frames, [&Seen::Reset { id: ID, code: 42, size: 0 }]);
        }
        acked(&mut s, &again);
        assert_eq!((s.stats().open, s.stats().held_bytes), (0, 0));
        assert_eq!(events(&mut s).contains(&StreamEvent::Finished(ID)), still_known);
    }
}
