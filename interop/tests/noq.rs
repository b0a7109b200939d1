//! Two paths between us and noq.

use mpquic_interop::exchange::Load;
use mpquic_interop::host::Host;
use mpquic_interop::peers::{Moved, noq};
use mpquic_interop::trust::{NAME, Trust};
use mpquic_policy::sched;
use mpquic_proto::TransportConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::runtime::Runtime;

const LOAD: u64 = 50_000_000;
const PATHS: usize = 2;
/// The two links of the loopback interface.
const LINKS: [Ipv4Addr; PATHS] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
/// What each path must have carried at least, one direction: enough that it cannot have been probes and ACKs alone.
const SHARE_MIN: u64 = 1_000_000;

#[test]
fn we_upload_to_noq_over_two_paths() {
    we_ask_noq(Load::up(LOAD));
}

#[test]
fn we_download_from_noq_over_two_paths() {
    we_ask_noq(Load::down(LOAD));
}

#[test]
fn noq_uploads_to_us_over_two_paths() {
    noq_asks_us(Load::up(LOAD));
}

#[test]
fn noq_downloads_from_us_over_two_paths() {
    noq_asks_us(Load::down(LOAD));
}

/// In turns over both paths: by default we would use the quicker one alone, which the peer's window does not fill.
fn alternating() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let scheduler = sched::ALL.iter().find(|entry| entry.name == "roundrobin");
    transport.set_scheduler(scheduler.expect("it is in the list"));
    transport
}

fn we_ask_noq(load: Load) {
    let (trust, runtime) = (Trust::default(), Runtime::new().unwrap());
    let server = runtime.block_on(async { noq::Server::bind(&trust, 2) });
    let port = server.port();
    let theirs = runtime.spawn(server.serve());
    let mut host = Host::bind(&LINKS.map(|ip| (ip, 0).into()), None).unwrap();
    host.connect(&trust.our_client(alternating()), NAME, (LINKS[0], port).into());
    host.open_path(1, (LINKS[1], port).into());
    let took = host.ask(load);
    let ours = Moved::ours(&host.paths());
    host.close();
    compare(load, took, &ours, &runtime.block_on(theirs).unwrap());
}

fn noq_asks_us(load: Load) {
    let (trust, runtime) = (Trust::default(), Runtime::new().unwrap());
    let config = trust.our_server(alternating());
    let mut host = Host::bind(&LINKS.map(|ip| (ip, 0).into()), Some(config)).unwrap();
    let addresses: Vec<SocketAddr> = host.local_addrs();
    let theirs = runtime.spawn(async move { noq::client(&trust, &addresses, load).await });
    host.accept();
    host.await_paths(PATHS);
    let (asked, took) = host.answer();
    assert_eq!(asked, load);
    let ours = Moved::ours(&host.paths());
    host.closed();
    compare(load, took, &ours, &runtime.block_on(theirs).unwrap());
}

fn compare(load: Load, took: Duration, ours: &[Moved], theirs: &[Moved]) {
    println!("{load:?} in {took:?}");
    for (who, moved) in [("mpquic", ours), ("noq", theirs)] {
        for path in moved {
            println!("{who:>8} {path}");
        }
        assert_eq!(moved.len(), PATHS, "{who} used another number of paths");
        let (sent, received) = moved.iter().fold((0, 0), |(s, r), m| (s + m.sent, r + m.received));
        assert!(sent.max(received) > load.up + load.down, "{who} counted less than was moved");
        for path in moved {
            assert!(path.sent.max(path.received) > SHARE_MIN, "{who}: too little on path {}", path.path);
        }
    }
}
