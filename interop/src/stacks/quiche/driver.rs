//! The loop around quiche: one socket, its connections, and who waits for what. It runs as a task of the test's thread.
//!
//! A server's connection IDs are eight counted bytes, and a Retry token is the client's first destination ID in plain
//! text: enough for a test, and nothing that anybody should copy.

use crate::stack::{Ending, Failure};
use std::cell::{RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// Larger than any datagram.
const DATAGRAM_MAX: usize = 1 << 16;
const BUFFER: usize = 4 << 20;
/// Datagrams taken in before the connections get their turn.
const BATCH: usize = 64;
const CID: usize = 8;
/// RFC 9000 §20.1: the code of a close without an error.
const NO_ERROR: u64 = 0;

pub(super) type Id = usize;

pub(super) struct Driver {
    pub(super) local: SocketAddr,
    socket: UdpSocket,
    state: RefCell<State>,
    woken: Notify,
}

pub(super) struct State {
    config: quiche::Config,
    server: bool,
    retry: bool,
    local: SocketAddr,
    connections: Vec<Driven>,
    routes: HashMap<Vec<u8>, Id>,
    accepted: VecDeque<Id>,
    accepting: Vec<Waker>,
    replies: Vec<(Vec<u8>, SocketAddr)>,
    next_cid: u64,
    /// A client's ticket, as quiche wants it back.
    session: Option<Vec<u8>>,
}

/// A connection, and those who wait for it.
pub(super) struct Driven {
    pub(super) quic: quiche::Connection,
    announced: bool,
    opened: u64,
    accepted: u64,
    waiting: Vec<Waker>,
    reading: HashMap<u64, Waker>,
    writing: HashMap<u64, Waker>,
}

impl Driver {
    pub(super) fn start(config: quiche::Config, server: bool, retry: bool) -> Result<Rc<Self>, Failure> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&socket);
        // As much as the system grants.
        options.set_recv_buffer_size(BUFFER)?;
        options.set_send_buffer_size(BUFFER)?;
        let local = socket.local_addr()?;
        let state = State {
            config,
            server,
            retry,
            local,
            connections: Vec::new(),
            routes: HashMap::new(),
            accepted: VecDeque::new(),
            accepting: Vec::new(),
            replies: Vec::new(),
            next_cid: if server { 1 } else { 1 << 32 },
            session: None,
        };
        let socket = UdpSocket::from_std(socket)?;
        let driver = Rc::new(Self { local, socket, state: RefCell::new(state), woken: Notify::new() });
        let running = Rc::downgrade(&driver);
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; DATAGRAM_MAX];
            while let Some(driver) = running.upgrade() {
                driver.step(&mut buffer).await;
            }
        });
        Ok(driver)
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// From now on every connection says something at least that often.
    pub(super) fn keep_alive(self: &Rc<Self>, interval: Duration) {
        let running = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            while let Some(driver) = running.upgrade() {
                // One that has ended already has nothing to keep.
                for connection in &mut driver.state().connections {
                    connection.quic.send_ack_eliciting().ok();
                }
                driver.wake();
                drop(driver);
                tokio::time::sleep(interval).await;
            }
        });
    }

    /// To be called after anything that may give quiche something to send.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    async fn step(&self, buffer: &mut [u8]) {
        self.flush().await;
        let deadline = self.state().deadline();
        let expired = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.woken.notified() => {}
            _ = self.socket.readable() => {}
            () = expired => {}
        }
        for _ in 0..BATCH {
            // A refusal is about a datagram sent earlier; the next wait tells whether there is more.
            let Ok((len, from)) = self.socket.try_recv_from(buffer) else { break };
            self.state().on_datagram(&mut buffer[..len], from);
        }
        self.state().expire();
    }

    /// Sends all that may be sent.
    pub(super) async fn flush(&self) {
        let mut datagram = vec![0; DATAGRAM_MAX];
        let replies = std::mem::take(&mut self.state().replies);
        for (bytes, to) in replies {
            self.socket.send_to(&bytes, to).await.ok();
        }
        let count = self.state().connections.len();
        for id in 0..count {
            loop {
                let sent = self.state().connections[id].quic.send(&mut datagram);
                // Nothing more, or a failure that the connection itself is going to report.
                let Ok((len, info)) = sent else { break };
                // What the system does not take is lost like any packet.
                self.socket.send_to(&datagram[..len], info.to).await.ok();
            }
            self.state().connections[id].tell();
        }
    }
}

impl State {
    pub(super) fn connection(&mut self, id: Id) -> &mut Driven {
        &mut self.connections[id]
    }

    /// `resume`: with the last connection's ticket, of which there has to be one.
    pub(super) fn connect(&mut self, name: &str, server: SocketAddr, resume: bool) -> Result<Id, Failure> {
        let cid = self.new_cid();
        let scid = quiche::ConnectionId::from_ref(&cid);
        let mut quic = quiche::connect(Some(name), &scid, self.local, server, &mut self.config)?;
        match &self.session {
            Some(session) => quic.set_session(session)?,
            None if resume => return Err("it has no ticket".into()),
            None => {}
        }
        Ok(self.add(quic, cid))
    }

    pub(super) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Id> {
        match self.accepted.pop_front() {
            Some(id) => Poll::Ready(id),
            None => {
                self.accepting.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn close_all(&mut self) {
        for connection in &mut self.connections {
            // Most are closed already.
            connection.quic.close(true, NO_ERROR, b"").ok();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.connections.iter().filter_map(|connection| connection.quic.timeout_instant()).min()
    }

    fn expire(&mut self) {
        let now = Instant::now();
        for connection in &mut self.connections {
            if connection.quic.timeout_instant().is_some_and(|at| at <= now + Duration::from_micros(100)) {
                connection.quic.on_timeout();
                connection.tell();
            }
        }
    }

    fn on_datagram(&mut self, bytes: &mut [u8], from: SocketAddr) {
        let Some(id) = self.route(bytes, from) else { return };
        let info = quiche::RecvInfo { from, to: self.local };
        let connection = &mut self.connections[id];
        // One bad packet is not worth more than being ignored; what ends the connection is reported by it.
        connection.quic.recv(bytes, info).ok();
        if self.server && !connection.announced && connection.is_usable() {
            connection.announced = true;
            self.accepted.push_back(id);
            self.accepting.drain(..).for_each(Waker::wake);
        }
        if let Some(session) = connection.quic.session() {
            self.session = Some(session.to_vec());
        }
        connection.tell();
    }

    fn route(&mut self, packet: &mut [u8], from: SocketAddr) -> Option<Id> {
        let header = quiche::Header::from_slice(packet, CID).ok()?;
        if let Some(id) = self.routes.get(&*header.dcid) {
            return Some(*id);
        }
        if header.ty == quiche::Type::Short || header.ty == quiche::Type::Retry {
            // A stateless reset looks like a packet for nobody: a client's only connection is asked.
            return if self.server { None } else { self.connections.len().checked_sub(1) };
        }
        if !self.server || header.ty != quiche::Type::Initial {
            return None;
        }
        let token = header.token.clone().unwrap_or_default();
        let cid = self.new_cid();
        if self.retry && token.is_empty() {
            self.ask_to_retry(&header, &cid, from);
            return None;
        }
        // After a Retry the client's destination is the ID that the Retry gave it, and the token names the first one.
        let (cid, original) = match <[u8; CID]>::try_from(&*header.dcid) {
            Ok(ours) if self.retry => (ours, Some(quiche::ConnectionId::from_vec(token))),
            _ => (cid, None),
        };
        let scid = quiche::ConnectionId::from_ref(&cid);
        let quic = quiche::accept(&scid, original.as_ref(), self.local, from, &mut self.config).ok()?;
        let id = self.add(quic, cid);
        self.routes.insert(header.dcid.to_vec(), id);
        Some(id)
    }

    fn ask_to_retry(&mut self, header: &quiche::Header<'_>, cid: &[u8], from: SocketAddr) {
        let mut out = vec![0; DATAGRAM_MAX];
        let scid = quiche::ConnectionId::from_ref(cid);
        let len = quiche::retry(&header.scid, &header.dcid, &scid, &header.dcid, header.version, &mut out);
        if let Ok(len) = len {
            out.truncate(len);
            self.replies.push((out, from));
        }
    }

    fn add(&mut self, quic: quiche::Connection, cid: [u8; CID]) -> Id {
        let id = self.connections.len();
        self.connections.push(Driven {
            quic,
            announced: false,
            opened: 0,
            accepted: 0,
            waiting: Vec::new(),
            reading: HashMap::new(),
            writing: HashMap::new(),
        });
        self.routes.insert(cid.to_vec(), id);
        id
    }

    fn new_cid(&mut self) -> [u8; CID] {
        self.next_cid += 1;
        self.next_cid.to_be_bytes()
    }
}

impl Driven {
    /// Streams may come and go: the handshake is complete, or 0-RTT has come.
    fn is_usable(&self) -> bool {
        self.quic.is_established() || self.quic.is_in_early_data()
    }

    pub(super) fn is_over(&self) -> bool {
        self.quic.is_closed() || self.quic.is_draining() || self.quic.peer_error().is_some()
    }

    pub(super) fn why(&self) -> Failure {
        format!("the connection ended: {:?}", self.ending()).into()
    }

    pub(super) fn ending(&self) -> Ending {
        match (self.quic.peer_error(), self.quic.local_error()) {
            (Some(error), _) if error.is_app => Ending::Closed(error.error_code),
            (Some(error), _) => Ending::Other(format!("closed by the peer: {error:?}")),
            (None, Some(error)) => Ending::Other(format!("closed here: {error:?}")),
            (None, None) if self.quic.is_timed_out() => Ending::Other("timed out".into()),
            // It drains without an error of either side after nothing else.
            (None, None) => Ending::StatelessReset,
        }
    }

    /// RFC 9000 §2.1: bidirectional streams of the client are 0, 4, 8 and so on, those of the server 1, 5, 9.
    pub(super) fn poll_open(&mut self, cx: &Context<'_>) -> Poll<Result<u64, Failure>> {
        if self.is_over() {
            return Poll::Ready(Err(self.why()));
        }
        if self.quic.peer_streams_left_bidi() == 0 {
            self.await_change(cx);
            return Poll::Pending;
        }
        let stream = self.opened * 4 + u64::from(self.quic.is_server());
        // Writing nothing is what opens it, and counts.
        match self.quic.stream_send(stream, &[], false) {
            Ok(_) | Err(quiche::Error::Done) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        self.opened += 1;
        Poll::Ready(Ok(stream))
    }

    pub(super) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Result<u64, Failure>> {
        let next = self.accepted * 4 + u64::from(!self.quic.is_server());
        // Whichever of them something came for, all before it are open too.
        if self.quic.readable().any(|stream| stream % 4 == next % 4 && stream >= next) {
            self.accepted += 1;
            return Poll::Ready(Ok(next));
        }
        if self.is_over() {
            return Poll::Ready(Err(self.why()));
        }
        self.await_change(cx);
        Poll::Pending
    }

    pub(super) fn await_change(&mut self, cx: &Context<'_>) {
        self.waiting.push(cx.waker().clone());
    }

    pub(super) fn await_data(&mut self, stream: u64, cx: &Context<'_>) {
        self.reading.insert(stream, cx.waker().clone());
    }

    pub(super) fn await_room(&mut self, stream: u64, cx: &Context<'_>) {
        self.writing.insert(stream, cx.waker().clone());
    }

    fn tell(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
        if self.is_over() {
            self.reading.drain().chain(self.writing.drain()).for_each(|(_, waker)| waker.wake());
            return;
        }
        if !self.reading.is_empty() {
            let readable = self.quic.readable();
            readable.filter_map(|stream| self.reading.remove(&stream)).for_each(Waker::wake);
        }
        if !self.writing.is_empty() {
            let writable = self.quic.writable();
            writable.filter_map(|stream| self.writing.remove(&stream)).for_each(Waker::wake);
        }
    }
}
