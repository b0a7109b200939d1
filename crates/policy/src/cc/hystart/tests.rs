use super::{Advice, Duration, HyStart};

fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

/// A round of `acks` acknowledgements with the same RTT; the last advice.
fn round(hystart: &mut HyStart, rtt: u64, acks: u32) -> Advice {
    (0..acks).map(|i| hystart.on_ack(i == 0, ms(rtt), false)).last().unwrap()
}

#[test]
fn a_steady_delay_lets_the_window_double() {
    let mut hystart = HyStart::default();
    for _ in 0..50 {
        assert_eq!(round(&mut hystart, 40, 20), Advice::Double);
    }
}

#[test]
fn an_eighth_more_delay_makes_slow_start_cautious_and_five_rounds_of_it_end_it() {
    let mut hystart = HyStart::default();
    assert_eq!(round(&mut hystart, 80, 10), Advice::Double);
    assert_eq!(round(&mut hystart, 89, 10), Advice::Double, "below 80/8 = 10 ms");
    assert_eq!(round(&mut hystart, 101, 10), Advice::Cautious, "above 89/8 = 11.1 ms");
    for _ in 0..4 {
        assert_eq!(round(&mut hystart, 101, 10), Advice::Cautious);
    }
    assert_eq!(hystart.on_ack(true, ms(101), false), Advice::Leave);
}

#[test]
fn eight_samples_are_needed_to_judge_a_round() {
    let mut hystart = HyStart::default();
    round(&mut hystart, 40, 10);
    assert_eq!(round(&mut hystart, 60, 7), Advice::Double);
    assert_eq!(hystart.on_ack(false, ms(60), false), Advice::Cautious);
}

#[test]
fn acknowledgements_without_a_sample_do_not_count() {
    let mut hystart = HyStart::default();
    round(&mut hystart, 40, 10);
    round(&mut hystart, 60, 7);
    for _ in 0..100 {
        assert_eq!(hystart.on_ack(false, None, false), Advice::Double);
    }
}

#[test]
fn the_delay_that_counts_lies_between_4_and_16_milliseconds() {
    for (base, below, enough) in [(8, 11, 12), (400, 415, 416)] {
        let mut hystart = HyStart::default();
        round(&mut hystart, base, 8);
        assert_eq!(round(&mut hystart, below, 8), Advice::Double, "{base} -> {below} ms");
        let mut hystart = HyStart::default();
        round(&mut hystart, base, 8);
        assert_eq!(round(&mut hystart, enough, 8), Advice::Cautious, "{base} -> {enough} ms");
    }
}

#[test]
fn a_delay_that_was_jitter_resumes_doubling() {
    let mut hystart = HyStart::default();
    round(&mut hystart, 40, 10);
    assert_eq!(round(&mut hystart, 60, 10), Advice::Cautious);
    assert_eq!(round(&mut hystart, 60, 10), Advice::Cautious);
    assert_eq!(round(&mut hystart, 42, 10), Advice::Double);
    assert_eq!(round(&mut hystart, 60, 10), Advice::Cautious, "and is suspicious again later");
}

#[test]
fn delay_while_the_application_is_the_limit_does_not_end_slow_start() {
    let mut hystart = HyStart::default();
    round(&mut hystart, 40, 10);
    for rtt in 5..20 {
        for i in 0..10 {
            assert_eq!(hystart.on_ack(i == 0, ms(10 * rtt), true), Advice::Double);
        }
    }
    assert_eq!(round(&mut hystart, 300, 10), Advice::Cautious);
    for i in 0..100 {
        assert_eq!(
            hystart.on_ack(i % 10 == 0, ms(300), true),
            Advice::Cautious,
            "nothing grew, nothing counts"
        );
    }
    for _ in 0..4 {
        assert_eq!(round(&mut hystart, 300, 10), Advice::Cautious);
    }
    assert_eq!(hystart.on_ack(true, ms(300), true), Advice::Leave);
}
