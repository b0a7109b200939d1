//! The async API as an application inside the shard.
//!
//! [`Bridge`] is that application: it serves the requests that come through the [`Door`] and passes events on. `link` is
//! one connection, `mailbox` the bytes of one direction of a stream, `shared` what else both sides see. All queues are
//! bounded; when one is full, its far end waits and says so once there is room.

pub(crate) mod bells;
mod depot;
pub(crate) mod door;
mod link;
pub(crate) mod mailbox;
pub(crate) mod shared;

use crate::bind::Bind;
use crate::error::{ConnectError, Error};
use crate::locked;
use bells::Bells;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use door::{Answer, Bound, ConnectRequest, Door, Reply, Request};
use link::{Link, MoveWish, OpenWish, PathWish};
use mpquic_base::{Role, Time};
use mpquic_engine::{App, Cx, SocketChange};
use mpquic_net::Throttle;
use mpquic_proto::{CloseReason, ConnectionId, Event};
use shared::{Begun, Entrance};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Snapshots are never older than this while something happens.
const REFRESH_EVERY: Duration = Duration::from_millis(50);
/// How long a path waits for the peer to allow it, and how often it asks.
const PATH_WAIT_MAX: Duration = Duration::from_secs(5);
const PATH_RETRY_EVERY: Duration = Duration::from_millis(10);
/// A shutdown takes no longer than this, whatever the network does.
const SHUTDOWN_MAX: Duration = Duration::from_millis(500);
/// Connections that may wait to be accepted; more are closed.
const ACCEPTING_MAX: usize = 1024;
/// RFC 9000 §20.1 has no code for an application that is too busy; ours is the generic 0 with a reason.
const BUSY: (u64, &[u8]) = (0, b"too many connections wait to be accepted");

/// Connections of peers on their way to the application.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    /// Each with the door of its shard.
    pub(crate) queue: Mutex<VecDeque<(Arc<Door>, Entrance)>>,
    pub(crate) changed: Notify,
}

pub(crate) struct Bridge {
    door: Arc<Door>,
    accepting: Arc<Accepting>,
    stop: Arc<AtomicBool>,
    links: BTreeMap<ConnectionId, Box<Link>>,
    /// Callers that wait for sockets to come and go, in the order of their wishes.
    socket_calls: VecDeque<SocketCall>,
    refresh_at: Option<Time>,
    retry_at: Option<Time>,
    /// Closing everything, until this time at the latest.
    ending: Option<Time>,
    /// Kept for its allocation.
    requests: Vec<Request>,
    bells: Bells,
}

/// Somebody waits for a socket to come or go.
enum SocketCall {
    Add(Bind, Arc<Throttle>, Reply<SocketAddr, io::Error>),
    Remove(Reply<bool>),
}

impl Bridge {
    pub(crate) fn new(door: Arc<Door>, accepting: Arc<Accepting>, stop: Arc<AtomicBool>) -> Self {
        Self {
            door,
            accepting,
            stop,
            links: BTreeMap::new(),
            socket_calls: VecDeque::new(),
            refresh_at: None,
            retry_at: None,
            ending: None,
            requests: Vec::new(),
            bells: Bells::default(),
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, request: Request) {
        let now = cx.now();
        match request {
            Request::Connect(request) => self.connect(cx, *request),
            Request::AddSocket { socket, bind, throttle, reply } => {
                self.socket_calls.push_back(SocketCall::Add(bind, throttle, reply));
                cx.add_socket(*socket);
            }
            Request::RemoveSocket { local, reply } => {
                self.socket_calls.push_back(SocketCall::Remove(reply));
                cx.remove_socket(local);
            }
            Request::Open { connection, dir, reply } => {
                let wish = OpenWish { dir, reply };
                self.on_link(cx, connection, |link, conn| link.open(conn, wish));
            }
            Request::OpenPath { connection, tuple, backup, reply } => {
                let wish = PathWish { tuple, backup, give_up_at: now + PATH_WAIT_MAX, reply };
                self.on_link(cx, connection, |link, conn| link.open_path(now, conn, wish));
                self.schedule(cx, connection);
            }
            Request::AbandonPath { connection, path, reply } => self.on_link(cx, connection, |_, conn| {
                reply.send(conn.abandon_path(now, path).map_err(Error::Refused)).ok();
            }),
            Request::MovePath { connection, path, tuple, reply } => {
                let wish = MoveWish { path, tuple, give_up_at: now + PATH_WAIT_MAX, reply };
                self.move_path(cx, connection, wish);
            }
            Request::SetPathBackup { connection, path, backup, reply } => {
                self.on_link(cx, connection, |link, conn| {
                    let done = conn.set_path_backup(path, backup).map_err(Error::Refused);
                    link.refresh(conn);
                    reply.send(done).ok();
                });
            }
            Request::Paths { connection, reply } => self.on_link(cx, connection, |link, conn| {
                link.refresh(conn);
                reply.send(Ok(conn.path_stats().collect())).ok();
            }),
            Request::Export { connection, len, label, context, reply } => {
                self.on_link(cx, connection, |_, conn| {
                    reply.send(exported(conn, len, &label, &context)).ok();
                });
            }
            Request::UpdateKeys { connection, reply } => self.on_link(cx, connection, |_, conn| {
                reply.send(conn.update_keys().map_err(Error::Refused)).ok();
            }),
            Request::Tokens { reply } => drop(reply.send(Ok(tokens(cx)))),
            Request::RememberTokens(all) => remember(cx, all),
            Request::Write(id, stream) => self.on_link(cx, id, |link, conn| link.write(conn, stream)),
            Request::Read(id, stream) => self.on_link(cx, id, |link, conn| link.read(conn, stream)),
            Request::Reset(id, stream, code) => {
                self.on_link(cx, id, |link, conn| link.reset(conn, stream, code));
            }
            Request::ResetAt(id, stream, code, size) => {
                self.on_link(cx, id, |link, conn| link.reset_at(conn, stream, (code, size)));
            }
            Request::Stop(id, stream, code) => {
                self.on_link(cx, id, |link, conn| link.stop(conn, stream, code));
            }
            Request::Accept(id, dir) => self.on_link(cx, id, |link, conn| link.accept(conn, dir)),
            Request::Datagrams(id) => self.on_link(cx, id, |link, conn| link.send_datagrams(conn)),
            Request::Close(id, code, reason) => {
                self.on_link(cx, id, |_, conn| conn.close(now, code, &reason));
            }
            Request::Released(id) => self.on_link(cx, id, |link, conn| link.on_released(now, conn)),
            Request::Stats(reply) => drop(reply.send(Ok(cx.stats()))),
            Request::Shutdown => self.shut_down(cx),
        }
    }

    fn move_path(&mut self, cx: &mut Cx<'_>, connection: ConnectionId, wish: MoveWish) {
        let now = cx.now();
        self.on_link(cx, connection, |link, conn| link.move_path(now, conn, wish));
        self.schedule(cx, connection);
    }

    /// Acts on a connection and its link, if both are still there; else the request is dropped with its reply.
    fn on_link(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnectionId,
        act: impl FnOnce(&mut Link, &mut mpquic_proto::Connection),
    ) {
        let now = cx.now();
        if let (Some(link), Some(connection)) = (self.links.get_mut(&id), cx.connection(id)) {
            core::mem::swap(&mut link.bells, &mut self.bells);
            act(link, connection);
            core::mem::swap(&mut link.bells, &mut self.bells);
            link.close_if_released(now, connection);
        }
    }

    fn on_socket_added(&mut self, cx: &mut Cx<'_>, local: SocketAddr, result: io::Result<()>) {
        let Some(SocketCall::Add(bind, throttle, reply)) = self.socket_calls.pop_front() else { return };
        if result.is_ok() {
            self.door.on_added(Bound { local, bind, throttle });
        }
        let added = result.is_ok();
        if reply.send(result.map(|()| local)).is_err() && added {
            // Nobody waiting any more.
            self.on_request(cx, Request::RemoveSocket { local, reply: Answer::channel(drop).0 });
        }
    }

    fn on_socket_removed(&mut self, cx: &mut Cx<'_>, local: SocketAddr, found: bool) {
        let Some(SocketCall::Remove(reply)) = self.socket_calls.pop_front() else { return };
        if found {
            self.door.on_removed(local);
            let now = cx.now();
            let door = Arc::clone(&self.door);
            for (id, link) in &mut self.links {
                if let Some(connection) = cx.connection(*id) {
                    link.on_socket_removed(now, connection, &door);
                }
            }
        }
        reply.send(Ok(found)).ok();
    }

    fn connect(&mut self, cx: &mut Cx<'_>, request: ConnectRequest) {
        if self.ending.is_some() {
            return;
        }
        let ConnectRequest { config, server_name, tuple, reply } = request;
        let id = match cx.connect(&config, &server_name, tuple) {
            Ok(id) => id,
            Err(error) => {
                reply.send(Err(ConnectError::Name(error.why))).ok();
                return;
            }
        };
        let Some(connection) = cx.peek(id) else { return };
        let link = Link::new(connection);
        let entrance = Entrance { id, shared: Arc::clone(&link.shared) };
        let begun = Begun { entrance, early: connection.can_send_early() };
        self.links.insert(id, Box::new(link));
        if reply.send(Ok(begun)).is_err() {
            // Nobody waiting any more, so nobody will release it.
            self.door.send(Request::Released(id));
        }
    }

    /// Hands a client's connection to whoever accepts.
    fn announce(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if core::mem::replace(&mut link.announced, true) {
            return;
        }
        let entrance = Entrance { id, shared: Arc::clone(&link.shared) };
        let mut queue = locked(&self.accepting.queue);
        if queue.len() >= ACCEPTING_MAX {
            drop(queue);
            self.door.send(Request::Close(id, BUSY.0, BUSY.1.to_vec()));
            self.door.send(Request::Released(id));
            return;
        }
        queue.push_back((Arc::clone(&self.door), entrance));
        drop(queue);
        self.accepting.changed.notify_one();
    }

    fn on_closed(&mut self, cx: &mut Cx<'_>, id: ConnectionId, reason: CloseReason) {
        if let Some(link) = self.links.remove(&id) {
            if let Some(connection) = cx.peek(id) {
                let mut link = link;
                link.refresh(connection);
                link.on_closed(cx.connection(id), &reason);
            } else {
                link.on_closed(None, &reason);
            }
        }
    }

    /// Notes when snapshots and waiting paths need attention.
    fn schedule(&mut self, cx: &Cx<'_>, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.stale = true;
        self.refresh_at.get_or_insert(cx.now() + REFRESH_EVERY);
        if link.has_wishes() {
            self.retry_at.get_or_insert(cx.now() + PATH_RETRY_EVERY);
        }
    }

    fn refresh(&mut self, cx: &Cx<'_>) {
        if self.refresh_at.is_none_or(|at| at > cx.now()) {
            return;
        }
        self.refresh_at = None;
        for (id, link) in &mut self.links {
            let Some(connection) = cx.peek(*id).filter(|_| link.stale) else { continue };
            // As long as packets move there may be news without events.
            link.stale = link.refresh(connection);
            if link.stale {
                self.refresh_at = Some(cx.now() + REFRESH_EVERY);
            } else {
                link.rest();
            }
        }
    }

    fn retry_paths(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        self.retry_at = None;
        for (id, link) in self.links.iter_mut().filter(|(_, link)| link.has_wishes()) {
            if let Some(connection) = cx.connection(*id) {
                link.retry_paths(now, connection);
            }
            if link.has_wishes() {
                self.retry_at = Some(now + PATH_RETRY_EVERY);
            }
        }
    }

    fn shut_down(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        self.ending.get_or_insert(now + SHUTDOWN_MAX);
        for id in self.links.keys() {
            if let Some(connection) = cx.connection(*id) {
                connection.close(now, 0, b"");
            }
        }
    }

    fn end_if_done(&self, now: Time) {
        let Some(last) = self.ending else { return };
        if now >= last || self.links.is_empty() {
            self.stop.store(true, Ordering::Release);
        }
    }
}

fn tokens(cx: &Cx<'_>) -> Vec<(String, u32, Vec<u8>)> {
    cx.tokens().map(|(server, version, token)| (server.to_owned(), version, token.to_vec())).collect()
}

fn remember(cx: &mut Cx<'_>, tokens: Vec<(String, u32, Vec<u8>)>) {
    tokens.into_iter().for_each(|(server, version, token)| cx.remember_token(&server, version, token));
}

/// Keying material that only the two ends of a connection can know.
fn exported(
    connection: &mpquic_proto::Connection,
    len: usize,
    label: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; len];
    let done = connection.export_keying_material(&mut out, label, context);
    done.then_some(out).ok_or(Error::Refused(mpquic_proto::Refused::NotAllowed))
}

impl App for Bridge {
    fn on_event(&mut self, cx: &mut Cx<'_>, id: ConnectionId, event: Event) {
        let now = cx.now();
        if let Event::Closed(reason) = event {
            return self.on_closed(cx, id, reason);
        }
        let Some(connection) = cx.connection(id) else { return };
        // On a server, news that come before the handshake is complete come with 0-RTT: somebody wants to hear them now.
        let server = connection.role() == Role::Server;
        let arrived = matches!(event, Event::Connected | Event::Stream(_) | Event::DatagramReadable);
        let announce = server && arrived;
        let link = match self.links.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if arrived || connection.is_established() => {
                entry.insert(Box::new(Link::new(connection)))
            }
            Entry::Vacant(_) => return,
        };
        match event {
            Event::Connected => {
                link.on_connected(connection);
                link.forgo_reset_at(connection);
                link.close_if_released(now, connection);
            }
            Event::Stream(event) => {
                core::mem::swap(&mut link.bells, &mut self.bells);
                link.on_stream_event(connection, event);
                core::mem::swap(&mut link.bells, &mut self.bells);
                link.close_if_released(now, connection);
            }
            Event::DatagramReadable => link.read_datagrams(connection),
            Event::DatagramWritable => link.send_datagrams(connection),
            Event::Path(event) => {
                link.on_path_event(now, connection, event);
                link.give_up_lost(now, connection, &self.door);
            }
            Event::Closed(_) | Event::TokenReceived(_) | Event::EarlyData { .. } => {}
        }
        if announce {
            self.announce(id);
        }
        self.schedule(cx, id);
    }

    fn on_wake(&mut self, cx: &mut Cx<'_>) {
        let mut requests = core::mem::take(&mut self.requests);
        self.door.take(&mut requests);
        for request in requests.drain(..) {
            self.on_request(cx, request);
        }
        self.requests = requests;
        self.retry_paths(cx);
        self.refresh(cx);
        self.end_if_done(cx.now());
    }

    fn on_turn_end(&mut self, now: Time) {
        self.bells.ring(now, self.door.others());
    }

    fn on_socket(&mut self, cx: &mut Cx<'_>, change: SocketChange) {
        match change {
            SocketChange::Added { local, result } => self.on_socket_added(cx, local, result),
            SocketChange::Removed { local, found } => self.on_socket_removed(cx, local, found),
        }
    }

    fn deadline(&self) -> Option<Time> {
        let next = Time::soonest(self.refresh_at, self.retry_at);
        let done = self.ending.map(|last| if self.links.is_empty() { Time::ZERO } else { last });
        Time::soonest(Time::soonest(next, done), self.bells.deadline(self.door.others()))
    }
}

/// Whatever ended the shard, a panic included, nobody goes on waiting for it.
impl Drop for Bridge {
    fn drop(&mut self) {
        self.door.close();
        self.bells.ring_all();
        self.door.others().wake();
        let reason = CloseReason::Local(0);
        for (_, link) in core::mem::take(&mut self.links) {
            link.on_closed(None, &reason);
        }
        // Other shards' connections may go on waiting.
        locked(&self.accepting.queue).retain(|(door, _)| !Arc::ptr_eq(door, &self.door));
        self.accepting.changed.notify_waiters();
    }
}
