//! Stands before a server, passes datagrams both ways and notes when the kernel took in those for the server.

use mpquic_net::{Batch, Clock, Poller, ReceiveBatch, Socket, SocketOptions};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One datagram on its way to the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) len: usize,
}

pub(crate) struct Observer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Seen>>,
}

impl Observer {
    pub(crate) fn before(server: SocketAddr) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let front =
            Socket::bind(any, &SocketOptions { timestamps: true, ..SocketOptions::default() }).unwrap();
        let back = Socket::bind(any, &SocketOptions::default()).unwrap();
        let address = front.local_addr();
        let stop = Arc::new(AtomicBool::new(false));
        let halt = Arc::clone(&stop);
        let thread = std::thread::spawn(move || watch(&front, &back, server, &halt));
        Self { address, stop, thread }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that went to the server.
    pub(crate) fn stop(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn watch(front: &Socket, back: &Socket, server: SocketAddr, stop: &AtomicBool) -> Vec<Seen> {
    let clock = Clock::start();
    let mut poller = Poller::new().unwrap();
    poller.add(front, 0).unwrap();
    poller.add(back, 1).unwrap();
    let mut arrivals = ReceiveBatch::new();
    let (mut seen, mut client) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        poller.wait(Some(clock.now() + Duration::from_millis(20)), &clock).unwrap();
        while front.receive(&mut arrivals).unwrap() > 0 {
            for (train, datagrams) in arrivals.trains() {
                client = Some(train.peer);
                for bytes in datagrams {
                    seen.push(Seen { at: train.received_at.unwrap(), len: bytes.len() });
                    pass_on(back, server, bytes, train.ecn);
                }
            }
        }
        while back.receive(&mut arrivals).unwrap() > 0 {
            for (train, datagrams) in arrivals.trains() {
                datagrams.for_each(|bytes| pass_on(front, client.unwrap(), bytes, train.ecn));
            }
        }
    }
    seen
}

fn pass_on(socket: &Socket, peer: SocketAddr, bytes: &[u8], ecn: mpquic_base::Ecn) {
    let segment = u16::try_from(bytes.len()).unwrap();
    let local = socket.local_addr().ip();
    socket.send(&Batch { bytes, segment, local, peer, ecn }).ok();
}
