//! One byte there and back on a stream of a quiet connection, one at a time.

use super::{Better, Figure, Measured, Test, measured};
use crate::Failure;
use crate::role::Job;
use crate::stack::{Endpoint, Later, Receiver};
use std::net::SocketAddr;
use tokio::time::Instant;

/// Round trips before those that count.
const WARM_UP: u64 = 500;

pub(super) const ECHO: Test = Test {
    name: "latency",
    about: "one byte there and back on an open stream",
    figures: &[
        Figure { key: "p50_us", title: "p50 µs", better: Better::Lower, digits: 1 },
        Figure { key: "p99_us", title: "p99 µs", better: Better::Lower, digits: 1 },
        Figure { key: "p999_us", title: "p99.9 µs", better: Better::Lower, digits: 1 },
    ],
    amount: |options| options.trips,
    second_try: None,
    server: |endpoint, (), job| echo(endpoint, job),
    client: ask,
};

fn ask<'a>(endpoint: &'a dyn Endpoint, server: SocketAddr, job: &'a Job) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = endpoint.connect(server).await?;
        let (mut send, mut recv) = connection.open().await?;
        let mut micros = Vec::new();
        for trip in 0..WARM_UP + job.amount {
            let start = Instant::now();
            send.write_all(&[7]).await?;
            one_byte(&mut *recv).await?;
            if trip >= WARM_UP {
                micros.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        connection.close();
        micros.sort_by(f64::total_cmp);
        let at = |share| percentile(&micros, share);
        Ok(measured([("p50_us", at(0.5)), ("p99_us", at(0.99)), ("p999_us", at(0.999))]))
    })
}

fn echo<'a>(endpoint: &'a dyn Endpoint, job: &'a Job) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = endpoint.accept().await?;
        let (mut send, mut recv) = connection.accept().await?;
        for _ in 0..WARM_UP + job.amount {
            one_byte(&mut *recv).await?;
            send.write_all(&[7]).await?;
        }
        connection.closed().await?;
        Ok(Measured::new())
    })
}

async fn one_byte(recv: &mut dyn Receiver) -> Result<(), Failure> {
    let got = recv.read(&mut [0]).await?;
    if got == Some(1) { Ok(()) } else { Err("the stream ended early".into()) }
}

/// The smallest value that this share of all values does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[test]
fn percentiles_are_values_that_occurred() {
    let values: Vec<f64> = (1..=1000).map(f64::from).collect();
    assert_eq!([0.5, 0.99, 0.999].map(|share| percentile(&values, share)), [500.0, 990.0, 999.0]);
    assert_eq!(percentile(&[3.0], 0.999), 3.0);
}
