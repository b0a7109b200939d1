//! One path between us and quinn.

use mpquic_interop::exchange::Load;
use mpquic_interop::host::Host;
use mpquic_interop::peers::{Moved, quinn};
use mpquic_interop::trust::{NAME, Trust};
use mpquic_proto::TransportConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::runtime::Runtime;

const LOAD: u64 = 10_000_000;

#[test]
fn we_upload_to_quinn() {
    we_ask_quinn(Load::up(LOAD));
}

#[test]
fn we_download_from_quinn() {
    we_ask_quinn(Load::down(LOAD));
}

#[test]
fn quinn_uploads_to_us() {
    quinn_asks_us(Load::up(LOAD));
}

#[test]
fn quinn_downloads_from_us() {
    quinn_asks_us(Load::down(LOAD));
}

fn we_ask_quinn(load: Load) {
    let (trust, runtime) = (Trust::default(), Runtime::new().unwrap());
    let server = runtime.block_on(async { quinn::Server::bind(&trust) });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let theirs = runtime.spawn(server.serve());
    let mut host = Host::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], None).unwrap();
    host.connect(&trust.our_client(TransportConfig::default()), NAME, address);
    let took = host.ask(load);
    let ours = Moved::ours(&host.paths());
    host.close();
    compare(load, took, &ours, &runtime.block_on(theirs).unwrap());
}

fn quinn_asks_us(load: Load) {
    let (trust, runtime) = (Trust::default(), Runtime::new().unwrap());
    let config = trust.our_server(TransportConfig::default());
    let mut host = Host::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], Some(config)).unwrap();
    let address = host.local_addrs()[0];
    let theirs = runtime.spawn(async move { quinn::client(&trust, address, load).await });
    host.accept();
    let (asked, took) = host.answer();
    assert_eq!(asked, load);
    let ours = Moved::ours(&host.paths());
    host.closed();
    compare(load, took, &ours, &runtime.block_on(theirs).unwrap());
}

fn compare(load: Load, took: Duration, ours: &[Moved], theirs: &[Moved]) {
    println!("{load:?} in {took:?}");
    for (who, moved) in [("mpquic", ours), ("quinn", theirs)] {
        assert_eq!(moved.len(), 1);
        println!("{who:>8} {}", moved[0]);
        assert!(moved[0].sent.max(moved[0].received) > load.up + load.down);
    }
}
