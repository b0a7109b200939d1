//! Our own hot loops, one at a time: what a change to one of them costs or gains, without sockets and other threads.
//!
//! Throughput is given in packets ("elements") or bytes, so that ns per packet can be read off.

#![forbid(unsafe_code)]

mod aead;
mod frames;
mod packets;
mod wheel;

use criterion::{Criterion, criterion_main};
use std::time::Duration;

fn all() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    frames::bench(&mut criterion);
    aead::bench(&mut criterion);
    wheel::bench(&mut criterion);
    packets::bench(&mut criterion);
}

criterion_main!(all);
