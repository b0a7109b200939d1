//! The loop around quiche: one socket, its connections, their timers, and who waits for what. It runs as a task of the
//! same thread as the test.
//!
//! Packets leave in GSO batches of at most quiche's send quantum. Its pacing says when each may leave; a batch that is early
//! by less than [`EARLY`] leaves at once, as in quiche's own driver, another one waits.

use crate::Failure;
use crate::host::bind_udp;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

const EARLY: Duration = Duration::from_millis(1);
/// Bytes of a datagram, batched or not.
const DATAGRAM: usize = 1 << 16;
/// Packets of a batch: what fits a datagram.
const BATCH: usize = 44;
/// System calls for receiving before the connections get their turn.
const CALLS: usize = 8;
const CID: usize = 8;

pub(super) struct Driver {
    pub(super) local: SocketAddr,
    socket: UdpSocket,
    offload: UdpSocketState,
    state: RefCell<State>,
    woken: Notify,
}

pub(super) type Id = usize;

pub(super) struct State {
    config: quiche::Config,
    server: bool,
    local: SocketAddr,
    /// Never taken out: a closed one is small enough for a round, and its waiters still ask.
    connections: Vec<Driven>,
    routes: HashMap<Vec<u8>, Id>,
    timers: BTreeSet<(Instant, Id)>,
    /// Have something to send, perhaps.
    busy: VecDeque<Id>,
    accepted: VecDeque<Id>,
    accepting: Vec<Waker>,
    next_cid: u64,
    /// The buffer of the last batch, for the next one.
    spare: Vec<u8>,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A connection, and those who wait for it.
pub(super) struct Driven {
    pub(super) quic: quiche::Connection,
    busy: bool,
    timer: Option<Instant>,
    announced: bool,
    opened: u64,
    accepted: u64,
    waiting: Vec<Waker>,
    reading: HashMap<u64, Waker>,
    writing: HashMap<u64, Waker>,
    /// Packets that may not leave yet, or that the socket did not take.
    held: Option<Batch>,
}

struct Batch {
    bytes: Vec<u8>,
    len: usize,
    segment: usize,
    to: SocketAddr,
    at: Instant,
}

impl Driver {
    pub(super) fn start(
        config: quiche::Config,
        server: bool,
        local: SocketAddr,
    ) -> Result<Rc<Self>, Failure> {
        let socket = bind_udp(local)?;
        socket.set_nonblocking(true)?;
        let offload = UdpSocketState::new((&socket).into())?;
        let socket = UdpSocket::from_std(socket)?;
        let local = socket.local_addr()?;
        let state = State {
            config,
            server,
            local,
            connections: Vec::new(),
            routes: HashMap::new(),
            timers: BTreeSet::new(),
            busy: VecDeque::new(),
            accepted: VecDeque::new(),
            accepting: Vec::new(),
            next_cid: if server { 1 } else { 1 << 32 },
            spare: Vec::new(),
        };
        let driver =
            Rc::new(Self { local, socket, offload, state: RefCell::new(state), woken: Notify::new() });
        let running = Rc::clone(&driver);
        tokio::task::spawn_local(async move { running.run().await });
        Ok(driver)
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// To be called after anything that may give quiche something to send.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    async fn run(&self) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let more = self.receive(&mut buffer);
            self.state().expire(now());
            let blocked = self.flush();
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = self.state().timers.first().map(|(at, _)| tokio::time::Instant::from_std(*at));
            let expired = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.woken.notified() => {}
                _ = self.socket.readable() => {}
                _ = self.socket.writable(), if blocked => {}
                () = expired => {}
            }
        }
    }

    /// Whether there may be more.
    fn receive(&self, buffer: &mut [u8]) -> bool {
        for _ in 0..CALLS {
            let mut meta = [RecvMeta::default()];
            let receive =
                || self.offload.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta);
            if self.socket.try_io(Interest::READABLE, receive).is_err() {
                return false;
            }
            let [RecvMeta { addr, len, stride, .. }] = meta;
            self.state().on_datagrams(&mut buffer[..len], stride.max(1), addr);
        }
        true
    }

    /// Sends what may be sent; whether the socket is full.
    pub(super) fn flush(&self) -> bool {
        let mut state = self.state();
        for _ in 0..state.busy.len() {
            let Some(id) = state.busy.pop_front() else { break };
            let State { connections, spare, .. } = &mut *state;
            let connection = &mut connections[id];
            connection.busy = false;
            let horizon = now() + EARLY;
            while let Some(batch) = connection.next_batch(spare) {
                if batch.at > horizon {
                    connection.held = Some(batch);
                    break;
                }
                if self.send(&batch).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    connection.held = Some(batch);
                    state.mark(id);
                    return true;
                }
                *spare = batch.bytes;
            }
            state.schedule(id);
        }
        false
    }

    /// What fails otherwise than by a full socket is lost like any packet.
    fn send(&self, batch: &Batch) -> io::Result<()> {
        let transmit = Transmit {
            destination: batch.to,
            ecn: None,
            contents: &batch.bytes[..batch.len],
            segment_size: (batch.len > batch.segment).then_some(batch.segment),
            src_ip: None,
        };
        let send = || self.offload.try_send((&self.socket).into(), &transmit);
        self.socket.try_io(Interest::WRITABLE, send)
    }
}

impl State {
    pub(super) fn connection(&mut self, id: Id) -> &mut Driven {
        // Whoever asks for it may change it.
        self.mark(id);
        &mut self.connections[id]
    }

    pub(super) fn connect(&mut self, name: &str, server: SocketAddr) -> Result<Id, Failure> {
        let cid = self.new_cid();
        let scid = quiche::ConnectionId::from_ref(&cid);
        let quic = quiche::connect(Some(name), &scid, self.local, server, &mut self.config)?;
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
        for id in 0..self.connections.len() {
            self.connection(id).quic.close(true, 0, b"").ok();
        }
    }

    fn on_datagrams(&mut self, bytes: &mut [u8], stride: usize, from: SocketAddr) {
        let info = quiche::RecvInfo { from, to: self.local };
        let mut last = None;
        for packet in bytes.chunks_mut(stride) {
            let Some(id) = self.route(packet, from) else { continue };
            // One bad packet is not worth more than being ignored.
            self.connections[id].quic.recv(packet, info).ok();
            if last.is_some_and(|last| last != id) {
                self.tell(last);
            }
            last = Some(id);
        }
        self.tell(last);
    }

    fn route(&mut self, packet: &mut [u8], from: SocketAddr) -> Option<Id> {
        // RFC 9000 §17.3: a short header begins with our connection ID, whose length we know.
        if packet[0] & 0x80 == 0 {
            return self.routes.get(packet.get(1..=CID)?).copied();
        }
        let header = quiche::Header::from_slice(packet, CID).ok()?;
        if let Some(id) = self.routes.get(&*header.dcid) {
            return Some(*id);
        }
        if !self.server || header.ty != quiche::Type::Initial {
            return None;
        }
        let cid = self.new_cid();
        let scid = quiche::ConnectionId::from_ref(&cid);
        let quic = quiche::accept(&scid, None, self.local, from, &mut self.config).ok()?;
        let id = self.add(quic, cid);
        self.routes.insert(header.dcid.to_vec(), id);
        Some(id)
    }

    /// Wakes whom the packets just received may concern.
    fn tell(&mut self, id: Option<Id>) {
        let Some(id) = id else { return };
        let connection = &mut self.connections[id];
        if self.server && !connection.announced && connection.quic.is_established() {
            connection.announced = true;
            self.accepted.push_back(id);
            self.accepting.drain(..).for_each(Waker::wake);
        }
        connection.tell();
        self.mark(id);
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let connection = &mut self.connections[id];
            connection.timer = None;
            if connection.quic.timeout_instant().is_some_and(|at| at <= now) {
                connection.quic.on_timeout();
                connection.tell();
            }
            self.mark(id);
        }
    }

    /// Sets the timer anew.
    fn schedule(&mut self, id: Id) {
        let connection = &mut self.connections[id];
        let release = connection.held.as_ref().map(|batch| batch.at);
        let timer = [connection.quic.timeout_instant(), release].into_iter().flatten().min();
        if timer != connection.timer {
            if let Some(old) = connection.timer {
                self.timers.remove(&(old, id));
            }
            self.timers.extend(timer.map(|at| (at, id)));
            connection.timer = timer;
        }
    }

    fn mark(&mut self, id: Id) {
        if !std::mem::replace(&mut self.connections[id].busy, true) {
            self.busy.push_back(id);
        }
    }

    fn add(&mut self, quic: quiche::Connection, cid: [u8; CID]) -> Id {
        let id = self.connections.len();
        self.connections.push(Driven {
            quic,
            busy: false,
            timer: None,
            announced: false,
            opened: 0,
            accepted: 0,
            waiting: Vec::new(),
            reading: HashMap::new(),
            writing: HashMap::new(),
            held: None,
        });
        self.routes.insert(cid.to_vec(), id);
        self.mark(id);
        id
    }

    /// Unique, which is all that a benchmark needs.
    fn new_cid(&mut self) -> [u8; CID] {
        self.next_cid += 1;
        self.next_cid.to_be_bytes()
    }
}

impl Driven {
    pub(super) fn is_over(&self) -> bool {
        self.quic.is_closed() || self.quic.is_draining() || self.quic.peer_error().is_some()
    }

    pub(super) fn why(&self) -> Failure {
        let error = self.quic.peer_error().or_else(|| self.quic.local_error());
        match error {
            Some(error) => format!("the connection ended: {error:?}").into(),
            None if self.quic.is_timed_out() => "the connection timed out".into(),
            None => "the connection ended".into(),
        }
    }

    /// RFC 9000 §2.1: bidirectional streams of the client are 0, 4, 8 and so on, those of the server 1, 5, 9.
    pub(super) fn open(&mut self) -> u64 {
        let stream = self.opened * 4 + u64::from(self.quic.is_server());
        self.opened += 1;
        stream
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

    /// Packets of one size to one address that may leave at the same time.
    fn next_batch(&mut self, spare: &mut Vec<u8>) -> Option<Batch> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let segment = self.quic.max_send_udp_payload_size();
        let packets = (self.quic.send_quantum() / segment).clamp(1, BATCH);
        spare.resize(spare.len().max(packets * segment), 0);
        let mut len = 0;
        let mut first: Option<quiche::SendInfo> = None;
        while len + segment <= packets * segment {
            let Ok((n, info)) = self.quic.send(&mut spare[len..len + segment]) else { break };
            first.get_or_insert(info);
            len += n;
            // Only the last packet of a batch may be shorter.
            if n < segment {
                break;
            }
        }
        first.map(|info| Batch { bytes: std::mem::take(spare), len, segment, to: info.to, at: info.at })
    }
}
