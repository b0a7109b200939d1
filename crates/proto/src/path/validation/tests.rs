//! Challenges out, answers in, and the moment to give up.

use super::{CHALLENGES_MAX, RESPONSES_MAX, Validation};
use mpquic_base::{Duration, Rng, Time};
use std::collections::BTreeSet;

const PTO: Duration = Duration::from_millis(300);
const START: Time = Time::from_millis(1000);

/// The next `n` challenges, each at the moment it is due.
fn challenges(validation: &mut Validation, n: usize) -> Vec<[u8; 8]> {
    let mut rng = Rng::from_number(7);
    let next = |_| {
        let now = validation.challenge_at().unwrap();
        validation.next_challenge(now, &mut rng).unwrap()
    };
    (0..n).map(next).collect()
}

#[test]
fn the_first_challenge_is_due_at_once_and_the_next_ones_ever_later() {
    let mut validation = Validation::pending(START, PTO);
    let mut rng = Rng::from_number(1);
    assert!(validation.challenge_due(START));
    assert_eq!(validation.challenge_at(), Some(START));
    let mut times = vec![START];
    for _ in 0..3 {
        let now = *times.last().unwrap();
        assert!(validation.next_challenge(now, &mut rng).is_some());
        assert!(!validation.challenge_due(now));
        assert_eq!(validation.next_challenge(now, &mut rng), None, "one at a time");
        times.push(validation.challenge_at().unwrap());
    }
    let gaps: Vec<_> = times.windows(2).map(|t| t[1].since(t[0]).as_millis()).collect();
    assert_eq!(gaps, [100, 150, 225]);
}

#[test]
fn every_challenge_carries_fresh_data() {
    let sent = challenges(&mut Validation::pending(START, PTO), 20);
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 20);
}

#[test]
fn an_answer_to_any_of_the_last_four_challenges_validates() {
    for which in 0..6 {
        let mut validation = Validation::pending(START, PTO);
        let sent = challenges(&mut validation, 6);
        let remembered = which >= 6 - CHALLENGES_MAX;
        assert_eq!(validation.on_response(sent[which]), remembered, "challenge {which} of 6");
        assert_eq!(validation.is_validated(), remembered);
    }
    assert_eq!(CHALLENGES_MAX, 4);
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut validation = Validation::pending(START, PTO);
    assert!(!validation.on_response([0; 8]), "before any challenge");
    let mut data = challenges(&mut validation, 1)[0];
    data[7] ^= 1;
    assert!(!validation.on_response(data));
    assert!(!validation.is_validated());
}

#[test]
fn a_validated_path_asks_no_more_and_is_never_given_up() {
    let mut validation = Validation::pending(START, PTO);
    let data = challenges(&mut validation, 1)[0];
    assert!(validation.on_response(data));
    assert!(!validation.on_response(data), "the same answer is no news");
    assert!(!validation.challenge_due(Time::NEVER));
    assert_eq!((validation.challenge_at(), validation.give_up_at()), (None, None));
    assert!(!validation.expire(Time::NEVER) && validation.is_validated());
}

#[test]
fn a_silent_path_is_given_up_after_three_ptos_and_once() {
    let mut validation = Validation::pending(START, PTO);
    let data = challenges(&mut validation, 1)[0];
    let end = START + PTO * 3;
    assert_eq!(validation.give_up_at(), Some(end));
    assert!(!validation.expire(end - Duration::from_nanos(1)));
    assert!(validation.expire(end));
    assert!(!validation.expire(Time::NEVER), "given up only once");
    assert!(!validation.on_response(data), "too late");
    assert!(!validation.is_validated() && !validation.challenge_due(Time::NEVER));
    assert_eq!((validation.challenge_at(), validation.give_up_at()), (None, None));
}

#[test]
fn a_new_address_needs_answers_to_new_challenges() {
    let mut validation = Validation::pending(START, PTO);
    let old = challenges(&mut validation, 2);
    let later = START + PTO;
    validation.restart(later, PTO * 2);
    assert!(validation.challenge_due(later));
    assert_eq!(validation.give_up_at(), Some(later + PTO * 6));
    assert!(!validation.on_response(old[0]) && !validation.on_response(old[1]));
    validation.mark_validated();
    assert!(validation.is_validated());
    validation.restart(later, PTO);
    assert!(!validation.is_validated());
}

#[test]
fn responses_go_out_in_order_and_a_flood_of_challenges_queues_only_four() {
    let mut validation = Validation::validated();
    assert!(!validation.has_response());
    for i in 0..100 {
        validation.on_challenge([i; 8]);
    }
    let mut answered = Vec::new();
    while let Some(data) = validation.peek_response() {
        assert!(validation.has_response());
        assert_eq!(validation.peek_response(), Some(data), "a look takes nothing");
        validation.commit_response();
        answered.push(data[0]);
    }
    assert_eq!(answered, [0, 1, 2, 3]);
    assert_eq!(answered.len(), RESPONSES_MAX);
    validation.on_challenge([9; 8]);
    assert_eq!(validation.peek_response(), Some([9; 8]), "room again");
}
