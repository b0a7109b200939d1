//! A proxy on loopback over a dialer that needs no tunnel.

use super::super::{Counters, Settings, serve};
use crate::client::dial::{DatagramFlow, Dial, Host, Refusal, Target};
use bytes::Bytes;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);

/// Fails instead of hanging.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens before patience runs out")
}

pub(super) async fn all_of(end: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon(end.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

/// Any name leads to `home`, except those that stand for a refusal; addresses are dialed as they are.
#[derive(Clone)]
pub(super) struct FakeDial {
    home: SocketAddr,
    /// UDP flows that live.
    flows: Arc<AtomicUsize>,
}

/// The name that makes the dialer refuse.
pub(super) const REFUSALS: [(&str, Refusal); 7] = [
    ("notallowed.test", Refusal::NotAllowed),
    ("refused.test", Refusal::Refused),
    ("unreachable.test", Refusal::HostUnreachable),
    ("timeout.test", Refusal::TimedOut),
    ("unknown.test", Refusal::NameUnknown),
    ("toomany.test", Refusal::TooMany),
    ("down.test", Refusal::TunnelDown),
];

fn refusal(target: &Target) -> Option<Refusal> {
    REFUSALS.iter().find(|(name, _)| target.host == Host::Name((*name).into())).map(|(_, refusal)| *refusal)
}

impl Dial for FakeDial {
    type Flow = TcpStream;
    type Datagrams = Echo;

    async fn tcp(&self, target: &Target) -> Result<TcpStream, Refusal> {
        if let Some(refusal) = refusal(target) {
            return Err(refusal);
        }
        let address = match target.host {
            Host::Ip(ip) => SocketAddr::new(ip, target.port),
            Host::Name(_) => self.home,
        };
        TcpStream::connect(address).await.map_err(|_| Refusal::Refused)
    }

    async fn udp(&self, target: &Target) -> Result<Echo, Refusal> {
        if let Some(refusal) = refusal(target) {
            return Err(refusal);
        }
        self.flows.fetch_add(1, Ordering::SeqCst);
        let (sender, receiver) = mpsc::channel(16);
        let live = Live(Arc::clone(&self.flows));
        Ok(Echo { name: target.to_string(), sender, receiver: Mutex::new(receiver), _live: live })
    }
}

/// Counts down when a flow is dropped.
struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers each datagram with `<target> says <payload>`; `over` ends the flow.
pub(super) struct Echo {
    name: String,
    sender: mpsc::Sender<Option<Bytes>>,
    receiver: Mutex<mpsc::Receiver<Option<Bytes>>>,
    _live: Live,
}

impl DatagramFlow for Echo {
    fn send(&self, payload: &[u8]) -> bool {
        if payload == b"over" {
            return self.sender.try_send(None).is_ok();
        }
        let answer = [self.name.as_bytes(), b" says ", payload].concat();
        payload.len() <= 1200 && self.sender.try_send(Some(answer.into())).is_ok()
    }

    async fn recv(&self) -> Option<Bytes> {
        self.receiver.lock().await.recv().await.flatten()
    }
}

pub(super) struct World {
    pub(super) proxy: SocketAddr,
    /// A server that sends back what it gets.
    pub(super) home: SocketAddr,
    pub(super) counters: Arc<Counters>,
    flows: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let home = echo.local_addr().unwrap();
        let mut world = Self::over(home, settings).await;
        world.tasks.push(tokio::spawn(async move {
            while let Ok((stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.into_split();
                    let _copied = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        }));
        world
    }

    /// A proxy whose names all lead to `home`.
    pub(super) async fn over(home: SocketAddr, settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let (flows, counters) = (Arc::default(), Arc::default());
        let dial = FakeDial { home, flows: Arc::clone(&flows) };
        let serving = tokio::spawn(serve(listener, dial, settings, Arc::clone(&counters)));
        Self { proxy, home, counters, flows, tasks: vec![serving] }
    }

    pub(super) fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    pub(super) fn udp_flows(&self) -> usize {
        self.flows.load(Ordering::SeqCst)
    }

    pub(super) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.proxy).await.unwrap()
    }

    /// A connection through the proxy that was granted.
    pub(super) async fn socks5(&self, name: &str, port: u16) -> TcpStream {
        self.try_socks5(name, port).await.expect("the proxy grants it")
    }

    pub(super) async fn try_socks5(&self, name: &str, port: u16) -> Option<TcpStream> {
        let mut client = self.client().await;
        let len = [u8::try_from(name.len()).unwrap()];
        let opening = [&[5, 1, 0, 5, 1, 0, 3], &len[..], name.as_bytes(), &port.to_be_bytes()].concat();
        client.write_all(&opening).await.ok()?;
        let mut replies = [0; 12];
        soon(client.read_exact(&mut replies)).await.ok()?;
        assert_eq!(replies, [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        Some(client)
    }

    pub(super) async fn until(&self, holds: impl Fn(&Counters) -> bool) {
        soon(async {
            while !holds(&self.counters) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// An association: its TCP connection, a socket for datagrams, and where to send them.
    pub(super) async fn associate(&self) -> (TcpStream, tokio::net::UdpSocket, SocketAddr) {
        let mut client = self.client().await;
        client.write_all(&[5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut replies = [0; 12];
        soon(client.read_exact(&mut replies)).await.unwrap();
        let [5, 0, 5, 0, 0, 1, a, b, c, d, p0, p1] = replies else { panic!("{replies:?}") };
        let relay = SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([p0, p1]));
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        (client, socket, relay)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}
