//! The loop around tquic: what the socket brings, its timers, its turns. It runs as a task of the same thread as the test.
//!
//! tquic does its pacing by a timer of the endpoint. As long as a stream has room or something to read it says that there is
//! something to do in 1 ms, so that is how long the loop rests at most, as in tquic's own tools.

use super::waiting::{Events, Waiting};
use super::wire::Wire;
use crate::Failure;
use std::cell::{RefCell, RefMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tquic::{Config, Connection, Endpoint, PacketInfo};

/// Bytes of a datagram, batched or not.
const DATAGRAM: usize = 1 << 16;
/// System calls for receiving before the connections get their turn.
const CALLS: usize = 8;

pub(super) struct Driver {
    pub(super) local: SocketAddr,
    wire: Rc<Wire>,
    endpoint: RefCell<Endpoint>,
    waiting: Rc<RefCell<Waiting>>,
    woken: Notify,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The end may have come from here or from the peer; tquic itself keeps the connection for a while.
pub(super) fn is_over(quic: &Connection) -> bool {
    quic.is_closed() || quic.is_draining() || quic.peer_error().is_some()
}

impl Driver {
    pub(super) fn start(config: Box<Config>, server: bool, local: SocketAddr) -> Result<Rc<Self>, Failure> {
        let wire = Rc::new(Wire::bind(local)?);
        let waiting = Rc::new(RefCell::new(Waiting::default()));
        let events = Box::new(Events(Rc::clone(&waiting)));
        let endpoint = RefCell::new(Endpoint::new(config, server, events, Rc::clone(&wire) as _));
        let local = wire.address()?;
        let driver = Rc::new(Self { local, wire, endpoint, waiting, woken: Notify::new() });
        let running = Rc::clone(&driver);
        tokio::task::spawn_local(async move { running.run().await });
        Ok(driver)
    }

    pub(super) fn endpoint(&self) -> RefMut<'_, Endpoint> {
        self.endpoint.borrow_mut()
    }

    pub(super) fn waiting(&self) -> RefMut<'_, Waiting> {
        self.waiting.borrow_mut()
    }

    /// To be called after anything that may give tquic something to send.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Closes every connection and waits until that is sent.
    pub(super) async fn close_all(&self) -> Result<(), Failure> {
        for id in self.waiting().connections() {
            // Some are closed by now.
            self.endpoint().conn_get_mut(id).map(|quic| quic.close(true, 0, b""));
        }
        self.turn();
        while self.wire.is_full() {
            self.wire.writable().await?;
            self.turn();
        }
        Ok(())
    }

    async fn run(&self) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let more = self.receive(&mut buffer);
            self.endpoint().on_timeout(now());
            self.turn();
            let rest = self.endpoint.borrow().timeout();
            if more || rest == Some(Duration::ZERO) {
                yield_now().await;
                continue;
            }
            let expired = async {
                match rest {
                    Some(rest) => tokio::time::sleep(rest).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.woken.notified() => {}
                _ = self.wire.readable() => {}
                _ = self.wire.writable(), if self.wire.is_full() => {}
                () = expired => {}
            }
        }
    }

    /// Whether there may be more.
    fn receive(&self, buffer: &mut [u8]) -> bool {
        let mut endpoint = self.endpoint();
        for _ in 0..CALLS {
            let Some(meta) = self.wire.receive(buffer) else { return false };
            let info = PacketInfo { src: meta.addr, dst: self.local, time: now() };
            for packet in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                // One bad packet is not worth more than being ignored.
                endpoint.recv(packet, &info).ok();
            }
        }
        true
    }

    /// Lets tquic tell what happened and send what it may.
    fn turn(&self) {
        let mut endpoint = self.endpoint();
        let done = endpoint.process_connections();
        let mut waiting = self.waiting();
        if let Err(error) = done {
            waiting.on_broken(format!("tquic cannot go on: {error}"));
        }
        waiting.tell_ended(|id| endpoint.conn_get_mut(id).is_none_or(|quic| is_over(quic)));
    }
}
