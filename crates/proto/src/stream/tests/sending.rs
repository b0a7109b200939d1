//! The sending half through the table.

use super::{
    KIB, Packet, Seen, acked, audit, client, config, control, data, events, flush, limits, lost, pack, parse,
    server, stream_bytes, streams,
};

use crate::error::Refused;
use crate::frames::Frames;
use crate::stream::{SendHints, Sendable, StreamEvent, Streams};
use mpquic_base::pages::PAGE;
use mpquic_base::{Dir, Role, StreamId};

fn writer() -> (Streams, StreamId) {
    let mut s = streams(Role::Client, limits(1 << 20, 1 << 20, 2000));
    let id = s.open(Dir::Uni).unwrap();
    (s, id)
}

/// Offset, length and FIN of the STREAM frames.
fn ranges(packets: &[Packet]) -> Vec<(u64, usize, bool)> {
    let frames = packets.iter().flat_map(|p| &p.frames);
    frames
        .filter_map(|frame| match frame {
            Seen::Stream { offset, data, fin, .. } => Some((*offset, data.len(), *fin)),
            _ => None,
        })
        .collect()
}

#[test]
fn what_was_lost_goes_first_and_in_pieces_that_fit_the_packet_it_now_takes() {
    let (mut s, id) = writer();
    s.write(id, &[1; 3000]).unwrap();
    let first = data(&mut s);
    let len = stream_bytes(core::slice::from_ref(&first), id);
    assert_eq!(s.sendable(), Sendable { fresh: 3000 - len, again: 0 });
    lost(&mut s, &[first]);
    assert_eq!(s.sendable(), Sendable { fresh: 3000 - len, again: len });
    let small = pack(500, |frames| s.write_data(frames));
    let large = data(&mut s);
    let (small, large) = (ranges(&[small]), ranges(&[large]));
    assert_eq!((small[0].0, large[0].0, large[1].0), (0, small[0].1 as u64, len));
    assert_eq!(large[0].1 + small[0].1, usize::try_from(len).unwrap());
    audit(&s, "lost");
}

#[test]
fn a_full_packet_leaves_what_lies_in_its_last_page_to_whoever_seals_it() {
    let (mut s, id) = writer();
    let data: Vec<u8> = (0..5 * PAGE / 2).map(|i| u8::try_from(i % 251).unwrap()).collect();
    assert_eq!(s.write(id, &data), Ok(data.len()));
    let (mut arrived, mut left) = (Vec::new(), Vec::new());
    while s.sendable().fresh > 0 {
        let (mut payload, mut tokens) = (vec![0xaa; 1400], Vec::new());
        let mut frames = Frames::new(&mut payload, &mut tokens).fetching();
        s.write_data(&mut frames);
        let (len, apart) = (frames.len(), frames.apart());
        if let Some(apart) = apart {
            let rest = s.fetch(apart);
            assert_eq!((len, rest.len()), (1400, apart.len));
            payload[1400 - rest.len()..].copy_from_slice(rest);
        }
        left.push(apart.map_or(0, |apart| apart.len));
        for frame in parse(&payload[..len]) {
            let Seen::Stream { data, .. } = frame else { panic!("{frame:?}") };
            arrived.extend(data);
        }
    }
    assert!(arrived == data, "the bytes differ");
    assert_eq!(left.pop(), Some(0), "the last packet is not full");
    let pages = data.len() / PAGE;
    let in_one_piece = left.iter().filter(|left| **left > 1380).count();
    assert_eq!(in_one_piece, left.len() - pages, "but for those that cross into another page");
}

#[test]
fn a_late_acknowledgement_cancels_what_was_to_be_sent_again() {
    let (mut s, id) = writer();
    s.write(id, &[1; 3000]).unwrap();
    s.finish(id).unwrap();
    let packets = flush(&mut s);
    lost(&mut s, &packets);
    assert_eq!(s.sendable().again, 3001);
    acked(&mut s, &packets[1..2]);
    let again = flush(&mut s);
    assert_eq!(stream_bytes(&again, id), 3000 - stream_bytes(&packets[1..2], id));
    acked(&mut s, &packets);
    assert_eq!(events(&mut s), [StreamEvent::Finished(id)]);
    lost(&mut s, &again);
    acked(&mut s, &again);
    assert_eq!((s.sendable(), events(&mut s), s.stats().open), (Sendable::default(), vec![], 0));
}

#[test]
fn bytes_lost_twice_after_a_copy_arrived_stay_delivered() {
    let (mut s, id) = writer();
    s.write(id, &[1; 5000]).unwrap();
    let packets = flush(&mut s);
    acked(&mut s, &packets[2..3]);
    acked(&mut s, &packets[2..3]);
    lost(&mut s, &packets);
    let delivered = stream_bytes(&packets[2..3], id);
    assert_eq!(s.sendable().again, 5000 - delivered);
    audit(&s, "lost after acked");
    let again = flush(&mut s);
    acked(&mut s, &again);
    acked(&mut s, &packets);
    assert_eq!(s.stats().send_held, 0);
}

#[test]
fn the_end_travels_with_the_last_bytes_or_alone_and_again_if_lost() {
    let (mut s, id) = writer();
    s.write(id, b"abc").unwrap();
    let bytes = data(&mut s);
    s.finish(id).unwrap();
    assert_eq!(s.sendable(), Sendable { fresh: 1, again: 0 });
    let fin = data(&mut s);
    assert_eq!(ranges(core::slice::from_ref(&fin)), [(3, 0, true)]);
    assert_eq!(s.sendable(), Sendable::default());
    acked(&mut s, core::slice::from_ref(&bytes));
    lost(&mut s, core::slice::from_ref(&fin));
    assert_eq!(s.sendable(), Sendable { fresh: 0, again: 1 });
    let fin = data(&mut s);
    assert_eq!(ranges(core::slice::from_ref(&fin)), [(3, 0, true)]);
    acked(&mut s, &[fin]);
    assert_eq!(events(&mut s), [StreamEvent::Finished(id)]);
    assert_eq!(s.write(id, b"d"), Err(Refused::Finished));

    let both = s.open(Dir::Uni).unwrap();
    s.write(both, b"abc").unwrap();
    s.finish(both).unwrap();
    assert_eq!(s.finish(both), Err(Refused::Finished));
    assert_eq!(ranges(&[data(&mut s)]), [(0, 3, true)]);
}

#[test]
fn credit_of_stream_and_connection_is_never_exceeded_and_its_end_reported_once_per_limit() {
    let mut s = streams(Role::Client, limits(150, 100, 10));
    let ids = [s.open(Dir::Uni).unwrap(), s.open(Dir::Uni).unwrap()];
    for id in ids {
        s.write(id, &[1; 120]).unwrap();
    }
    assert_eq!(s.sendable().fresh, 150);
    let first = flush(&mut s);
    assert_eq!((stream_bytes(&first, ids[0]), stream_bytes(&first, ids[1])), (100, 50));
    let reports: Vec<_> =
        first.iter().flat_map(|p| &p.frames).filter(|f| !matches!(f, Seen::Stream { .. })).collect();
    assert_eq!(reports, [&Seen::DataBlocked(150), &Seen::StreamDataBlocked(ids[0], 100)]);
    assert!(!s.has_control());
    lost(&mut s, &first[1..]);
    assert_eq!(control(&mut s).frames, [Seen::DataBlocked(150), Seen::StreamDataBlocked(ids[0], 100)]);
    s.on_max_data(140).unwrap();
    s.on_max_stream_data(ids[0], 90).unwrap();
    assert_eq!(s.sendable().fresh, 0, "limits never shrink");
    s.on_max_data(170).unwrap();
    let more = flush(&mut s);
    assert_eq!(stream_bytes(&more, ids[1]), 20);
    assert!(more.iter().flat_map(|p| &p.frames).any(|f| *f == Seen::DataBlocked(170)));
    s.on_max_data(1000).unwrap();
    s.on_max_stream_data(ids[0], 1000).unwrap();
    assert_eq!(ranges(&flush(&mut s)), [(70, 30, false), (100, 20, false)]);
}

#[test]
fn retransmissions_and_a_bare_end_need_no_credit() {
    let mut s = streams(Role::Client, limits(100, 1000, 10));
    let (full, ended) = (s.open(Dir::Uni).unwrap(), s.open(Dir::Bi).unwrap());
    s.write(full, &[1; 200]).unwrap();
    let packets = flush(&mut s);
    lost(&mut s, &packets);
    s.finish(ended).unwrap();
    assert_eq!(s.sendable(), Sendable { fresh: 1, again: 100 });
    assert_eq!(ranges(&flush(&mut s)), [(0, 100, false), (0, 0, true)]);
}

#[test]
fn before_the_peers_limits_are_known_nothing_goes_out_and_nobody_is_blamed() {
    let mut s = Streams::new(Role::Client, config(limits(KIB, KIB, 10)));
    assert_eq!(s.open(Dir::Bi), Err(Refused::StreamLimit));
    assert!(!s.has_control());
    s.on_peer_limits(&limits(10, 0, 1));
    assert_eq!(events(&mut s), [StreamEvent::Available(Dir::Bi)]);
    let id = s.open(Dir::Bi).unwrap();
    assert_eq!(s.write(id, b"early"), Ok(5));
    assert_eq!(control(&mut s).frames, [Seen::StreamDataBlocked(id, 0)]);
    s.on_peer_limits(&limits(10, 3, 1));
    assert_eq!(ranges(&flush(&mut s)), [(0, 3, false)]);

    let mut s = Streams::new(Role::Client, config(limits(KIB, KIB, 10)));
    s.on_stream(server(Dir::Bi, 0), 0, b"", false).unwrap();
    let id = s.accept(Dir::Bi).unwrap();
    s.write(id, b"answer").unwrap();
    assert_eq!((s.sendable(), s.has_control()), (Sendable::default(), false));
    s.on_peer_limits(&limits(10, 4, 1));
    assert_eq!(ranges(&flush(&mut s)), [(0, 4, false)]);
}

#[test]
fn a_reset_stream_sends_its_final_size_until_acknowledged_and_no_byte_more() {
    let (mut s, id) = writer();
    s.write(id, &[1; 3000]).unwrap();
    let first = data(&mut s);
    let size = stream_bytes(core::slice::from_ref(&first), id);
    s.reset(id, 42).unwrap();
    assert_eq!((s.reset(id, 43), s.write(id, b"x")), (Err(Refused::Finished), Err(Refused::Finished)));
    lost(&mut s, core::slice::from_ref(&first));
    s.on_max_stream_data(id, 1 << 30).unwrap();
    assert_eq!((s.sendable(), s.stats().send_held), (Sendable::default(), 0));
    let reset = control(&mut s);
    assert_eq!(reset.frames, [Seen::Reset { id, code: 42, size }]);
    lost(&mut s, core::slice::from_ref(&reset));
    let repeat = control(&mut s);
    assert_eq!(repeat.frames, reset.frames);
    acked(&mut s, &[first, reset.clone()]);
    lost(&mut s, &[repeat, reset]);
    assert_eq!((s.has_control(), s.stats().open, events(&mut s)), (false, 0, vec![]));
}

#[test]
fn a_reset_acknowledged_after_it_was_declared_lost_is_not_sent_again() {
    let (mut s, _) = writer();
    let id = s.open(Dir::Bi).unwrap();
    s.reset(id, 42).unwrap();
    let packet = control(&mut s);
    lost(&mut s, core::slice::from_ref(&packet));
    acked(&mut s, core::slice::from_ref(&packet));
    assert!(!s.has_control());
    lost(&mut s, &[packet]);
    assert!(!s.has_control());
}

#[test]
fn stop_sending_is_answered_with_a_reset_that_carries_its_code() {
    let (mut s, id) = writer();
    s.write(id, &[1; 100]).unwrap();
    s.on_stop_sending(id, 77).unwrap();
    s.on_stop_sending(id, 78).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Stopped(id, 77)]);
    assert_eq!(s.write(id, b"x"), Err(Refused::Stopped(77)));
    assert_eq!(s.reset(id, 1), Err(Refused::Stopped(77)));
    let packets = flush(&mut s);
    assert_eq!(packets[0].frames, [Seen::Reset { id, code: 77, size: 0 }]);
    acked(&mut s, &packets);
    assert_eq!(s.stats().open, 0);
}

#[test]
fn stop_sending_after_everything_was_delivered_changes_nothing() {
    let mut s = streams(Role::Client, limits(KIB, KIB, 10));
    let id = s.open(Dir::Bi).unwrap();
    s.write(id, b"done").unwrap();
    s.finish(id).unwrap();
    let packets = flush(&mut s);
    acked(&mut s, &packets);
    s.on_stop_sending(id, 77).unwrap();
    assert_eq!(events(&mut s), [StreamEvent::Finished(id)]);
    assert!(!s.has_control());
}

#[test]
fn a_higher_priority_goes_first_even_if_it_was_given_while_waiting() {
    let (mut s, low) = writer();
    let high = s.open(Dir::Uni).unwrap();
    for id in [low, high] {
        s.write(id, &[1; 2000]).unwrap();
    }
    data(&mut s);
    s.set_priority(high, 1).unwrap();
    let packets: Vec<_> = (0..2).map(|_| data(&mut s)).collect();
    assert_eq!(stream_bytes(&packets, high), 2000);
    let rest = flush(&mut s);
    assert!(stream_bytes(&rest, low) > 0);
}

#[test]
fn none_of_a_thousand_streams_starves_and_each_gets_its_turn_by_the_batch() {
    let mut s = streams(Role::Client, limits(1 << 30, 1 << 30, 2000));
    s.set_send_hints(SendHints { useful: 1 << 30, ..SendHints::INITIAL });
    s.config.send_buffer_max = 1 << 30;
    let ids: Vec<_> = (0..1000).map(|_| s.open(Dir::Uni).unwrap()).collect();
    let each = 3 * SendHints::TURN_MIN;
    for id in &ids {
        assert_eq!(
            s.write(*id, &vec![1; usize::try_from(each).unwrap()]),
            Ok(usize::try_from(each).unwrap())
        );
    }
    let round = 1000 * (SendHints::TURN_MIN + 1200);
    let mut sent = vec![0; 1000];
    let mut total = 0;
    while total < round {
        for frame in data(&mut s).frames {
            let Seen::Stream { id, data, .. } = frame else { panic!("{frame:?}") };
            sent[usize::try_from(id.index()).unwrap()] += data.len() as u64;
            total += data.len() as u64;
        }
    }
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!(*least >= SendHints::TURN_MIN && *most <= 2 * (SendHints::TURN_MIN + 1200), "{least}..{most}");
    flush(&mut s);
    assert_eq!(s.sendable(), Sendable::default());
}

#[test]
fn a_full_send_buffer_takes_nothing_and_says_when_it_does_again() {
    let mut s = streams(Role::Client, limits(1 << 30, 1 << 30, 2000));
    let id = s.open(Dir::Uni).unwrap();
    let bytes = vec![1; 1 << 20];
    let mut taken = 0;
    loop {
        let n = s.write(id, &bytes).unwrap();
        taken += n;
        if n == 0 {
            break;
        }
    }
    assert!((200 * KIB..=256 * KIB).contains(&(taken as u64)), "{taken}");
    assert_eq!(events(&mut s), []);
    let other = s.open(Dir::Uni).unwrap();
    assert!(s.write(other, &bytes).unwrap() >= 16 * 1024, "one stream does not take everything");
    let packets = flush(&mut s);
    assert_eq!(events(&mut s), [], "in flight is not delivered");
    acked(&mut s, &packets);
    assert_eq!(events(&mut s), [StreamEvent::Writable(id), StreamEvent::Writable(other)]);
    assert_eq!(events(&mut s), [], "once");
    s.set_send_hints(SendHints { useful: 4 << 20, ..SendHints::INITIAL });
    assert_eq!(s.write(id, &bytes), Ok(1 << 20));
}

#[test]
fn where_little_is_wanted_unsent_each_packet_makes_room_whatever_is_in_flight() {
    let mut s = streams(Role::Client, limits(1 << 30, 1 << 30, 2000));
    let id = s.open(Dir::Uni).unwrap();
    s.config.send_buffer_max = 64 << 20;
    s.set_send_hints(SendHints { useful: 32 << 20, unsent: 100 * KIB, ..SendHints::INITIAL });
    let bytes = vec![1; 1 << 20];
    let mut taken = 0;
    for _ in 0..20 {
        let n = s.write(id, &bytes).unwrap() as u64;
        assert!((70 * KIB..=100 * KIB).contains(&n), "{n} with {taken} in flight");
        taken += n;
        assert_eq!(events(&mut s), [], "nothing has left since");
        flush(&mut s);
        assert_eq!(events(&mut s), [StreamEvent::Writable(id)]);
    }
    let others = [0, 1, 2].map(|_| s.open(Dir::Uni).unwrap());
    s.write(id, &bytes).unwrap();
    for other in others {
        assert!(s.write(other, &bytes).unwrap() > 0, "one stream does not take everything");
    }
    assert!(s.sendable().fresh <= 100 * KIB);
}

#[test]
fn streams_whose_readers_stand_still_leave_room_for_the_others() {
    let mut s = streams(Role::Client, limits(1 << 30, 1000, 2000));
    let bytes = vec![1; 1 << 20];
    for _ in 0..100 {
        let id = s.open(Dir::Uni).unwrap();
        s.write(id, &bytes).unwrap();
        let packets = flush(&mut s);
        acked(&mut s, &packets);
    }
    let live = s.open(Dir::Uni).unwrap();
    assert!(s.write(live, &bytes).unwrap() >= 64 * 1024, "{:?}", s.stats());
    assert!(s.stats().send_held <= s.config.send_buffer_max);
}

#[test]
fn acknowledged_bytes_leave_the_buffer_even_if_the_first_ones_are_late() {
    let (mut s, id) = writer();
    s.write(id, &[1; 100_000]).unwrap();
    let packets = flush(&mut s);
    acked(&mut s, &packets[1..]);
    assert_eq!(s.stats().send_held, 100_000, "memory is held");
    assert_eq!(s.sums.moving, stream_bytes(&packets[..1], id), "but the network has room");
    acked(&mut s, &packets[..1]);
    assert_eq!(s.stats().send_held, 0);
    assert_eq!(client(Dir::Uni, 0), id);
}
