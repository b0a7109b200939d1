//! Full TLS 1.3 handshakes, no resumption, some at a time. The server closes each connection as soon as it is up,
//! the client begins the next one when it has seen that, so both ends have done all of the work.

use super::{Better, Figure, Measured, Test, measured};
use crate::Failure;
use crate::host::CpuClock;
use crate::role::Job;
use crate::stack::{Endpoint, Later};
use futures_util::future::try_join_all;
use std::cell::Cell;
use std::net::SocketAddr;
use tokio::time::Instant;

const AT_A_TIME: usize = 8;
const CPU_CLIENT: &str = "cpu_client_us";
const CPU_SERVER: &str = "cpu_server_us";

pub(super) const FULL: Test = Test {
    name: "handshakes",
    about: "full handshakes, 8 at a time",
    figures: &[
        Figure { key: "per_s", title: "per second", better: Better::Higher, digits: 0 },
        Figure { key: CPU_CLIENT, title: "client CPU µs", better: Better::Lower, digits: 0 },
        Figure { key: CPU_SERVER, title: "server CPU µs", better: Better::Lower, digits: 0 },
    ],
    amount: |options| options.handshakes,
    second_try: None,
    server: |endpoint, (), job| serve(endpoint, job),
    client: ask,
};

fn ask<'a>(endpoint: &'a dyn Endpoint, server: SocketAddr, job: &'a Job) -> Later<'a, Measured> {
    Box::pin(async move {
        let left = Left::new(job.amount);
        let left = &left;
        let (cpu, start) = (CpuClock::start(), Instant::now());
        try_join_all((0..AT_A_TIME).map(|_| async move {
            while left.take() {
                let connection = endpoint.connect(server).await?;
                connection.closed().await?;
            }
            Ok::<_, Failure>(())
        }))
        .await?;
        let seconds = start.elapsed().as_secs_f64();
        let each = job.amount as f64;
        Ok(measured([("per_s", each / seconds), (CPU_CLIENT, cpu.elapsed() * 1e6 / each)]))
    })
}

fn serve<'a>(endpoint: &'a dyn Endpoint, job: &'a Job) -> Later<'a, Measured> {
    Box::pin(async move {
        let left = Left::new(job.amount);
        let left = &left;
        let cpu = CpuClock::start();
        try_join_all((0..AT_A_TIME).map(|_| async move {
            while left.take() {
                endpoint.accept().await?.close();
            }
            Ok::<_, Failure>(())
        }))
        .await?;
        Ok(measured([(CPU_SERVER, cpu.elapsed() * 1e6 / job.amount as f64)]))
    })
}

/// Handshakes nobody has begun.
struct Left(Cell<u64>);

impl Left {
    const fn new(amount: u64) -> Self {
        Self(Cell::new(amount))
    }

    fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}
