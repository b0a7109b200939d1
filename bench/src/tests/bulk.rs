//! One connection, one stream: how fast, and at what price.
//!
//! The time runs at the client from the first write to the server's word that it has everything (up), or from the
//! request to the last byte (down). The CPU time of each end is that of its whole process between the opening of the
//! stream and the end of the transfer; on loopback the sender's share includes the kernel's receive path.

use super::{Figure, Measured, Test};
use crate::Failure;
use crate::host::CpuClock;
use crate::role::Job;
use crate::stack::{Endpoint, Later, Receiver, Sender};
use std::net::SocketAddr;
use tokio::time::Instant;

const FIGURES: &[Figure] = &[
    Figure { key: "gbps", title: "Gbit/s" },
    Figure { key: CPU_CLIENT, title: "client CPU s/GB" },
    Figure { key: CPU_SERVER, title: "server CPU s/GB" },
];
const CPU_CLIENT: &str = "cpu_client_s_per_gb";
const CPU_SERVER: &str = "cpu_server_s_per_gb";
/// Bytes per write, and the room that a read is given.
const PIECE: usize = 128 * 1024;
/// What goes the other way: the request of a download, the receipt of an upload.
const TOKEN: u64 = 1;

pub(super) const UP: Test = Test {
    name: "bulk_up",
    about: "one connection, one stream, client to server",
    figures: FIGURES,
    server: |endpoint, (), job| serve(endpoint, job, true),
    client: |endpoint, server, job| ask(endpoint, server, job, true),
};

pub(super) const DOWN: Test = Test {
    name: "bulk_down",
    about: "one connection, one stream, server to client",
    figures: FIGURES,
    server: |endpoint, (), job| serve(endpoint, job, false),
    client: |endpoint, server, job| ask(endpoint, server, job, false),
};

fn ask<'a>(endpoint: &'a dyn Endpoint, server: SocketAddr, job: &'a Job, up: bool) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = endpoint.connect(server).await?;
        let (mut send, mut recv) = connection.open().await?;
        let (cpu, start) = (CpuClock::start(), Instant::now());
        let (sent, wanted) = if up { (job.bytes, TOKEN) } else { (TOKEN, job.bytes) };
        write(&mut *send, sent).await?;
        drain(&mut *recv, wanted).await?;
        let seconds = start.elapsed().as_secs_f64();
        let cpu = cpu.elapsed();
        connection.close();
        let gigabytes = job.bytes as f64 / 1e9;
        Ok([("gbps", 8.0 * gigabytes / seconds), (CPU_CLIENT, cpu / gigabytes)]
            .map(|(key, value)| (key.to_owned(), value))
            .into())
    })
}

fn serve<'a>(endpoint: &'a dyn Endpoint, job: &'a Job, up: bool) -> Later<'a, Measured> {
    Box::pin(async move {
        let connection = endpoint.accept().await?;
        let (mut send, mut recv) = connection.accept().await?;
        let cpu = CpuClock::start();
        let (wanted, sent) = if up { (job.bytes, TOKEN) } else { (TOKEN, job.bytes) };
        drain(&mut *recv, wanted).await?;
        write(&mut *send, sent).await?;
        connection.closed().await?;
        let cpu = cpu.elapsed();
        Ok([(CPU_SERVER.to_owned(), cpu * 1e9 / job.bytes as f64)].into())
    })
}

async fn write(send: &mut dyn Sender, bytes: u64) -> Result<(), Failure> {
    let piece = vec![0x5a; PIECE];
    let mut left = bytes;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        send.write_all(&piece[..n]).await?;
        left -= n as u64;
    }
    send.finish()
}

async fn drain(recv: &mut dyn Receiver, expected: u64) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE];
    let mut got = 0;
    while let Some(n) = recv.read(&mut buffer).await? {
        got += n as u64;
    }
    if got == expected { Ok(()) } else { Err(format!("{got} bytes came instead of {expected}").into()) }
}
