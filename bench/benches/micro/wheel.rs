//! The timing wheel with few and many entries waiting: each step takes the due one out and puts another in.

use criterion::{BenchmarkId, Criterion, Throughput};
use mpquic_base::{Duration, Time};
use mpquic_net::{Lane, Wheel};

/// Between two entries: 44 packets of 1452 bytes at 10 Gbit/s.
const STEP: Duration = Duration::from_micros(51);

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel insert + expire");
    group.throughput(Throughput::Elements(1));
    for waiting in [10_u32, 1_000, 100_000] {
        group.bench_function(BenchmarkId::from_parameter(waiting), |bencher| {
            let mut wheel = Wheel::new(waiting as usize + 1);
            let mut now = Time::ZERO + STEP;
            for i in 1..=waiting {
                wheel.insert(Time::ZERO + STEP * i, Lane::Data, i);
            }
            let horizon = STEP * waiting;
            bencher.iter(|| {
                let due = wheel.pop_due(now).expect("one is due in each step");
                wheel.insert(now + horizon, Lane::Data, due);
                now += STEP;
            });
            assert_eq!(wheel.len(), waiting as usize);
        });
    }
    group.finish();
}
