//! Who waits for what: tquic tells it what happened while it works, tasks leave their wakers here.

use crate::Failure;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tquic::{Connection, TransportHandler};

/// tquic's index of a connection, never used again.
pub(super) type Id = u64;

#[derive(Default)]
pub(super) struct Waiting {
    /// Never taken out: what is left of a closed one is small enough for a round, and its waiters still ask.
    connections: HashMap<Id, Waiters>,
    accepted: VecDeque<Id>,
    accepting: Vec<Waker>,
    /// Wait for the end of a connection. tquic tells of it only when it forgets the connection, which is later.
    ending: HashMap<Id, Waker>,
    /// Why the endpoint as a whole cannot go on.
    broken: Option<String>,
}

/// Of one connection.
#[derive(Default)]
struct Waiters {
    established: bool,
    over: Option<String>,
    /// Streams of the peer that nobody has taken.
    opened: VecDeque<u64>,
    changing: Vec<Waker>,
    reading: HashMap<u64, Waker>,
    writing: HashMap<u64, Waker>,
}

impl Waiting {
    pub(super) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Result<Id, Failure>> {
        match (self.accepted.pop_front(), &self.broken) {
            (Some(id), _) => Poll::Ready(Ok(id)),
            (None, Some(why)) => Poll::Ready(Err(why.clone().into())),
            (None, None) => {
                self.accepting.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_established(&mut self, id: Id, cx: &Context<'_>) -> Poll<Result<(), Failure>> {
        self.poll_change(id, cx, |waiters| waiters.established.then_some(()))
    }

    /// The next stream of the peer.
    pub(super) fn poll_stream(&mut self, id: Id, cx: &Context<'_>) -> Poll<Result<u64, Failure>> {
        self.poll_change(id, cx, |waiters| waiters.opened.pop_front())
    }

    fn poll_change<T>(
        &mut self,
        id: Id,
        cx: &Context<'_>,
        wanted: impl FnOnce(&mut Waiters) -> Option<T>,
    ) -> Poll<Result<T, Failure>> {
        let waiters = self.connections.entry(id).or_default();
        if let Some(wanted) = wanted(waiters) {
            return Poll::Ready(Ok(wanted));
        }
        if waiters.over.is_some() || self.broken.is_some() {
            return Poll::Ready(Err(self.why(id)));
        }
        waiters.changing.push(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn await_end(&mut self, id: Id, cx: &Context<'_>) {
        self.ending.insert(id, cx.waker().clone());
    }

    pub(super) fn await_data(&mut self, id: Id, stream: u64, cx: &Context<'_>) {
        self.connections.entry(id).or_default().reading.insert(stream, cx.waker().clone());
    }

    pub(super) fn await_room(&mut self, id: Id, stream: u64, cx: &Context<'_>) {
        self.connections.entry(id).or_default().writing.insert(stream, cx.waker().clone());
    }

    pub(super) fn why(&self, id: Id) -> Failure {
        let over = self.connections.get(&id).and_then(|waiters| waiters.over.as_ref());
        self.broken.as_ref().or(over).map_or("the connection ended", String::as_str).into()
    }

    /// Those that still exist.
    pub(super) fn connections(&self) -> Vec<Id> {
        let open = self.connections.iter().filter(|(_, waiters)| waiters.over.is_none());
        open.map(|(id, _)| *id).collect()
    }

    /// Wakes who waited for the end of those that `is_over` is true for.
    pub(super) fn tell_ended(&mut self, mut is_over: impl FnMut(Id) -> bool) {
        for (_, waker) in self.ending.extract_if(|id, _| is_over(*id)) {
            waker.wake();
        }
    }

    /// Nothing works any more; whoever waits is told why.
    pub(super) fn on_broken(&mut self, why: String) {
        self.broken.get_or_insert(why);
        self.accepting.drain(..).for_each(Waker::wake);
        self.connections.values_mut().for_each(Waiters::wake_all);
        self.ending.drain().for_each(|(_, waker)| waker.wake());
    }
}

impl Waiters {
    fn wake_all(&mut self) {
        self.changing.drain(..).for_each(Waker::wake);
        self.reading.drain().chain(self.writing.drain()).for_each(|(_, waker)| waker.wake());
    }
}

/// What tquic calls. It never does while one of the tasks holds the list.
pub(super) struct Events(pub(super) Rc<RefCell<Waiting>>);

impl Events {
    /// The waiters of a connection, if it has the index that every connection of an endpoint has.
    fn of<T>(&self, quic: &Connection, work: impl FnOnce(Id, &mut Waiting) -> T) -> Option<T> {
        quic.index().map(|id| work(id, &mut self.0.borrow_mut()))
    }
}

impl TransportHandler for Events {
    fn on_conn_created(&mut self, quic: &mut Connection) {
        self.of(quic, |id, waiting| waiting.connections.insert(id, Waiters::default()));
    }

    fn on_conn_established(&mut self, quic: &mut Connection) {
        let server = quic.is_server();
        self.of(quic, |id, waiting| {
            if server {
                waiting.accepted.push_back(id);
                waiting.accepting.drain(..).for_each(Waker::wake);
            }
            let waiters = waiting.connections.entry(id).or_default();
            waiters.established = true;
            waiters.changing.drain(..).for_each(Waker::wake);
        });
    }

    fn on_conn_closed(&mut self, quic: &mut Connection) {
        let why = match quic.peer_error().or_else(|| quic.local_error()) {
            Some(error) => format!("the connection ended: {error:?}"),
            None if quic.is_idle_timeout() || quic.is_handshake_timeout() => {
                "the connection timed out".to_owned()
            }
            None if quic.is_reset() => "the connection was reset".to_owned(),
            None => "the connection ended".to_owned(),
        };
        self.of(quic, |id, waiting| {
            let waiters = waiting.connections.entry(id).or_default();
            waiters.over = Some(why);
            waiters.wake_all();
            waiting.ending.remove(&id).into_iter().for_each(Waker::wake);
        });
    }

    fn on_stream_created(&mut self, quic: &mut Connection, stream: u64) {
        // RFC 9000 §2.1: the last bit says who opened it, the client (0) or the server (1).
        if (stream % 2 == 1) == quic.is_server() {
            return;
        }
        self.of(quic, |id, waiting| {
            let waiters = waiting.connections.entry(id).or_default();
            waiters.opened.push_back(stream);
            waiters.changing.drain(..).for_each(Waker::wake);
        });
    }

    fn on_stream_readable(&mut self, quic: &mut Connection, stream: u64) {
        // Nobody is to be told again before somebody waits again.
        quic.stream_want_read(stream, false).ok();
        self.of(quic, |id, waiting| {
            let reading = waiting.connections.entry(id).or_default().reading.remove(&stream);
            reading.into_iter().for_each(Waker::wake);
        });
    }

    fn on_stream_writable(&mut self, quic: &mut Connection, stream: u64) {
        quic.stream_want_write(stream, false).ok();
        self.of(quic, |id, waiting| {
            let writing = waiting.connections.entry(id).or_default().writing.remove(&stream);
            writing.into_iter().for_each(Waker::wake);
        });
    }

    fn on_stream_closed(&mut self, quic: &mut Connection, stream: u64) {
        self.of(quic, |id, waiting| {
            let waiters = waiting.connections.entry(id).or_default();
            let both = [waiters.reading.remove(&stream), waiters.writing.remove(&stream)];
            both.into_iter().flatten().for_each(Waker::wake);
        });
    }

    fn on_new_token(&mut self, _: &mut Connection, _: Vec<u8>) {}
}
