//! Which packets count as seen, what is reported, and when.

use super::{AckQueue, RANGES_MAX};
use crate::ack_frequency::AckRules;
use core::ops::Range;
use mpquic_base::{Duration, Ecn, Time};

const DELAY: AckRules = AckRules::unasked(Duration::from_millis(25));

const fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// An ack-eliciting packet without a mark, whose ACK may wait.
fn receive(acks: &mut AckQueue, ms: u64, pn: u64) {
    acks.on_packet(at(ms), pn, true, Ecn::NotEct, Some(DELAY));
}

/// A queue that has received packets `0..n` and sent its ACK.
fn quiet(n: u64) -> AckQueue {
    let mut acks = AckQueue::new();
    for pn in 0..n {
        receive(&mut acks, 0, pn);
    }
    acks.on_ack_sent();
    acks
}

fn ranges(acks: &AckQueue) -> Vec<Range<u64>> {
    acks.ranges().collect()
}

fn only_range(acks: &AckQueue) -> Range<u64> {
    let ranges = ranges(acks);
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    ranges[0].clone()
}

#[test]
fn a_number_seen_before_is_a_duplicate_and_a_gap_is_not() {
    let mut acks = AckQueue::new();
    assert!(!acks.is_duplicate(0));
    receive(&mut acks, 0, 0);
    receive(&mut acks, 0, 2);
    assert!(acks.is_duplicate(0) && acks.is_duplicate(2));
    assert!(!acks.is_duplicate(1) && !acks.is_duplicate(3));
}

#[test]
fn the_first_packet_may_wait_and_the_second_may_not() {
    let mut acks = AckQueue::new();
    assert!(!acks.is_pending());
    receive(&mut acks, 10, 0);
    assert!(acks.is_pending() && !acks.is_due(at(34)));
    assert_eq!(acks.due_at(), Some(at(35)));
    receive(&mut acks, 12, 1);
    assert_eq!(acks.due_at(), Some(at(12)));
    assert!(acks.is_due(at(12)));
}

#[test]
fn an_ack_sent_starts_the_count_of_two_again() {
    let mut acks = quiet(2);
    assert!(!acks.is_pending() && !acks.is_due(Time::NEVER));
    receive(&mut acks, 20, 2);
    assert_eq!(acks.due_at(), Some(at(45)));
    acks.on_ack_sent();
    receive(&mut acks, 50, 3);
    assert_eq!(acks.due_at(), Some(at(75)));
}

#[test]
fn packets_that_elicit_no_ack_never_make_one_due() {
    let mut acks = AckQueue::new();
    for pn in [0, 1, 5, 3] {
        acks.on_packet(at(1), pn, false, Ecn::NotEct, Some(DELAY));
    }
    assert!(!acks.is_pending());
    assert_eq!(ranges(&acks), [5..6, 3..4, 0..2], "but the next ACK reports them");
}

#[test]
fn a_gap_makes_the_ack_due_at_once() {
    let mut acks = quiet(3);
    receive(&mut acks, 7, 4);
    assert_eq!(acks.due_at(), Some(at(7)));
}

#[test]
fn a_packet_behind_the_newest_makes_the_ack_due_at_once() {
    let mut acks = quiet(3);
    acks.on_packet(at(1), 4, false, Ecn::NotEct, Some(DELAY));
    receive(&mut acks, 9, 3);
    assert_eq!(acks.due_at(), Some(at(9)));
}

#[test]
fn a_congestion_mark_makes_the_ack_due_at_once_and_ect_does_not() {
    let mut acks = quiet(3);
    acks.on_packet(at(5), 3, true, Ecn::Ect0, Some(DELAY));
    assert_eq!(acks.due_at(), Some(at(30)));
    acks.on_ack_sent();
    acks.on_packet(at(6), 4, true, Ecn::Ce, Some(DELAY));
    assert_eq!(acks.due_at(), Some(at(6)));
}

#[test]
fn without_a_delay_the_ack_is_due_at_once() {
    let mut acks = quiet(3);
    acks.on_packet(at(5), 3, true, Ecn::NotEct, None);
    assert_eq!(acks.due_at(), Some(at(5)));
}

#[test]
fn a_later_packet_never_puts_the_ack_off() {
    let mut acks = quiet(1);
    receive(&mut acks, 10, 1);
    acks.on_packet(at(20), 2, false, Ecn::NotEct, Some(DELAY));
    assert_eq!(acks.due_at(), Some(at(35)));
    receive(&mut acks, 30, 3);
    receive(&mut acks, 33, 4);
    assert_eq!(acks.due_at(), Some(at(30)));
}

#[test]
fn the_delay_reported_is_that_of_the_largest_number() {
    let mut acks = AckQueue::new();
    receive(&mut acks, 10, 5);
    receive(&mut acks, 18, 4);
    assert_eq!(acks.largest(), Some(5));
    assert_eq!(acks.delay(at(20)), Duration::from_millis(10));
    receive(&mut acks, 19, 6);
    assert_eq!(acks.delay(at(20)), Duration::from_millis(1));
}

#[test]
fn marks_are_counted_by_kind_and_reported_only_once_there_are_any() {
    let mut acks = AckQueue::new();
    receive(&mut acks, 0, 0);
    assert!(acks.ecn().is_none());
    for (pn, ecn) in [Ecn::Ect0, Ecn::Ce, Ecn::Ect1, Ecn::Ect0, Ecn::Ce, Ecn::Ect0].into_iter().enumerate() {
        acks.on_packet(at(0), 1 + pn as u64, pn % 2 == 0, ecn, Some(DELAY));
    }
    let counts = acks.ecn().unwrap();
    assert_eq!((counts.ect0, counts.ect1, counts.ce), (3, 1, 2));
}

#[test]
fn beyond_256_ranges_the_oldest_is_forgotten_and_counts_as_seen() {
    let mut acks = AckQueue::new();
    let bound = RANGES_MAX as u64;
    assert_eq!(bound, 256);
    for i in 0..bound {
        receive(&mut acks, i, 2 * i + 1);
    }
    assert_eq!(ranges(&acks).len(), RANGES_MAX);
    assert!(!acks.is_duplicate(0), "below the oldest range, nothing was forgotten yet");
    receive(&mut acks, 300, 2 * bound + 1);
    let kept = ranges(&acks);
    assert_eq!((kept.len(), kept.first().cloned(), kept.last().cloned()), (256, Some(513..514), Some(3..4)));
    assert!(acks.is_duplicate(0) && acks.is_duplicate(1), "what cannot be told apart is not taken in again");
    assert!(!acks.is_duplicate(2));
}

#[test]
fn a_packet_older_than_all_ranges_kept_is_not_taken_in_twice() {
    let mut acks = AckQueue::new();
    for i in 0..RANGES_MAX as u64 {
        receive(&mut acks, i, 2 * i + 100);
    }
    receive(&mut acks, 300, 50);
    assert_eq!(ranges(&acks).len(), RANGES_MAX);
    assert!(acks.is_duplicate(50) && !acks.is_duplicate(51));
}

#[test]
fn what_the_peer_knows_we_have_is_not_reported_again() {
    let mut acks = quiet(10);
    receive(&mut acks, 1, 12);
    acks.on_ack_acked(9);
    assert_eq!(ranges(&acks), [12..13, 9..10]);
    assert!((0..=9).all(|pn| acks.is_duplicate(pn)));
    assert!(!acks.is_duplicate(10) && !acks.is_duplicate(11));
    assert!(acks.is_pending(), "packet 12 still waits for its ACK");
}

#[test]
fn an_ack_is_never_empty_even_when_the_peer_knows_everything() {
    let mut acks = quiet(10);
    acks.on_ack_acked(9);
    assert_eq!(only_range(&acks), 9..10);
    assert_eq!(acks.largest(), Some(9));
    receive(&mut acks, 3, 10);
    assert_eq!(acks.due_at(), Some(at(28)), "10 follows 9: there is no gap");
}

#[test]
fn news_of_an_older_ack_does_not_lower_the_floor() {
    let mut acks = quiet(10);
    acks.on_ack_acked(8);
    acks.on_ack_acked(3);
    assert!((0..=9).all(|pn| acks.is_duplicate(pn)));
    assert_eq!(only_range(&acks), 8..10);
}

/// The packets of `arrivals` that make an ACK due at once, which is then sent.
fn reported(rules: AckRules, arrivals: &[u64]) -> Vec<u64> {
    let mut acks = AckQueue::new();
    let mut answered = Vec::new();
    for (i, pn) in arrivals.iter().enumerate() {
        let now = at(i as u64);
        acks.on_packet(now, *pn, true, Ecn::NotEct, Some(rules));
        if acks.is_due(now) {
            answered.push(*pn);
            acks.on_ack_sent();
        }
    }
    answered
}

/// Only reordering makes an ACK due.
const fn patient(reordering: u64) -> AckRules {
    AckRules { threshold: 1000, delay: Duration::from_secs(10), reordering }
}

#[test]
fn an_ack_is_due_after_more_packets_than_the_threshold() {
    let rules = |threshold| AckRules { threshold, ..patient(1) };
    let pns: Vec<u64> = (0..12).collect();
    assert_eq!(reported(rules(0), &pns), pns);
    assert_eq!(reported(rules(1), &pns), [1, 3, 5, 7, 9, 11]);
    assert_eq!(reported(rules(4), &pns), [4, 9]);
}

#[test]
fn reordering_is_reported_as_in_the_examples_of_the_draft() {
    assert_eq!(reported(patient(3), &[0, 1, 3, 4, 5, 8, 9, 10]), [5, 9, 10]);
    assert_eq!(reported(patient(5), &[0, 1, 3, 5, 6, 7, 8, 9]), [7, 9]);
    assert_eq!(reported(patient(1), &[0, 2, 3, 5]), [2, 5]);
}

#[test]
fn a_packet_that_was_declared_lost_is_reported_at_once() {
    assert_eq!(reported(patient(3), &[0, 2, 3, 4, 1]), [4, 1]);
    assert_eq!(reported(patient(3), &[0, 3, 1, 2]), [0; 0], "within the threshold nobody was declared lost");
}

#[test]
fn a_threshold_of_zero_reports_no_reordering_until_ranges_are_many() {
    assert_eq!(reported(patient(0), &[5, 0, 9, 3, 20]), [0; 0]);
    let gaps: Vec<u64> = (0..RANGES_MAX as u64).map(|n| n * 2).collect();
    let answered = reported(patient(0), &gaps);
    assert_eq!(answered.first(), Some(&254), "before any range could be forgotten");
}

#[test]
fn the_first_mark_of_several_makes_the_ack_due_at_once_where_acks_are_rare() {
    let mut acks = AckQueue::new();
    let mut due = Vec::new();
    for (pn, ecn) in [Ecn::Ect0, Ecn::Ce, Ecn::Ce, Ecn::Ect0, Ecn::Ce].into_iter().enumerate() {
        acks.on_packet(at(1), pn as u64, true, ecn, Some(patient(1)));
        due.push(acks.is_due(at(1)));
        acks.on_ack_sent();
    }
    assert_eq!(due, [false, true, false, false, true]);
}
