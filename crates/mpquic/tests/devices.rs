//! Sockets bound to devices that go down and vanish: a client and a server in network namespaces of their own, two pairs
//! of virtual cables between them. Needs root; skipped without.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test; its world is built outside the test functions"
)]

use mpquic::{
    Bind, ClientConfig, Connection, Endpoint, Identity, PathStats, Pin, ServerConfig, TransportConfig,
};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, gettid};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs in the calling thread's namespace, as its children do.
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn cable(link: u8, server: i32) {
    ip(&format!("link add wan{link} type veth peer name lan{link}"));
    ip(&format!("link set lan{link} netns {server}"));
    ip(&format!("addr add 10.77.{link}.1/24 dev wan{link}"));
    ip(&format!("link set wan{link} up"));
}

/// The far end of a cable.
fn plug(link: u8) {
    ip(&format!("addr add 10.77.{link}.2/24 dev lan{link}"));
    ip(&format!("link set lan{link} up"));
}

fn bind(link: u8) -> Bind {
    let any = Bind::from("0.0.0.0:0".parse::<SocketAddr>().unwrap());
    Bind { device: Some(format!("wan{link}")), mark: Some(7), ..any }
}

struct World {
    client: Endpoint,
    near: Connection,
    far: Connection,
    port: u16,
    wires: Wires,
}

/// Lays cables from the client's namespace, in which it is used, to the server's.
struct Wires {
    server: i32,
    plug: Sender<u8>,
    plugged: Receiver<()>,
}

impl Wires {
    fn lay(&self, link: u8) {
        cable(link, self.server);
        self.plug.send(link).unwrap();
        self.plugged.recv().unwrap();
    }
}

impl World {
    fn peer(&self, link: u8) -> SocketAddr {
        SocketAddr::from(([10, 77, link, 2], self.port))
    }

    /// The client's path over a link.
    fn path(&self, link: u8) -> Option<PathStats> {
        let peer = self.peer(link);
        self.near.paths().into_iter().find(|p| p.tuple.peer == peer && !p.closing)
    }

    async fn until(&self, what: &str, goal: impl Fn(&Self) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !goal(self) {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:?}", self.near.paths());
    }

    /// Bytes flow from the client for ever; the result is counted in the server's statistics.
    async fn flow(&self) {
        let mut send = self.near.open_uni().await.unwrap();
        let far = self.far.clone();
        tokio::spawn(async move { while send.write_all(&[7; 16_384]).await.is_ok() {} });
        tokio::spawn(async move {
            let mut recv = far.accept_uni().await.unwrap();
            let mut room = vec![0; 65_536];
            while let Ok(Some(_)) = recv.read(&mut room).await {}
        });
    }

    fn sent_over(&self, link: u8) -> u64 {
        self.path(link).map_or(0, |p| p.bytes_sent)
    }
}

/// Plays `story` with a client on `links` cables, all paths open, in namespaces that end with their threads.
fn play<F: Future<Output = ()>>(links: u8, story: impl FnOnce(World) -> F + Send + 'static) {
    if !Uid::effective().is_root() {
        println!("skipped: needs root");
        return;
    }
    let (say, hear) = channel();
    let (plug_in, plugs) = channel();
    let (done, plugged) = channel();
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    // A client that has just used up its window has nothing to say, and would not notice that its device is gone.
    let talkative =
        TransportConfig { keep_alive: Some(Duration::from_millis(500)), ..TransportConfig::default() };
    let config = ClientConfig::pinned(&[Pin::Certificate(identity.fingerprint())], ALPN).unwrap();
    let config = config.transport(talkative);
    let server = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let binds = ["0.0.0.0:0".parse().unwrap()];
        let server = Endpoint::server(ServerConfig::new(identity, ALPN).unwrap(), &binds).unwrap();
        say.send((gettid().as_raw(), server)).unwrap();
        for link in plugs {
            plug(link);
            done.send(()).unwrap();
        }
    });
    let client = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let (tid, server) = hear.recv().unwrap();
        let wires = Wires { server: tid, plug: plug_in, plugged };
        (0..links).for_each(|link| wires.lay(link));
        let port = server.local_addrs()[0].port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let binds: Vec<Bind> = (0..links).map(bind).collect();
            let client = Endpoint::client_on(&binds).unwrap();
            let peer = |link| SocketAddr::from(([10, 77, link, 2], port));
            let dialled = client.connect(&config, "localhost", client.local_addrs()[0], peer(0));
            let both = timeout(PATIENCE, async { tokio::join!(dialled, server.accept()) });
            let (near, far) = both.await.expect("in time");
            let (near, far) = (near.unwrap(), far.unwrap());
            for link in 1..links {
                let local = client.local_addrs()[usize::from(link)];
                timeout(PATIENCE, near.open_path(local, peer(link), false)).await.unwrap().unwrap();
            }
            story(World { client, near, far, port, wires }).await;
        });
    });
    let ended = client.join();
    server.join().unwrap();
    ended.unwrap();
}

#[test]
fn each_path_uses_its_own_device_and_one_that_goes_down_and_up_comes_back() {
    play(2, |w| async move {
        w.flow().await;
        let used = |w: &World| w.sent_over(0) > 1_000_000 && w.sent_over(1) > 1_000_000;
        w.until("both links are used", used).await;
        assert!(w.path(0).unwrap().tuple.local.ip().to_string() == "10.77.0.1", "the device's own address");
        ip("link set wan0 down");
        w.until("the path is silent", |w| w.path(0).unwrap().silent).await;
        let before = w.sent_over(1);
        w.until("data takes the other", |w| w.sent_over(1) > before + 1_000_000).await;
        ip("link set wan0 up");
        let before = w.sent_over(0);
        let back = |w: &World| !w.path(0).unwrap().silent && w.sent_over(0) > before + 1_000_000;
        w.until("the path comes back", back).await;
    });
}

#[test]
fn the_only_path_falls_silent_at_once_with_its_device_is_hardly_probed_and_comes_back() {
    play(1, |w| async move {
        w.flow().await;
        w.until("data flows", |w| w.sent_over(0) > 1_000_000).await;
        ip("link set wan0 down");
        w.until("the path is silent", |w| w.path(0).unwrap().silent).await;
        let before = w.path(0).unwrap().packets_sent;
        sleep(Duration::from_secs(2)).await;
        let probes = w.path(0).unwrap().packets_sent - before;
        assert!(probes < 10, "{probes} probes in two seconds");
        ip("link set wan0 up");
        let before = w.sent_over(0);
        let back = |w: &World| !w.path(0).unwrap().silent && w.sent_over(0) > before + 1_000_000;
        w.until("the path comes back", back).await;
    });
}

#[test]
fn a_device_that_vanishes_and_returns_is_used_again_through_a_new_socket() {
    play(1, |w| async move {
        w.flow().await;
        w.until("data flows", |w| w.sent_over(0) > 1_000_000).await;
        let old = w.client.local_addrs()[0];
        ip("link del wan0");
        w.until("the path is silent", |w| w.path(0).unwrap().silent).await;
        assert!(w.client.add_socket(&bind(0)).await.is_err(), "no such device");
        assert!(w.client.remove_socket(old).await);
        // The far end of the cable vanished with ours.
        w.wires.lay(0);
        let local = w.client.add_socket(&bind(0)).await.unwrap();
        timeout(PATIENCE, w.near.open_path(local, w.peer(0), false)).await.unwrap().unwrap();
        let moved = |w: &World| {
            w.near.paths().iter().any(|p| p.bytes_sent > 1_000_000 && p.tuple.local.port() == local.port())
        };
        w.until("data flows again", moved).await;
    });
}
