//! The ring of sent packets: by hand, and in step with a plain list that forgets nothing.

use super::{Departure, SentRing, State};
use crate::frames::Token;
use core::ops::Range;
use mpquic_base::{Rng, Time};

/// Packet `n` of a test leaves at `n` milliseconds.
fn packet(n: u64) -> Departure {
    Departure::new(Time::from_millis(n), 1200, true, true)
}

fn token(offset: u64) -> Token {
    Token::Crypto { offset, len: 1 }
}

/// A ring of packets `0..n`, each with one token that bears its number.
fn ring(n: u64) -> SentRing {
    let mut ring = SentRing::new();
    for pn in 0..n {
        ring.push(packet(pn), &[token(pn)]);
    }
    ring
}

/// What an ACK of `range` newly acknowledges; `None` if it was refused.
fn ack(ring: &mut SentRing, range: Range<u64>) -> Option<Vec<u64>> {
    let mut newly = Vec::new();
    ring.acknowledge(range, &mut |pn, _| newly.push(pn), &mut Vec::new()).then_some(newly)
}

fn outstanding(ring: &mut SentRing) -> Vec<u64> {
    ring.outstanding().collect()
}

fn tokens(ring: &SentRing, pn: u64) -> Vec<Token> {
    ring.tokens(pn).collect()
}

#[test]
fn a_repeated_ack_reports_nothing_new() {
    let mut ring = ring(10);
    assert_eq!(ack(&mut ring, 2..5), Some(vec![2, 3, 4]));
    assert_eq!(ack(&mut ring, 2..5), Some(vec![]));
    assert_eq!(ack(&mut ring, 3..4), Some(vec![]));
    assert_eq!(ring.largest_acked(), Some(4));
}

#[test]
fn an_ack_over_earlier_ranges_reports_only_the_gaps_between_them() {
    let mut ring = ring(12);
    assert_eq!(ack(&mut ring, 8..9), Some(vec![8]));
    assert_eq!(ack(&mut ring, 2..4), Some(vec![2, 3]));
    assert_eq!(ack(&mut ring, 5..6), Some(vec![5]));
    assert_eq!(ack(&mut ring, 3..11), Some(vec![4, 6, 7, 9, 10]));
    assert_eq!(ack(&mut ring, 0..12), Some(vec![0, 1, 11]));
}

#[test]
fn the_largest_acked_number_never_falls() {
    let mut ring = ring(10);
    assert_eq!(ring.largest_acked(), None);
    assert_eq!(ack(&mut ring, 7..8), Some(vec![7]));
    assert_eq!(ack(&mut ring, 1..3), Some(vec![1, 2]));
    assert_eq!(ring.largest_acked(), Some(7));
}

#[test]
fn an_ack_of_a_number_that_comes_next_is_refused_and_acknowledges_nothing() {
    let mut ring = ring(3);
    assert_eq!(ack(&mut ring, 0..4), None);
    assert_eq!(ring.largest_acked(), None);
    assert_eq!(outstanding(&mut ring), [0, 1, 2]);
    assert_eq!(ack(&mut ring, 0..3), Some(vec![0, 1, 2]));
}

#[test]
fn an_ack_that_covers_a_skipped_number_is_refused() {
    let mut ring = ring(2);
    ring.skip();
    ring.push(packet(3), &[]);
    assert_eq!(ack(&mut ring, 0..2), Some(vec![0, 1]));
    assert_eq!(ack(&mut ring, 3..4), Some(vec![3]));
    assert_eq!(ack(&mut ring, 2..3), None);
    assert_eq!(ack(&mut ring, 0..4), None);
}

#[test]
fn a_skipped_number_at_the_end_is_still_caught_after_everything_before_it_was_forgotten() {
    let mut ring = ring(2);
    ring.skip();
    assert_eq!(ack(&mut ring, 0..2), Some(vec![0, 1]));
    ring.forget(Time::NEVER);
    assert!(ring.get(1).is_none());
    assert_eq!(ack(&mut ring, 2..3), None);
    assert_eq!(ring.next_pn(), 3);
}

#[test]
fn the_state_before_the_ack_tells_a_late_one_from_a_timely_one() {
    let mut ring = ring(4);
    ring.get_mut(1).unwrap().state = State::Lost;
    ring.get_mut(2).unwrap().state = State::Orphaned;
    let mut seen = Vec::new();
    assert!(ring.acknowledge(0..4, &mut |pn, before| seen.push((pn, before.state)), &mut Vec::new()));
    let expected = [(0, State::Outstanding), (1, State::Lost), (2, State::Orphaned), (3, State::Outstanding)];
    assert_eq!(seen, expected);
    assert!(ring.iter().all(|p| p.state == State::Acked));
}

#[test]
fn outstanding_packets_come_oldest_first_and_without_those_whose_fate_is_known() {
    let mut ring = ring(6);
    ring.skip();
    ring.push(packet(7), &[]);
    ring.get_mut(0).unwrap().state = State::Lost;
    ring.get_mut(4).unwrap().state = State::Orphaned;
    assert_eq!(ack(&mut ring, 2..3), Some(vec![2]));
    assert_eq!(outstanding(&mut ring), [1, 3, 5, 7]);
    assert_eq!(ring.oldest_outstanding(), Some(1));
    assert_eq!(ack(&mut ring, 1..4), Some(vec![1, 3]));
    assert_eq!(ring.oldest_outstanding(), Some(5));
    ring.forget(Time::NEVER);
    assert_eq!(outstanding(&mut ring), [5, 7]);
}

#[test]
fn only_ack_eliciting_packets_in_the_open_keep_a_probe_timer_alive() {
    let mut ring = SentRing::new();
    ring.push(Departure::new(Time::ZERO, 40, false, false), &[]);
    assert!(!ring.has_outstanding_eliciting());
    ring.push(packet(1), &[]);
    assert!(ring.has_outstanding_eliciting());
    assert_eq!(ack(&mut ring, 1..2), Some(vec![1]));
    assert!(!ring.has_outstanding_eliciting());
    assert_eq!(ring.oldest_outstanding(), Some(0));
}

#[test]
fn only_packets_in_flight_weigh_on_the_window() {
    let mut ring = SentRing::new();
    assert_eq!(ring.push(Departure::new(Time::ZERO, 1200, true, true), &[]).flight_bytes(), 1200);
    assert_eq!(ring.push(Departure::new(Time::ZERO, 40, false, false), &[]).flight_bytes(), 0);
}

#[test]
fn forgetting_stops_at_the_oldest_packet_whose_fate_is_open() {
    let mut ring = ring(5);
    assert_eq!(ack(&mut ring, 0..2), Some(vec![0, 1]));
    assert_eq!(ack(&mut ring, 3..4), Some(vec![3]));
    ring.forget(Time::NEVER);
    assert!(ring.get(1).is_none());
    assert!(ring.get(2).is_some() && ring.get(3).is_some());
    assert_eq!(ack(&mut ring, 0..5), Some(vec![2, 4]));
    ring.forget(Time::NEVER);
    assert_eq!((ring.iter().count(), ring.next_pn()), (0, 5));
    assert_eq!(ack(&mut ring, 0..5), Some(vec![]));
}

#[test]
fn lost_packets_are_remembered_until_the_time_given() {
    let mut ring = ring(3);
    for pn in 0..3 {
        ring.get_mut(pn).unwrap().state = if pn == 1 { State::Orphaned } else { State::Lost };
    }
    ring.forget(Time::from_millis(1));
    assert!(ring.get(0).is_none());
    assert!(ring.get(1).is_some(), "packet 1 left at that very time, not before");
    ring.forget(Time::from_millis(2));
    assert!(ring.get(1).is_none());
    assert_eq!(ack(&mut ring, 2..3), Some(vec![2]));
}

#[test]
fn tokens_stay_with_their_packet_while_older_ones_are_forgotten() {
    let mut ring = SentRing::new();
    ring.push(packet(0), &[token(1), token(2)]);
    ring.push(packet(1), &[]);
    ring.skip();
    ring.push(packet(3), &[token(3), token(4), token(5)]);
    ring.push(packet(4), &[token(6)]);
    assert_eq!(tokens(&ring, 0), [token(1), token(2)]);
    assert_eq!(tokens(&ring, 1), []);
    assert_eq!(tokens(&ring, 2), []);
    assert_eq!(ack(&mut ring, 0..2), Some(vec![0, 1]));
    ring.forget(Time::NEVER);
    assert_eq!(tokens(&ring, 0), [], "forgotten with its packet");
    assert_eq!(tokens(&ring, 3), [token(3), token(4), token(5)]);
    assert_eq!(tokens(&ring, 4), [token(6)]);
    assert_eq!(tokens(&ring, 5), [], "not sent yet");
}

#[test]
fn a_ring_may_begin_at_any_number() {
    let mut ring = SentRing::new_at(100);
    assert_eq!(ring.next_pn(), 100);
    ring.push(packet(0), &[token(7)]);
    assert_eq!(tokens(&ring, 100), [token(7)]);
    assert_eq!(tokens(&ring, 99), []);
    assert_eq!(outstanding(&mut ring), [100]);
    assert_eq!(ack(&mut ring, 100..101), Some(vec![100]));
}

/// A list of every packet that ever was, with the obvious answer to each question.
#[derive(Default)]
struct Model {
    packets: Vec<(State, Time, Vec<Token>)>,
    forgotten: usize,
    largest_acked: Option<u64>,
}

impl Model {
    fn acknowledge(&mut self, range: Range<usize>) -> Option<Vec<u64>> {
        if range.end > self.packets.len() {
            return None;
        }
        self.largest_acked = self.largest_acked.max(Some(range.end as u64 - 1));
        let mut newly = Vec::new();
        for pn in range.start.max(self.forgotten)..range.end {
            match self.packets[pn].0 {
                State::Skipped => return None,
                State::Acked => {}
                State::Outstanding | State::Lost | State::Orphaned => {
                    self.packets[pn].0 = State::Acked;
                    newly.push(pn as u64);
                }
            }
        }
        Some(newly)
    }

    fn forget(&mut self, lost_before: Time) {
        while let Some((state, sent_at, _)) = self.packets.get(self.forgotten) {
            let last = self.forgotten + 1 == self.packets.len();
            let stays = match state {
                State::Outstanding => true,
                State::Lost | State::Orphaned => *sent_at >= lost_before,
                State::Skipped => last,
                State::Acked => false,
            };
            if stays {
                break;
            }
            self.forgotten += 1;
        }
    }

    fn covers_skipped(&self, range: Range<usize>) -> bool {
        self.packets.iter().take(range.end).skip(range.start).any(|(state, ..)| *state == State::Skipped)
    }

    fn outstanding(&self) -> Vec<u64> {
        (0..self.packets.len() as u64)
            .filter(|pn| self.packets[usize::try_from(*pn).unwrap()].0 == State::Outstanding)
            .collect()
    }
}

/// One random event, to both; false if it was an ACK that ends the connection.
fn step(rng: &mut Rng, now: u64, ring: &mut SentRing, model: &mut Model) -> Result<bool, String> {
    let sent = model.packets.len() as u64;
    match rng.below(10) {
        0..4 => {
            let frames: Vec<_> = (0..rng.below(4)).map(|i| token(now * 8 + i)).collect();
            ring.push(packet(now), &frames);
            model.packets.push((State::Outstanding, Time::from_millis(now), frames));
        }
        4 if rng.chance(0.1) => {
            ring.skip();
            model.packets.push((State::Skipped, Time::ZERO, Vec::new()));
        }
        4..7 if sent > 0 => {
            let end = sent + u64::from(rng.chance(0.05)) - rng.below(sent.min(20));
            let start = end - 1 - rng.below(end.min(8));
            let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            if model.covers_skipped(range.clone()) && rng.chance(0.9) {
                return Ok(true);
            }
            let (got, want) = (ack(ring, start..end), model.acknowledge(range));
            if got != want {
                return Err(format!("ACK of {start}..{end}: {got:?}, not {want:?}"));
            }
            return Ok(want.is_some());
        }
        7 | 8 => {
            let state = if rng.chance(0.5) { State::Lost } else { State::Orphaned };
            let open = model.outstanding();
            if let Some(pn) = open.get(usize::try_from(rng.below(open.len() as u64)).unwrap()) {
                ring.get_mut(*pn).ok_or("an outstanding packet is gone")?.state = state;
                model.packets[usize::try_from(*pn).unwrap()].0 = state;
            }
        }
        _ => {
            let lost_before = Time::from_millis(now.saturating_sub(rng.below(60)));
            ring.forget(lost_before);
            model.forget(lost_before);
        }
    }
    Ok(true)
}

fn same(ring: &mut SentRing, model: &Model) -> Result<(), String> {
    let check = |same: bool, what: &str| same.then_some(()).ok_or_else(|| format!("{what} differ"));
    let open = model.outstanding();
    check(ring.next_pn() == model.packets.len() as u64, "next numbers")?;
    check(ring.largest_acked() == model.largest_acked, "largest acknowledged numbers")?;
    check(outstanding(ring) == open, "outstanding packets")?;
    check(ring.oldest_outstanding() == open.first().copied(), "oldest packets")?;
    for (pn, (state, _, frames)) in model.packets.iter().enumerate() {
        let kept = pn >= model.forgotten;
        check(ring.get(pn as u64).map(|p| p.state) == kept.then_some(*state), "states")?;
        let expected = if kept { frames.as_slice() } else { &[] };
        check(tokens(ring, pn as u64) == expected, "tokens")?;
    }
    Ok(())
}

#[test]
fn the_ring_agrees_with_a_list_that_forgets_nothing() {
    let mut refused = 0;
    for seed in 0..200 {
        let mut rng = Rng::from_number(seed);
        let (mut ring, mut model) = (SentRing::new(), Model::default());
        for now in 0..300 {
            let outcome = step(&mut rng, now, &mut ring, &mut model);
            if outcome == Ok(false) {
                refused += 1;
                break;
            }
            let outcome = outcome.and_then(|_| same(&mut ring, &model));
            assert_eq!(outcome, Ok(()), "seed {seed}, step {now}");
        }
    }
    assert!((20..180).contains(&refused), "{refused} of 200 runs met a refusal: too few or too many");
}

#[test]
fn packets_that_nobody_need_acknowledge_are_passed_once_and_forgotten_in_the_end() {
    let mut ring = SentRing::new();
    ring.push(packet(0), &[token(0)]);
    for n in 1..4096 * 3 {
        ring.push(Departure::new(Time::from_millis(n), 30, false, false), &[token(n)]);
        assert!(ring.has_outstanding_eliciting() && !ring.is_overgrown());
    }
    assert_eq!(ack(&mut ring, 0..1), Some(vec![0]));
    assert!(!ring.has_outstanding_eliciting());
    for n in 4096 * 3..4096 * 5 {
        ring.push(Departure::new(Time::from_millis(n), 30, false, false), &[token(n)]);
    }
    assert!(ring.is_overgrown());
    let old = ring.older_half();
    ring.forget_below(old.end);
    assert!(ring.len() <= 4096 * 3 && !ring.is_overgrown());
    assert_eq!(tokens(&ring, old.end), [token(old.end)], "tokens keep to their packets");
    assert_eq!(ack(&mut ring, 5..old.end), Some(vec![]), "a late ACK counts for nothing");
    ring.push(packet(9), &[]);
    assert!(ring.has_outstanding_eliciting());
}
