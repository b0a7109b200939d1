//! What stands between a client and a server: passes datagrams on, from a port that can change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

/// A relay for one client. It lives as long as its handle.
pub(crate) struct Relay {
    address: SocketAddr,
    passed_on: Arc<AtomicU64>,
    change: mpsc::Sender<(Change, oneshot::Sender<()>)>,
}

enum Change {
    Rebind,
    Aim(SocketAddr),
}

impl Relay {
    pub(crate) async fn between(client: SocketAddr, server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = front.local_addr().unwrap();
        let passed_on = Arc::new(AtomicU64::new(0));
        let (change, changes) = mpsc::channel(1);
        let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let wires =
            Wires { front, back, former: Vec::new(), server, client, passed_on: Arc::clone(&passed_on) };
        tokio::spawn(wires.carry(changes));
        Self { address, passed_on, change }
    }

    /// Where the client finds the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams that went to the server.
    pub(crate) fn passed_on(&self) -> u64 {
        self.passed_on.load(Ordering::Relaxed)
    }

    /// Goes on from another port.
    pub(crate) async fn rebind(&self) {
        self.change(Change::Rebind).await;
    }

    /// Goes on to another server.
    pub(crate) async fn aim(&self, server: SocketAddr) {
        self.change(Change::Aim(server)).await;
    }

    async fn change(&self, change: Change) {
        let (done, is_done) = oneshot::channel();
        assert!(self.change.send((change, done)).await.is_ok(), "the relay lives");
        is_done.await.unwrap();
    }
}

struct Wires {
    front: UdpSocket,
    back: UdpSocket,
    /// Kept, so that what is still on its way there does not reach another relay.
    former: Vec<UdpSocket>,
    server: SocketAddr,
    client: SocketAddr,
    passed_on: Arc<AtomicU64>,
}

impl Wires {
    async fn carry(mut self, mut changes: mpsc::Receiver<(Change, oneshot::Sender<()>)>) {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some((Change::Rebind, done)) => {
                        let next = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                        self.former.push(core::mem::replace(&mut self.back, next));
                        done.send(()).ok();
                    }
                    Some((Change::Aim(server), done)) => {
                        self.server = server;
                        done.send(()).ok();
                    }
                    None => return,
                },
                // Ports come back into use: what others still send to their last owner is not for these two.
                Ok((len, from)) = self.front.recv_from(&mut up) => {
                    if from == self.client && self.back.send_to(&up[..len], self.server).await.is_ok() {
                        self.passed_on.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok((len, from)) = self.back.recv_from(&mut down) => {
                    if from == self.server {
                        self.front.send_to(&down[..len], self.client).await.ok();
                    }
                }
            }
        }
    }
}
