//! The protocol machine on plain UDP sockets, in the calling thread: no engine, no batching, one `poll` per turn.
//!
//! Knows sockets, the clock and the order in which a machine wants to be driven, and the [`exchange`](crate::exchange) as
//! state over streams. It has one connection at a time, which is all that a test needs.

// It reads the clock, as a driver must.
#![allow(clippy::disallowed_methods, reason = "a driver on real sockets")]

use crate::exchange::{Content, Load, RECEIPT_LEN, REQUEST_LEN};
use mpquic_base::{Dir, Duration, Ecn, FourTuple, Rng, StreamId, Time};
use mpquic_proto::{
    ClientConfig, CloseReason, Connection, ConnectionId, Endpoint, Event, Fate, PathEvent, PathStats, Read,
    Received, Refused, ServerConfig, Tag,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

/// The machine's batches are at most 64 segments of at most one MTU.
const BATCH: usize = 64 * 1500;
/// Datagrams taken from one socket before the machine gets its turn.
const RECEIVE_MAX: usize = 64;
/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The waiting for packets that are due never lasts longer than this.
const NAP: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Host {
    endpoint: Endpoint,
    sockets: Vec<(SocketAddr, UdpSocket)>,
    started: Instant,
    /// Batches that may not depart yet, in order of time and then of creation.
    waiting: BTreeMap<(Time, u64), Waiting>,
    batches: u64,
    /// Everything that the machine said, in order; tests look for what they need.
    events: Vec<Event>,
    id: Option<ConnectionId>,
    in_buffer: Vec<u8>,
    out_buffer: Vec<u8>,
}

#[derive(Debug)]
struct Waiting {
    id: Option<ConnectionId>,
    tuple: FourTuple,
    segment: usize,
    tag: Tag,
    bytes: Vec<u8>,
}

impl Host {
    /// Binds one socket per address; `server` makes it accept.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(locals: &[SocketAddr], server: Option<ServerConfig>) -> io::Result<Self> {
        let sockets = locals.iter().map(|local| {
            let socket = UdpSocket::bind(local)?;
            socket.set_nonblocking(true)?;
            Ok((socket.local_addr()?, socket))
        });
        Ok(Self {
            endpoint: Endpoint::new(server, Rng::from_number(u64::from(std::process::id()))),
            sockets: sockets.collect::<io::Result<_>>()?,
            started: Instant::now(),
            waiting: BTreeMap::new(),
            batches: 0,
            events: Vec::new(),
            id: None,
            in_buffer: vec![0; 65_536],
            out_buffer: vec![0; BATCH],
        })
    }

    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(local, _)| *local).collect()
    }

    /// Connects from the first socket and waits until the handshake is confirmed.
    ///
    /// # Panics
    /// If it is not, in time.
    pub fn connect(&mut self, config: &ClientConfig, name: &str, peer: SocketAddr) {
        let tuple = FourTuple { local: self.sockets[0].0, peer };
        self.id = Some(self.endpoint.connect(self.now(), config, name, tuple).expect("a usable name"));
        self.until("the handshake", |host| host.peek().is_confirmed().then_some(()));
    }

    /// Waits for a client whose handshake is complete.
    ///
    /// # Panics
    /// If none comes in time.
    pub fn accept(&mut self) {
        self.until("a client", |host| host.events.contains(&Event::Connected).then_some(()));
    }

    /// Opens a path from socket `socket` and waits for the peer's answer on it.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn open_path(&mut self, socket: usize, peer: SocketAddr) {
        let tuple = FourTuple { local: self.sockets[socket].0, peer };
        let path = self.until("leave to open a path", |host| {
            let now = host.now();
            match host.connection().open_path(now, tuple, false) {
                Err(Refused::NoPathAvailable) => None,
                opened => Some(opened.expect("multipath was negotiated")),
            }
        });
        self.until("the path's validation", |host| {
            host.events.contains(&Event::Path(PathEvent::Opened(path))).then_some(())
        });
    }

    /// Waits until `paths` paths are validated.
    ///
    /// # Panics
    /// If they are not, in time.
    pub fn await_paths(&mut self, paths: usize) {
        self.until("paths", |host| {
            (host.paths().iter().filter(|p| p.validated).count() >= paths).then_some(())
        });
    }

    /// The client's part of the exchange; how long it took.
    ///
    /// # Panics
    /// If the connection ends or anything is not as it should be.
    pub fn ask(&mut self, load: Load) -> Duration {
        let begun = self.now();
        let stream = self.until("a stream", |host| host.connection().open(Dir::Bi).ok());
        let mut out = Outgoing::new(load.request().to_vec(), load.up);
        let mut back = Incoming::new(RECEIPT_LEN);
        self.until("the exchange", |host| {
            out.write(host.connection(), stream);
            back.read(host.connection(), stream).then_some(())
        });
        assert_eq!(back.head, load.up.to_be_bytes(), "the server counted another number of bytes");
        assert_eq!(back.got, load.down, "the download has another length");
        self.now().since(begun)
    }

    /// The server's part of the exchange; it ends when the client has acknowledged everything. What was asked for,
    /// and how long it took.
    ///
    /// # Panics
    /// If the connection ends or anything is not as it should be.
    pub fn answer(&mut self) -> (Load, Duration) {
        let stream = self.until("a stream", |host| host.connection().accept(Dir::Bi));
        let begun = self.now();
        let mut incoming = Incoming::new(REQUEST_LEN);
        self.until("the upload", |host| incoming.read(host.connection(), stream).then_some(()));
        let request = incoming.head.as_slice().try_into().expect("read in full");
        let load = Load::from_request(request);
        assert_eq!(incoming.got, load.up, "the upload has another length");
        let mut out = Outgoing::new(incoming.got.to_be_bytes().to_vec(), load.down);
        self.until("the download", |host| {
            out.write(host.connection(), stream);
            let finished = Event::Stream(mpquic_proto::StreamEvent::Finished(stream));
            host.events.contains(&finished).then_some(())
        });
        (load, self.now().since(begun))
    }

    #[must_use]
    pub fn paths(&self) -> Vec<PathStats> {
        self.peek().path_stats().collect()
    }

    /// Closes and waits until the peer must have heard of it.
    ///
    /// # Panics
    /// If the machine does not come to rest in time.
    pub fn close(&mut self) {
        let now = self.now();
        self.connection().close(now, 0, b"done");
        self.rest();
    }

    /// Waits until the connection is over; why it ended.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn closed(&mut self) -> CloseReason {
        let deadline = self.now() + PATIENCE;
        loop {
            if let Some(reason) = self.close_reason() {
                self.rest();
                return reason;
            }
            assert!(self.now() < deadline, "the peer did not close");
            self.turn();
        }
    }

    fn rest(&mut self) {
        let deadline = self.now() + PATIENCE;
        while !self.endpoint.is_empty() {
            assert!(self.now() < deadline, "a closed connection did not come to rest");
            self.turn();
        }
    }

    fn close_reason(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    fn connection(&mut self) -> &mut Connection {
        self.id.and_then(|id| self.endpoint.connection(id)).expect("there is a connection")
    }

    fn peek(&self) -> &Connection {
        self.id.and_then(|id| self.endpoint.peek(id)).expect("there is a connection")
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// Turns until `done` yields something.
    fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = self.now() + PATIENCE;
        loop {
            if let Some(result) = self.id.or_else(|| self.newcomer()).and_then(|_| done(self)) {
                return result;
            }
            if let Some(reason) = self.close_reason() {
                panic!("closed while waiting for {what}: {reason}");
            }
            assert!(self.now() < deadline, "waited too long for {what}: {:#?}", self.peek_state());
            self.turn();
        }
    }

    fn peek_state(&self) -> (Option<&Connection>, Vec<PathStats>) {
        let connection = self.id.and_then(|id| self.endpoint.peek(id));
        (connection, connection.map(|c| c.path_stats().collect()).unwrap_or_default())
    }

    /// A server learns of its connection by the first event.
    fn newcomer(&mut self) -> Option<ConnectionId> {
        let (id, event) = self.endpoint.event()?;
        self.events.push(event);
        self.id = Some(id);
        self.id
    }

    /// One round: datagrams in, time, datagrams out, events; then a wait until something is due.
    fn turn(&mut self) {
        let busy = self.receive();
        self.endpoint.expire(self.now());
        self.transmit();
        self.depart();
        let before = self.events.len();
        while let Some((id, event)) = self.endpoint.event() {
            self.id.get_or_insert(id);
            self.events.push(event);
        }
        // What happened may let the application act, whose acts want to be sent.
        if !busy && self.events.len() == before {
            self.wait();
        }
    }

    fn receive(&mut self) -> bool {
        let mut busy = false;
        for (local, socket) in &self.sockets {
            for _ in 0..RECEIVE_MAX {
                let Ok((len, peer)) = socket.recv_from(&mut self.in_buffer) else { break };
                // Read anew: a packet must not seem to come before what it answers was sent.
                let now = Time::ZERO + self.started.elapsed();
                let received = Received { tuple: FourTuple { local: *local, peer }, ecn: Ecn::NotEct };
                self.endpoint.receive(now, received, &mut self.in_buffer[..len]);
                busy = true;
            }
        }
        busy
    }

    fn transmit(&mut self) {
        let now = self.now();
        while let Some((id, transmit)) = self.endpoint.transmit(now, &mut self.out_buffer) {
            let waiting = Waiting {
                id,
                tuple: transmit.tuple,
                segment: transmit.segment,
                tag: transmit.tag,
                bytes: self.out_buffer[..transmit.len].to_vec(),
            };
            self.batches += 1;
            self.waiting.insert((transmit.departs_at, self.batches), waiting);
        }
    }

    /// Sends what may depart and tells the machine about its fate.
    fn depart(&mut self) {
        while let Some(first) = self.waiting.first_entry() {
            let now = Time::ZERO + self.started.elapsed();
            if first.key().0 > now {
                return;
            }
            let batch = first.remove();
            let socket = self.sockets.iter().find(|(local, _)| *local == batch.tuple.local);
            let (_, socket) = socket.expect("the machine sends from where it receives");
            for datagram in batch.bytes.chunks(batch.segment) {
                // A full socket buffer is loss, which the machine has to live with anyway.
                let _lost = socket.send_to(datagram, batch.tuple.peer);
            }
            if let Some(id) = batch.id {
                self.endpoint.settle(now, id, batch.tag, Fate::Sent(now));
            }
        }
    }

    fn wait(&self) {
        let now = self.now();
        let departs = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let due = Time::soonest(self.endpoint.deadline(), departs);
        let nap = due.map_or(NAP, |due| due.since(now)).min(NAP);
        let timeout = Timespec { tv_sec: 0, tv_nsec: nap.subsec_nanos().into() };
        let mut fds: Vec<_> = self.sockets.iter().map(|(_, s)| PollFd::new(s, PollFlags::IN)).collect();
        // An interrupted wait is a short one.
        let _ready = poll(&mut fds, Some(&timeout));
    }
}

/// Head, content and end of one direction on their way out.
struct Outgoing {
    head: Vec<u8>,
    head_sent: usize,
    content: Content,
    sent: u64,
    total: u64,
    finished: bool,
}

impl Outgoing {
    fn new(head: Vec<u8>, total: u64) -> Self {
        Self { head, head_sent: 0, content: Content::default(), sent: 0, total, finished: false }
    }

    fn write(&mut self, connection: &mut Connection, stream: StreamId) {
        while self.head_sent < self.head.len() {
            match connection.write(stream, &self.head[self.head_sent..]).expect("the stream is open") {
                0 => return,
                n => self.head_sent += n,
            }
        }
        while self.sent < self.total {
            let piece = self.content.piece(self.sent, self.total);
            match connection.write(stream, piece).expect("the stream is open") {
                0 => return,
                n => self.sent += n as u64,
            }
        }
        if !self.finished {
            connection.finish(stream).expect("the stream is open");
            self.finished = true;
        }
    }
}

/// Head, content and end of one direction on their way in.
struct Incoming {
    head_len: usize,
    head: Vec<u8>,
    content: Content,
    got: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl Incoming {
    fn new(head_len: usize) -> Self {
        let (content, buffer) = (Content::default(), vec![0; 64 * 1024]);
        Self { head_len, head: Vec::new(), content, got: 0, buffer, ended: false }
    }

    /// True at the end.
    fn read(&mut self, connection: &mut Connection, stream: StreamId) -> bool {
        while !self.ended {
            match connection.read(stream, &mut self.buffer).expect("the stream is open") {
                Read::Data(n) => self.take(n),
                Read::Blocked => return false,
                Read::End => self.ended = true,
            }
        }
        true
    }

    fn take(&mut self, n: usize) {
        let head = (self.head_len - self.head.len()).min(n);
        self.head.extend_from_slice(&self.buffer[..head]);
        self.content.check(self.got, &self.buffer[head..n]);
        self.got += (n - head) as u64;
    }
}
