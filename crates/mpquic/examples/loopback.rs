//! How fast one stream crosses the loopback interface: `cargo run --release --example loopback -- [MB] [PATHS]`.

#![allow(clippy::print_stdout, reason = "an example that reports what it measured")]

use mpquic::{ClientConfig, Endpoint, Identity, Pin, ServerConfig};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let megabytes = arguments.next().transpose()?.unwrap_or(1000);
    let paths = arguments.next().transpose()?.unwrap_or(1).max(1);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let identity = Identity::self_signed(&["localhost"])?;
    let pin = Pin::Certificate(identity.fingerprint());
    let server = Endpoint::server(ServerConfig::new(identity, &[b"loopback"])?, &[any])?;
    let client = Endpoint::client(&vec![any; paths])?;
    let config = ClientConfig::pinned(&[pin], &[b"loopback"])?;
    let (locals, peer) = (client.local_addrs(), server.local_addrs()[0]);
    let (near, far) = tokio::join!(client.connect(&config, "localhost", locals[0], peer), server.accept());
    let (near, far) = (near?, far.ok_or("the server ended")?);
    for local in &locals[1..] {
        near.open_path(*local, peer, false).await?;
    }
    let reader = tokio::spawn(async move {
        let mut recv = far.accept_uni().await?;
        let (mut out, mut total) = (vec![0; 128 * 1024], 0);
        while let Some(n) = recv.read(&mut out).await? {
            total += n;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(total)
    });
    let mut send = near.open_uni().await?;
    let chunk = vec![7; 128 * 1024];
    let start = Instant::now();
    for _ in 0..megabytes * 8 {
        send.write_all(&chunk).await?;
    }
    send.finish()?;
    let total = reader.await??;
    let seconds = start.elapsed().as_secs_f64();
    println!("{total} bytes in {seconds:.2} s: {:.2} Gbit/s", total as f64 * 8e-9 / seconds);
    for path in near.paths() {
        println!(
            "path {}: {} packets sent, {} lost, mtu {}, srtt {:?}, window {}, pacing {:?}",
            path.id.0,
            path.packets_sent,
            path.packets_lost,
            path.mtu,
            path.srtt,
            path.window,
            path.pacing_rate
        );
    }
    println!("{:?}", near.stats().counters);
    Ok(())
}
