//! Many streams of one connection at once, each with its share of the bytes. Measured as for [`super::bulk`].

use super::transfer::{CPU_CLIENT, CPU_SERVER, FIGURES, TOKEN, drain, write};
use super::{Measured, Test, measured};
use crate::Failure;
use crate::host::CpuClock;
use crate::role::Job;
use crate::stack::{Connection, Endpoint, Later};
use futures_util::future::try_join_all;
use std::net::SocketAddr;
use tokio::time::Instant;

const STREAMS: u64 = 100;
/// Room of a read; small, for there are a hundred of them.
const ROOM: usize = 32 * 1024;

pub(super) const UP: Test = Test {
    name: "streams_up",
    about: "one connection, 100 streams at once, client to server",
    figures: FIGURES,
    amount: |options| options.bytes,
    second_try: None,
    server: |endpoint, (), job| serve(endpoint, job, true),
    client: |endpoint, server, job| ask(endpoint, server, job, true),
};

pub(super) const DOWN: Test = Test {
    name: "streams_down",
    about: "one connection, 100 streams at once, server to client",
    server: |endpoint, (), job| serve(endpoint, job, false),
    client: |endpoint, server, job| ask(endpoint, server, job, false),
    ..UP
};

fn ask<'a>(endpoint: &'a dyn Endpoint, server: SocketAddr, job: &'a Job, up: bool) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = &*endpoint.connect(server).await?;
        let (streams, share) = shares(connection, job);
        let (sent, wanted) = if up { (share, TOKEN) } else { (TOKEN, share) };
        let (cpu, start) = (CpuClock::start(), Instant::now());
        try_join_all((0..streams).map(|_| async move {
            let (mut send, mut recv) = connection.open().await?;
            write(&mut *send, sent).await?;
            drain(&mut *recv, ROOM, wanted).await
        }))
        .await?;
        let seconds = start.elapsed().as_secs_f64();
        let cpu = cpu.elapsed();
        connection.close();
        let gigabytes = (streams * share) as f64 / 1e9;
        Ok(measured([("gbps", 8.0 * gigabytes / seconds), (CPU_CLIENT, cpu / gigabytes)]))
    })
}

fn serve<'a>(endpoint: &'a dyn Endpoint, job: &'a Job, up: bool) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = &*endpoint.accept().await?;
        let (streams, share) = shares(connection, job);
        let (wanted, sent) = if up { (share, TOKEN) } else { (TOKEN, share) };
        let cpu = CpuClock::start();
        try_join_all((0..streams).map(|_| async move {
            let (mut send, mut recv) = connection.accept().await?;
            drain(&mut *recv, ROOM, wanted).await?;
            write(&mut *send, sent).await
        }))
        .await?;
        connection.closed().await?;
        Ok::<_, Failure>(measured([(CPU_SERVER, cpu.elapsed() * 1e9 / (streams * share) as f64)]))
    })
}

/// Streams, and the bytes of each.
fn shares(connection: &dyn Connection, job: &Job) -> (u64, u64) {
    let streams = STREAMS.min(connection.streams_max());
    (streams, (job.amount / streams).max(1))
}
