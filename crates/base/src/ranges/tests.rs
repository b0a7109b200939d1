use super::RangeSet;
use crate::Rng;
use std::collections::BTreeSet;

#[test]
fn random_inserts_and_removes_agree_with_a_plain_set() {
    for seed in 0..200 {
        let mut rng = Rng::from_number(seed);
        let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
        for _ in 0..200 {
            let start = rng.below(120);
            let range = start..start + rng.below(20);
            match rng.below(4) {
                0 => {
                    set.remove(range.clone());
                    range.for_each(|v| {
                        model.remove(&v);
                    });
                }
                1 if rng.chance(0.1) => {
                    set.remove_below(start);
                    model.retain(|v| *v >= start);
                }
                _ => {
                    let added = range.clone().filter(|v| model.insert(*v)).count() as u64;
                    assert_eq!(set.insert(range), added, "seed {seed}");
                }
            }
            let flat: Vec<u64> = set.iter().flatten().collect();
            assert_eq!(flat, model.iter().copied().collect::<Vec<_>>(), "seed {seed}");
            let apart = set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end < b.start);
            assert!(apart && set.iter().all(|r| !r.is_empty()), "seed {seed}: {set:?}");
            assert_eq!(set.contains(start), model.contains(&start), "seed {seed}");
        }
    }
}

#[test]
fn overlapping_yields_exactly_the_held_parts_of_a_range() {
    let mut set = RangeSet::new();
    for range in [2..5, 7..9, 12..20] {
        set.insert(range);
    }
    let parts = |range| set.overlapping(range).collect::<Vec<_>>();
    assert_eq!(parts(3..14), [3..5, 7..9, 12..14]);
    assert_eq!(parts(5..7), []);
    assert_eq!(parts(8..13), [8..9, 12..13]);
    assert!(parts(14..15).iter().eq([&(14..15)]));
    assert_eq!(parts(0..100), [2..5, 7..9, 12..20]);
    assert_eq!(parts(4..4), []);
}
