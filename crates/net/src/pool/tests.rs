use super::{Pool, PoolConfig};
use mpquic_base::Rng;

fn pool(initial: usize, max: usize) -> Pool {
    Pool::new(PoolConfig { block_bytes: 128, initial, max })
}

#[test]
fn a_dropped_slot_is_the_next_one_taken_and_nothing_is_allocated_for_it() {
    let pool = pool(1, 4);
    let mut slot = pool.take().unwrap();
    slot[0] = 7;
    drop(slot);
    assert_eq!(pool.take().unwrap()[0], 7);
    assert_eq!(pool.stats().allocated, 1);
}

#[test]
fn an_exhausted_pool_refuses_counts_and_recovers() {
    let pool = pool(0, 3);
    let held: Vec<_> = core::iter::from_fn(|| pool.take()).collect();
    assert_eq!(held.len(), 3);
    assert_eq!((pool.stats().allocated, pool.stats().free, pool.stats().exhausted), (3, 0, 1));
    assert!(pool.take().is_none());
    assert_eq!(pool.stats().exhausted, 2);
    drop(held);
    assert_eq!(pool.stats().free, 3);
    assert!(pool.take().is_some());
}

#[test]
fn the_limit_binds_the_initial_blocks_too() {
    let pool = pool(10, 2);
    assert_eq!((pool.stats().allocated, pool.stats().free), (2, 2));
}

#[test]
fn a_slot_may_outlive_every_handle_of_its_pool() {
    let pool = pool(1, 1);
    let mut slot = pool.take().unwrap();
    drop(pool);
    slot[127] = 1;
    assert_eq!(slot.len(), 128);
}

#[test]
fn blocks_are_conserved_over_random_takes_and_drops() {
    for seed in 0..200 {
        let mut rng = Rng::from_number(seed);
        let pool = pool(usize::try_from(rng.below(8)).unwrap(), 16);
        let mut held = Vec::new();
        for step in 0..500 {
            if rng.chance(0.55) {
                held.extend(pool.take());
            } else if !held.is_empty() {
                let index = usize::try_from(rng.below(held.len() as u64)).unwrap();
                held.swap_remove(index);
            }
            let stats = pool.stats();
            assert_eq!(stats.allocated, stats.free + held.len(), "seed {seed} step {step}");
            assert!(stats.allocated <= 16, "seed {seed} step {step}");
            assert!(held.iter().all(|slot| slot.len() == 128), "seed {seed} step {step}");
        }
        drop(held);
        assert_eq!(pool.stats().free, pool.stats().allocated, "seed {seed}");
    }
}
