//! One connection, one stream: how fast, and at what price.
//!
//! The time runs at the client from the first write to the server's word that it has everything (up), or from the
//! request to the last byte (down). The CPU time of each end is that of its whole process between the opening of the
//! stream and the end of the transfer; on loopback the sender's share includes the kernel's receive path.

use super::transfer::{CPU_CLIENT, CPU_SERVER, FIGURES, TOKEN, drain, write};
use super::{Measured, Test, measured};
use crate::host::CpuClock;
use crate::role::Job;
use crate::stack::{Endpoint, Later};
use std::net::SocketAddr;
use tokio::time::Instant;

/// Room of a read.
const ROOM: usize = 128 * 1024;

pub(super) const UP: Test = Test {
    name: "bulk_up",
    about: "one connection, one stream, client to server",
    figures: FIGURES,
    amount: |options| options.bytes,
    second_try: None,
    server: |endpoint, (), job| serve(endpoint, job, true),
    client: |endpoint, server, job| ask(endpoint, server, job, true),
};

pub(super) const DOWN: Test = Test {
    name: "bulk_down",
    about: "one connection, one stream, server to client",
    server: |endpoint, (), job| serve(endpoint, job, false),
    client: |endpoint, server, job| ask(endpoint, server, job, false),
    ..UP
};

fn ask<'a>(endpoint: &'a dyn Endpoint, server: SocketAddr, job: &'a Job, up: bool) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = endpoint.connect(server).await?;
        let (mut send, mut recv) = connection.open().await?;
        let (cpu, start) = (CpuClock::start(), Instant::now());
        let (sent, wanted) = if up { (job.amount, TOKEN) } else { (TOKEN, job.amount) };
        write(&mut *send, sent).await?;
        drain(&mut *recv, ROOM, wanted).await?;
        let seconds = start.elapsed().as_secs_f64();
        let cpu = cpu.elapsed();
        connection.close();
        let gigabytes = job.amount as f64 / 1e9;
        Ok(measured([("gbps", 8.0 * gigabytes / seconds), (CPU_CLIENT, cpu / gigabytes)]))
    })
}

fn serve<'a>(endpoint: &'a dyn Endpoint, job: &'a Job, up: bool) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = endpoint.accept().await?;
        let (mut send, mut recv) = connection.accept().await?;
        let cpu = CpuClock::start();
        let (wanted, sent) = if up { (job.amount, TOKEN) } else { (TOKEN, job.amount) };
        drain(&mut *recv, ROOM, wanted).await?;
        write(&mut *send, sent).await?;
        connection.closed().await?;
        Ok(measured([(CPU_SERVER, cpu.elapsed() * 1e9 / job.amount as f64)]))
    })
}
