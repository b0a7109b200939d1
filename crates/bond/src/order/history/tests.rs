use super::*;
use mpquic_base::Rng;
use std::collections::HashSet;

#[test]
fn it_agrees_with_a_set_as_long_as_lateness_grows_gradually() {
    for seed in 0..40 {
        let mut rng = Rng::from_number(seed);
        let mut history = History::new();
        let mut next: u32 = 0u32.wrapping_sub(3000);
        let mut delivered = HashSet::new();
        for step in 0..20_000u32 {
            let reach = 100 + step / 4;
            if rng.chance(0.6) {
                let jump = if rng.chance(0.05) { u32::try_from(rng.below(300)).unwrap() } else { 0 };
                history.advance(next, jump);
                next = next.wrapping_add(jump);
                history.delivered(next);
                delivered.insert(next);
                next = next.wrapping_add(1);
            } else {
                let behind = 1 + u32::try_from(rng.below(u64::from(reach))).unwrap();
                let number = next.wrapping_sub(behind);
                assert_eq!(
                    history.is_first(number, next, behind),
                    delivered.insert(number),
                    "seed {seed}, step {step}, {behind} behind"
                );
            }
        }
        assert!(history.words.len() > WORDS_MIN);
    }
}

#[test]
fn a_flow_without_lateness_stays_small_and_the_ring_has_an_end() {
    let mut history = History::new();
    (0..10_000).for_each(|number| history.delivered(number));
    assert_eq!(history.words.len(), WORDS_MIN);
    assert!(history.is_first(0, 20_000_000, 20_000_000), "what nobody remembers counts as new");
    assert_eq!(history.words.len(), WORDS_MAX);
}

#[test]
fn a_jump_over_the_whole_ring_forgets_all_of_it() {
    let mut history = History::new();
    (0..512).for_each(|number| history.delivered(number));
    history.advance(512, 100_000);
    assert!((1..=512).all(|behind| history.is_first(100_512 - behind, 100_512, behind)));
    assert!((1..=512).all(|behind| !history.is_first(100_512 - behind, 100_512, behind)));
}
