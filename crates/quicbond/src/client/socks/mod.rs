//! The proxy: a way in for programs that know SOCKS5 or HTTP CONNECT, without any privilege on this machine.
//!
//! Owns one TCP port on which the first byte tells the protocols apart, their handshakes, and the limits on both.
//! Refuses to know the tunnel: flows come from [`Dial`]. Who may connect is decided by the address it listens on.

mod associate;
mod datagram;
mod http;
mod reply;
mod socks4;
mod socks5;
#[cfg(test)]
mod tests;

use super::dial::{Dial, Refusal, Target};
use crate::relay::{self, relay};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The dialer has timeouts of its own; this one only makes sure that there is an end.
const DIAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Out of descriptors or memory: trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Finds clients that vanished without a word.
const KEEPALIVE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// TCP connections of clients at a time; one above is closed at once.
    pub(crate) connections: usize,
    /// A client that has not said what it wants by then is let go.
    pub(crate) handshake: Duration,
    /// A TCP flow on which nothing moves for so long is reset.
    pub(crate) idle: Duration,
    /// A UDP target that is silent for so long is forgotten.
    pub(crate) udp_idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake: Duration::from_secs(10),
            idle: relay::IDLE_MAX,
            // RFC 4787 §4.3: not below two minutes.
            udp_idle: Duration::from_secs(120),
        }
    }
}

/// What the proxy has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    /// Closed at once because too many were open.
    pub(crate) turned_away: AtomicU64,
    /// Never got to a request that could be served.
    pub(crate) bad_handshakes: AtomicU64,
    /// Requests, TCP and UDP, that the dialer refused.
    pub(crate) refused: AtomicU64,
    pub(crate) datagrams_up: AtomicU64,
    pub(crate) datagrams_down: AtomicU64,
    /// Datagrams from strangers, fragments, malformed ones and those for which there was no room.
    pub(crate) datagrams_dropped: AtomicU64,
    pub(crate) relays: relay::Counters,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What every connection needs.
struct Proxy<D> {
    dial: D,
    settings: Settings,
    counters: Arc<Counters>,
}

/// Serves the port until the future is dropped; then every connection ends as well.
pub(crate) async fn serve<D: Dial>(
    listener: TcpListener,
    dial: D,
    settings: Settings,
    counters: Arc<Counters>,
) {
    let proxy = Arc::new(Proxy { dial, settings, counters });
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = clients.join_next() => {
                report(ended);
                continue;
            }
        };
        // Those that are over must not count against the limit.
        while let Some(ended) = clients.try_join_next() {
            report(ended);
        }
        match accepted {
            Ok((client, _)) if clients.len() < settings.connections => {
                count(&proxy.counters.accepted);
                clients.spawn(on_client(Arc::clone(&proxy), client));
            }
            Ok((_, from)) => {
                count(&proxy.counters.turned_away);
                let limit = settings.connections;
                tracing::debug!(%from, limit, "a proxy connection was closed: too many are open");
            }
            Err(error) => {
                tracing::warn!(%error, "the proxy cannot accept a connection; it tries again shortly");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a proxy connection broke off by a fault of ours");
    }
}

async fn on_client<D: Dial>(proxy: Arc<Proxy<D>>, client: TcpStream) {
    prepare(&client);
    if let Err(error) = serve_client(&proxy, client).await {
        count(&proxy.counters.bad_handshakes);
        tracing::debug!(%error, "a proxy client was not served");
    }
}

fn prepare(client: &TcpStream) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let set = client.set_nodelay(true);
    if let Err(error) = set.and_then(|()| socket2::SockRef::from(client).set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "a proxy connection runs without keepalive");
    }
}

/// Reads the first byte and goes on in the protocol that it belongs to.
async fn serve_client<D: Dial>(proxy: &Proxy<D>, mut client: TcpStream) -> io::Result<()> {
    let deadline = tokio::time::Instant::now() + proxy.settings.handshake;
    let request = tokio::time::timeout_at(deadline, async {
        Ok::<_, io::Error>(match client.read_u8().await? {
            5 => socks5::read(&mut client).await?,
            4 => socks4::refuse(&mut client).await?,
            first if first.is_ascii_alphabetic() => http::read(&mut client, first).await?,
            first => {
                return Err(invalid(&format!("its first byte, {first:#04x}, is of no protocol known here")));
            }
        })
    });
    let request = request.await.map_err(|_| invalid("its request took too long"))??;
    match request {
        Request::Connect { target, answers, early } => {
            connect(proxy, client, &target, answers, early).await;
            Ok(())
        }
        Request::Associate { announced } => associate::run(proxy, client, announced).await,
        Request::Answered(why) => {
            reply::farewell(client).await;
            Err(invalid(why))
        }
    }
}

/// What a client asked for, in whichever protocol.
enum Request {
    Connect {
        target: Target,
        answers: Answers,
        early: Vec<u8>,
    },
    /// The address that the client says its datagrams will come from.
    Associate {
        announced: std::net::SocketAddr,
    },
    /// It cannot be served and has been told so.
    Answered(&'static str),
}

/// How a protocol says yes and no to a request to connect.
struct Answers {
    yes: &'static [u8],
    no: fn(Refusal, &Target) -> Vec<u8>,
}

async fn connect<D: Dial>(
    proxy: &Proxy<D>,
    mut client: TcpStream,
    target: &Target,
    answers: Answers,
    early: Vec<u8>,
) {
    let dialed = timeout(DIAL_TIMEOUT, proxy.dial.tcp(target)).await;
    let flow = match dialed.unwrap_or(Err(Refusal::TimedOut)) {
        Ok(flow) => flow,
        Err(refusal) => {
            count(&proxy.counters.refused);
            tracing::debug!("{}", refusal.explain(target));
            if reply::send(&mut client, &(answers.no)(refusal, target)).await.is_ok() {
                reply::farewell(client).await;
            }
            return;
        }
    };
    if let Err(error) = reply::send(&mut client, answers.yes).await {
        let mut flow = flow;
        relay::Abort::abort(&mut flow);
        tracing::debug!(%error, %target, "a proxy client left before its connection was ready");
        return;
    }
    let relayed = relay(client, early, flow, proxy.settings.idle, &proxy.counters.relays).await;
    tracing::debug!(%target, up = relayed.up, down = relayed.down, end = ?relayed.end, "a proxy connection ended");
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
