//! What the peer may ask, and what we ask and when.

use super::{AckOrders, AckRules, AckWishes};
use crate::frames::{Frames, Token};
use mpquic_base::{Duration, PathId, Rate, Time};
use mpquic_policy::sched::PathView;
use mpquic_wire::frame::AckFrequency;
use mpquic_wire::{Code, Frame, Reader};

const OURS: Duration = Duration::from_millis(25);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn wish(seq: u64, max_ack_delay: u64) -> AckFrequency {
    AckFrequency { seq, eliciting_threshold: 9, max_ack_delay, reordering_threshold: 3 }
}

#[test]
fn only_the_newest_order_counts() {
    let mut orders = AckOrders::new(OURS, true);
    assert_eq!(orders.rules(), AckRules { threshold: 1, delay: OURS, reordering: 1 });
    orders.on_ack_frequency(&wish(5, 4000), OURS).unwrap();
    let heeded = AckRules { threshold: 9, delay: ms(4), reordering: 3 };
    assert_eq!(orders.rules(), heeded);
    for old in [5, 4, 0] {
        orders.on_ack_frequency(&wish(old, 8000), OURS).unwrap();
        assert_eq!(orders.rules(), heeded, "number {old}");
    }
    orders.on_ack_frequency(&wish(6, 8000), OURS).unwrap();
    assert_eq!(orders.rules().delay, ms(8));
    let much = AckFrequency { eliciting_threshold: 1 << 61, ..wish(7, 8000) };
    orders.on_ack_frequency(&much, OURS).unwrap();
    assert_eq!(orders.rules().threshold, u32::MAX);
}

#[test]
fn a_delay_that_was_not_offered_is_a_violation_even_in_old_news() {
    let mut orders = AckOrders::new(OURS, true);
    orders.on_ack_frequency(&wish(3, 1000), OURS).unwrap();
    orders.on_ack_frequency(&wish(4, 16_383_999), OURS).unwrap();
    for (seq, delay) in [(5, 999), (5, 0), (5, 16_384_000), (0, 999), (5, (1 << 62) - 1)] {
        let violation = orders.on_ack_frequency(&wish(seq, delay), OURS).unwrap_err();
        assert_eq!(violation.code, Code::PROTOCOL_VIOLATION, "{delay}");
    }
    let quick = ms(0);
    assert!(AckOrders::min_ack_delay(quick) <= quick, "we never announce more than our max_ack_delay");
}

#[test]
fn whoever_did_not_announce_it_takes_no_orders() {
    let mut orders = AckOrders::new(OURS, false);
    assert_eq!(orders.on_ack_frequency(&wish(0, 4000), OURS).unwrap_err().code, Code::PROTOCOL_VIOLATION);
    assert_eq!(orders.check_announced().unwrap_err().code, Code::PROTOCOL_VIOLATION);
}

fn busy(mbit: u64, rtt: u64) -> PathView {
    let rate = Rate::from_bytes_per_second(mbit * 125_000);
    let carried = rate.bytes_in(ms(rtt));
    PathView {
        id: PathId::ZERO,
        srtt: ms(rtt),
        rttvar: Duration::ZERO,
        min_rtt: ms(rtt),
        window: carried * 2,
        in_flight: carried,
        window_left: carried,
        rate,
        loss: 0.0,
        mtu: 1250,
        backup: false,
        ready_at: Time::ZERO,
        can_send: true,
    }
}

fn said(wishes: &mut AckWishes) -> Option<AckFrequency> {
    let (mut bytes, mut tokens) = ([0; 100], Vec::new());
    let mut frames = Frames::new(&mut bytes, &mut tokens);
    wishes.write(&mut frames);
    let len = frames.len();
    if len == 0 {
        assert!(tokens.is_empty());
        return None;
    }
    match Frame::read(&mut Reader::new(&bytes[..len])).unwrap() {
        Frame::AckFrequency(frame) => {
            assert_eq!(tokens, [Token::AckFrequency(frame.seq)]);
            Some(frame)
        }
        other => panic!("{other:?}"),
    }
}

fn started() -> AckWishes {
    let mut wishes = AckWishes::new();
    wishes.start(Some(ms(1)), OURS);
    wishes
}

#[test]
fn a_fast_path_is_reason_to_ask_and_small_changes_are_not() {
    let mut wishes = started();
    assert!(wishes.wants_review(Time::ZERO));
    wishes.review(Time::ZERO, &[busy(100, 40)], 3);
    assert!(!wishes.wants_review(Time::from_millis(39)), "once per round trip");
    let frame = said(&mut wishes).unwrap();
    assert_eq!(
        frame,
        AckFrequency { seq: 0, eliciting_threshold: 49, max_ack_delay: 10_000, reordering_threshold: 3 }
    );
    assert!(!wishes.wants_review(Time::from_millis(100)), "one at a time");
    wishes.acked(0);
    for (at, mbit) in [(100, 120), (200, 80), (300, 100)] {
        assert!(wishes.wants_review(Time::from_millis(at)));
        wishes.review(Time::from_millis(at), &[busy(mbit, 40)], 3);
        assert_eq!(said(&mut wishes), None, "{mbit}");
    }
    wishes.review(Time::from_millis(400), &[busy(100, 40)], 9);
    assert_eq!(said(&mut wishes).unwrap().reordering_threshold, 9, "loss detection grew more patient");
    wishes.acked(1);
    wishes.review(Time::from_millis(500), &[busy(1, 40)], 9);
    let frame = said(&mut wishes).unwrap();
    assert_eq!((frame.seq, frame.eliciting_threshold, frame.reordering_threshold), (2, 1, 1), "as ever");
}

#[test]
fn a_slow_path_is_no_reason_to_say_anything() {
    let mut wishes = started();
    wishes.review(Time::ZERO, &[busy(5, 40)], 7);
    assert!(!wishes.wants());
    assert_eq!(said(&mut wishes), None);
}

#[test]
fn a_peer_without_the_extension_is_never_asked() {
    let mut wishes = AckWishes::new();
    wishes.start(None, OURS);
    assert!(!wishes.wants_review(Time::NEVER));
    wishes.review(Time::ZERO, &[busy(1000, 40)], 3);
    assert_eq!(said(&mut wishes), None);
    assert!(!wishes.are_heeded() && !wishes.takes_tail(Time::NEVER, ms(1)));
    assert_eq!(wishes.delay(), OURS);
}

#[test]
fn a_lost_wish_is_said_again_under_a_new_number() {
    let mut wishes = started();
    wishes.review(Time::ZERO, &[busy(100, 40)], 3);
    let first = said(&mut wishes).unwrap();
    wishes.lost(first.seq);
    let second = said(&mut wishes).unwrap();
    assert_eq!(second, AckFrequency { seq: 1, ..first });
    wishes.lost(0);
    assert_eq!(said(&mut wishes), None, "it was overtaken");
    wishes.acked(1);
    wishes.lost(1);
    assert_eq!(said(&mut wishes), None, "it arrived after all");
}

#[test]
fn the_longer_delay_counts_until_the_shorter_one_is_acknowledged() {
    let mut wishes = started();
    wishes.review(Time::ZERO, &[busy(100, 40)], 3);
    assert_eq!(wishes.delay(), OURS);
    assert!(said(&mut wishes).is_some());
    assert_eq!(wishes.delay(), OURS);
    wishes.acked(0);
    assert_eq!(wishes.delay(), ms(10));
    wishes.review(Time::from_millis(100), &[busy(100, 90)], 3);
    assert!(said(&mut wishes).is_some());
    assert_eq!(
        wishes.delay(),
        Duration::from_micros(22_500),
        "a longer one counts as soon as it is on its way"
    );
    wishes.lost(1);
    assert_eq!(wishes.delay(), Duration::from_micros(22_500), "it may have arrived nevertheless");
}

#[test]
fn an_immediate_ack_is_asked_for_once_per_round_trip_and_only_where_acks_are_rare() {
    let mut wishes = started();
    assert!(!wishes.takes_tail(Time::from_millis(1), ms(40)));
    wishes.review(Time::ZERO, &[busy(100, 40)], 3);
    assert!(wishes.takes_tail(Time::from_millis(1), ms(40)));
    assert!(!wishes.takes_tail(Time::from_millis(40), ms(40)));
    assert!(wishes.takes_tail(Time::from_millis(41), ms(40)));
}
