//! What an idle connection costs: resident memory of each process with that many more connections, divided by them.
//! One connection is made before, so that code and tables which all connections share are not counted.

use super::{Better, Figure, Measured, Test, measured};
use crate::Failure;
use crate::host::resident_bytes;
use crate::role::Job;
use crate::stack::{Connection, Endpoint, Later};
use futures_util::future::try_join_all;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// Made at the same time.
const AT_A_TIME: u64 = 8;
/// Until the last of the handshakes' acknowledgements and new connection IDs have been exchanged.
const SETTLE: Duration = Duration::from_millis(1500);
const SERVER: &str = "kb";
const CLIENT: &str = "kb_client";

pub(super) const IDLE: Test = Test {
    name: "memory",
    about: "idle connections, all between one client process and one server process",
    figures: &[
        Figure { key: SERVER, title: "server KB each", better: Better::Lower, digits: 1 },
        Figure { key: CLIENT, title: "client KB each", better: Better::Lower, digits: 1 },
        Figure { key: "connections", title: "connections", better: Better::Neither, digits: 0 },
    ],
    amount: |options| options.connections,
    second_try: Some(10),
    server: |endpoint, (), job| serve(endpoint, job),
    client: ask,
};

fn ask<'a>(endpoint: &'a dyn Endpoint, server: SocketAddr, job: &'a Job) -> Later<'a, Measured> {
    Box::pin(async move {
        let first = endpoint.connect(server).await?;
        let before = resident_bytes()?;
        let kept = gather(job.amount, || endpoint.connect(server)).await?;
        sleep(SETTLE).await;
        let each = (resident_bytes()? - before) / job.amount as f64;
        first.close();
        drop(kept);
        Ok(measured([(CLIENT, each / 1e3), ("connections", job.amount as f64)]))
    })
}

fn serve<'a>(endpoint: &'a dyn Endpoint, job: &'a Job) -> Later<'a, Measured> {
    Box::pin(async move {
        let first = endpoint.accept().await?;
        let before = resident_bytes()?;
        let kept = gather(job.amount, || endpoint.accept()).await?;
        sleep(SETTLE / 2).await;
        let each = (resident_bytes()? - before) / job.amount as f64;
        first.closed().await?;
        drop(kept);
        Ok(measured([(SERVER, each / 1e3)]))
    })
}

/// That many connections, each from one call of `make`.
async fn gather<'a, F>(amount: u64, make: F) -> Result<Vec<Vec<Box<dyn Connection>>>, Failure>
where
    F: Fn() -> Later<'a, Box<dyn Connection>>,
{
    let make = &make;
    try_join_all((0..AT_A_TIME).map(|worker| async move {
        let mut kept = Vec::new();
        for _ in (worker..amount).step_by(AT_A_TIME as usize) {
            kept.push(make().await?);
        }
        Ok(kept)
    }))
    .await
}
