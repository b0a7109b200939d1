//! UDP ASSOCIATE: datagrams of one client to many targets, for as long as its TCP connection lives.
//!
//! Owns the association's socket, the client's address and a bounded table of targets. Each target has a task of its
//! own, so that a slow dial holds up nobody else.

use super::socks5::{self, GENERAL_FAILURE, SUCCEEDED};
use super::{Counters, DIAL_TIMEOUT, Proxy, count, datagram, reply};
use crate::client::dial::{DatagramFlow, Dial, Refusal, Target};
use bytes::Bytes;
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Targets of one association; the one that was silent for longest makes room.
const TARGETS_MAX: usize = 64;
/// Datagrams that wait for the dial or for their task.
const WAITING_MAX: usize = 32;
/// A target that was refused is not dialed again before this is over.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// The largest UDP payload, and the header in front of it.
const DATAGRAM_MAX: usize = 65_535;

/// Runs an association until the TCP connection ends.
pub(super) async fn run<D: Dial>(
    proxy: &Proxy<D>,
    mut client: TcpStream,
    announced: SocketAddr,
) -> io::Result<()> {
    let peer = client.peer_addr()?.ip().to_canonical();
    let socket = match UdpSocket::bind(beside(client.local_addr()?)).await {
        Ok(socket) => Arc::new(socket),
        Err(error) => {
            let unknown = SocketAddr::new(IpAddr::from([0; 4]), 0);
            reply::send(&mut client, &socks5::bound(GENERAL_FAILURE, unknown)).await?;
            reply::farewell(client).await;
            return Err(error);
        }
    };
    reply::send(&mut client, &socks5::bound(SUCCEEDED, socket.local_addr()?)).await?;

    let sender = Sender::new(peer, announced);
    let mut association = Association { proxy, socket, sender, targets: Targets::default() };
    tokio::select! {
        () = hangup(&mut client) => {}
        () = association.carry() => {}
    }
    Ok(())
}

/// A free port on the address that the client has reached already.
fn beside(local: SocketAddr) -> SocketAddr {
    let mut beside = local;
    beside.set_port(0);
    // An IPv4 client of an IPv6 socket expects an IPv4 address in the reply.
    if let IpAddr::V4(address) = local.ip().to_canonical() {
        beside = SocketAddr::new(address.into(), 0);
    }
    beside
}

/// Ready once the client closed its TCP connection. What it sends there means nothing.
async fn hangup(client: &mut TcpStream) {
    let mut ignored = [0; 512];
    while matches!(client.read(&mut ignored).await, Ok(n) if n > 0) {}
}

/// Whose datagrams are accepted: those from the TCP client's address, and from one port of it.
struct Sender {
    ip: IpAddr,
    port: Option<u16>,
}

impl Sender {
    /// RFC 1928 §4: the client may announce its address and port. Some announce their target by mistake, so it counts
    /// only if it can be the client's own; otherwise the first datagram's port is taken.
    fn new(ip: IpAddr, announced: SocketAddr) -> Self {
        let own = announced.ip().is_unspecified() || announced.ip().to_canonical() == ip;
        Self { ip, port: Some(announced.port()).filter(|port| own && *port != 0) }
    }

    fn is(&mut self, from: SocketAddr) -> bool {
        from.ip().to_canonical() == self.ip && *self.port.get_or_insert(from.port()) == from.port()
    }
}

struct Association<'a, D> {
    proxy: &'a Proxy<D>,
    socket: Arc<UdpSocket>,
    sender: Sender,
    targets: Targets,
}

impl<D: Dial> Association<'_, D> {
    /// Takes datagrams from the client and hands each to its target's task, until the socket breaks.
    async fn carry(&mut self) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((len, from)) if self.on_datagram(&buffer[..len], from) => {}
                Ok(_) => count(&self.proxy.counters.datagrams_dropped),
                Err(error) => {
                    tracing::debug!(%error, "the socket of a UDP association broke; the client has to ask again");
                    return;
                }
            }
        }
    }

    fn on_datagram(&mut self, bytes: &[u8], from: SocketAddr) -> bool {
        let Some((target, payload)) = datagram::read(bytes) else { return false };
        if !self.sender.is(from) {
            return false;
        }
        let payload = Bytes::copy_from_slice(payload);
        if let Some(lane) = self.targets.find(&target) {
            return lane.try_send(payload).is_ok();
        }
        let (lane, waiting) = mpsc::channel(WAITING_MAX);
        let accepted = lane.try_send(payload).is_ok();
        let task = Lane {
            target: target.clone(),
            waiting,
            socket: Arc::clone(&self.socket),
            client: from,
            idle: self.proxy.settings.udp_idle,
            counters: Arc::clone(&self.proxy.counters),
        };
        self.targets.insert(target, lane, task.run(self.proxy.dial.clone()));
        accepted
    }
}

/// The targets of an association and the tasks that serve them; all end when it is dropped.
#[derive(Default)]
struct Targets {
    lanes: HashMap<Target, Open>,
    tasks: JoinSet<()>,
    uses: u64,
}

struct Open {
    lane: mpsc::Sender<Bytes>,
    task: AbortHandle,
    used: u64,
}

impl Targets {
    /// The way to the task of this target, unless the task is over.
    fn find(&mut self, target: &Target) -> Option<&mpsc::Sender<Bytes>> {
        self.uses += 1;
        let open = self.lanes.get_mut(target).filter(|open| !open.lane.is_closed())?;
        open.used = self.uses;
        Some(&open.lane)
    }

    fn insert(
        &mut self,
        target: Target,
        lane: mpsc::Sender<Bytes>,
        run: impl Future<Output = ()> + Send + 'static,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.lanes.retain(|_, open| !open.lane.is_closed());
        if self.lanes.len() >= TARGETS_MAX
            && let Some(oldest) = self.lanes.iter().min_by_key(|(_, open)| open.used).map(|(t, _)| t.clone())
            && let Some(open) = self.lanes.remove(&oldest)
        {
            open.task.abort();
        }
        let task = self.tasks.spawn(run);
        self.lanes.insert(target, Open { lane, task, used: self.uses });
    }
}

/// One target's task.
struct Lane {
    target: Target,
    waiting: mpsc::Receiver<Bytes>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    idle: Duration,
    counters: Arc<Counters>,
}

impl Lane {
    async fn run<D: Dial>(mut self, dial: D) {
        let dialed = timeout(DIAL_TIMEOUT, dial.udp(&self.target)).await;
        match dialed.unwrap_or(Err(Refusal::TimedOut)) {
            Ok(flow) => self.carry(&flow).await,
            Err(refusal) => {
                count(&self.counters.refused);
                tracing::debug!("{}", refusal.explain(&self.target));
                sleep(REFUSED_PAUSE).await;
            }
        }
    }

    /// Copies datagrams both ways until the flow ends or is silent for too long.
    async fn carry(&mut self, flow: &impl DatagramFlow) {
        let mut down = datagram::header(&self.target);
        let header_len = down.len();
        loop {
            let delivered = tokio::select! {
                payload = self.waiting.recv() => {
                    let Some(payload) = payload else { return };
                    flow.send(&payload).then_some(&self.counters.datagrams_up)
                }
                payload = flow.recv() => {
                    let Some(payload) = payload else { return };
                    down.truncate(header_len);
                    down.extend_from_slice(&payload);
                    let sent = self.socket.send_to(&down, self.client).await;
                    sent.is_ok().then_some(&self.counters.datagrams_down)
                }
                () = sleep(self.idle) => return,
            };
            count(delivered.unwrap_or(&self.counters.datagrams_dropped));
        }
    }
}
