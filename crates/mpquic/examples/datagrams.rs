//! How fast datagrams cross the loopback interface: `cargo run --release --example datagrams -- [COUNT] [BYTES]`.

#![allow(clippy::print_stdout, reason = "an example that reports what it measured")]

use mpquic::{ClientConfig, Endpoint, Identity, Pin, ServerConfig};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::time::{Duration, Instant, timeout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let count = arguments.next().transpose()?.unwrap_or(1_000_000);
    let bytes = arguments.next().transpose()?.unwrap_or(1200);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let identity = Identity::self_signed(&["localhost"])?;
    let pin = Pin::Certificate(identity.fingerprint());
    let server = Endpoint::server(ServerConfig::new(identity, &[b"datagrams"])?, &[any])?;
    let client = Endpoint::client(&[any])?;
    let config = ClientConfig::pinned(&[pin], &[b"datagrams"])?;
    let (local, peer) = (client.local_addrs()[0], server.local_addrs()[0]);
    let (near, far) = tokio::join!(client.connect(&config, "localhost", local, peer), server.accept());
    let (near, far) = (near?, far.ok_or("the server ended")?);
    // Time for the MTU search.
    tokio::time::sleep(Duration::from_millis(100)).await;
    println!("largest datagram: {:?}", near.max_datagram_size());
    let start = Instant::now();
    let reader = tokio::spawn(async move {
        let (mut batch, mut datagrams, mut total, mut last) = (Vec::new(), 0, 0, Instant::now());
        while let Ok(Ok(n)) = timeout(Duration::from_millis(500), far.read_datagrams(&mut batch, 256)).await {
            last = Instant::now();
            datagrams += n;
            total += batch.drain(..).map(|d| d.len()).sum::<usize>();
        }
        (datagrams, total, last, far.stats())
    });
    let mut left = count;
    while left > 0 {
        near.datagram_writable().await?;
        left -= near.send_datagrams((0..left.min(256)).map(|_| vec![7; bytes]))?;
    }
    let (datagrams, total, last, theirs) = reader.await?;
    let seconds = last.duration_since(start).as_secs_f64();
    println!(
        "{datagrams} of {count} datagrams in {seconds:.2} s: {:.2} Gbit/s",
        total as f64 * 8e-9 / seconds
    );
    println!("sender: {:?}\nreceiver: {theirs:?}\npaths: {:?}", near.stats(), near.paths());
    Ok(())
}
