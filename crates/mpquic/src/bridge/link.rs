//! One connection on the shard's side: moves bytes between mailboxes and streams, and keeps what callers wait for.

use super::bells::Bells;
use super::depot::Depot;
use super::door::{Door, Reply};
use super::mailbox::{Collected, Inbox, Outbox};
use super::shared::{Agreed, ConnectionStats, DATAGRAMS_MAX, INCOMING_MAX, Incoming, Opened, Shared};
use crate::error::{Error, ReadError, WriteError};
use mpquic_base::{Dir, FourTuple, PathId, StreamId, Time};
use mpquic_proto::{CloseReason, Connection, PathEvent, PathStats, Refused, StreamEvent};
use mpquic_wire::Code;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a connection or stream that nobody holds any more is ended with.
const RELEASED_CODE: u64 = 0;

pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    streams: BTreeMap<StreamId, Ends>,
    opens: VecDeque<OpenWish>,
    wishes: Vec<PathWish>,
    opening: Vec<Opening>,
    move_wishes: Vec<MoveWish>,
    /// Paths on their way to other addresses.
    moving: Vec<(PathId, Reply<()>)>,
    /// Some paths have no socket any more, and no living path was there to take over.
    lost_paths: bool,
    /// A server's: it went to whoever accepts connections.
    pub(super) announced: bool,
    /// No handle is left: close once everything that was finished has arrived.
    released: bool,
    /// The snapshots are older than what happened last.
    pub(super) stale: bool,
    /// Lent by the bridge while it calls.
    pub(super) bells: Bells,
    depot: Arc<Depot>,
}

/// The mailboxes of a stream, as long as they are of use.
struct Ends {
    out: Option<Sending>,
    inbox: Option<Arc<Inbox>>,
}

struct Sending {
    outbox: Arc<Outbox>,
    finished: bool,
    /// Code and reliable size of a reset; it waits until the connection took as many bytes.
    reset_at: Option<(u64, u64)>,
}

/// A path that the peer has not answered on yet.
struct Opening {
    path: PathId,
    tuple: FourTuple,
    reply: Reply<PathId>,
}

pub(super) struct OpenWish {
    pub(super) dir: Dir,
    pub(super) reply: Reply<Opened>,
}

pub(super) struct PathWish {
    pub(super) tuple: FourTuple,
    pub(super) backup: bool,
    pub(super) give_up_at: Time,
    pub(super) reply: Reply<PathId>,
}

/// A path that is to move as soon as the peer allows.
pub(super) struct MoveWish {
    pub(super) path: PathId,
    pub(super) tuple: FourTuple,
    pub(super) give_up_at: Time,
    pub(super) reply: Reply<()>,
}

impl Link {
    pub(super) fn new(connection: &Connection) -> Self {
        let mut link = Self {
            shared: Arc::new(Shared::new()),
            streams: BTreeMap::new(),
            opens: VecDeque::new(),
            wishes: Vec::new(),
            opening: Vec::new(),
            move_wishes: Vec::new(),
            moving: Vec::new(),
            lost_paths: false,
            announced: false,
            released: false,
            stale: true,
            bells: Bells::default(),
            depot: Arc::default(),
        };
        link.refresh(connection);
        if connection.is_established() {
            link.on_connected(connection);
        }
        link
    }

    /// The handshake is complete.
    pub(super) fn on_connected(&mut self, connection: &Connection) {
        self.shared.agreed.get_or_init(|| Agreed {
            alpn: connection.alpn().map(<[u8]>::to_vec),
            peer_certificate: connection.peer_certificate(),
            version: connection.version(),
            cipher: connection.cipher(),
            resumed: connection.is_resumed(),
            retried: connection.is_retried(),
            early_data: connection.early_data(),
            preferred: connection.preferred_addresses().collect(),
            can_reset_at: connection.can_reset_at(),
        });
        self.refresh(connection);
        self.shared.changed.notify_waiters();
    }

    pub(super) fn on_stream_event(&mut self, connection: &mut Connection, event: StreamEvent) {
        match event {
            StreamEvent::Opened(dir) => self.accept(connection, dir),
            StreamEvent::Readable(id) | StreamEvent::Reset(id, _) => self.read(connection, id),
            StreamEvent::Writable(id) => self.write(connection, id),
            StreamEvent::Finished(id) => self.end_sending(id, Ok(())),
            StreamEvent::Stopped(id, code) => self.end_sending(id, Err(WriteError::Stopped(code))),
            StreamEvent::Available(dir) => self.open_waiting(connection, dir),
        }
    }

    /// Moves what handles wrote into the connection until either side has no more room or bytes.
    pub(super) fn write(&mut self, connection: &mut Connection, id: StreamId) {
        let Some(out) = self.streams.get_mut(&id).and_then(|ends| ends.out.as_mut()) else { return };
        let collected = out.outbox.collect(connection, id, &mut self.bells);
        if let Some((_, size)) = out.reset_at {
            if collected == Collected::Finish || out.outbox.taken() >= size {
                self.reset_behind(connection, id);
            }
        } else if collected == Collected::Finish && !core::mem::replace(&mut out.finished, true) {
            // A refusal means that the peer stopped it or all is over; an event says which.
            connection.finish(id).ok();
        }
    }

    pub(super) fn read(&mut self, connection: &mut Connection, id: StreamId) {
        let Some(ends) = self.streams.get_mut(&id) else { return };
        let (bells, limit) = (&mut self.bells, self.depot.per_inbox());
        if ends.inbox.as_ref().is_some_and(|inbox| !inbox.fill(connection, id, limit, bells)) {
            ends.inbox = None;
            self.tidy(id);
        }
    }

    pub(super) fn reset(&mut self, connection: &mut Connection, id: StreamId, code: u64) {
        connection.reset(id, code).ok();
        self.end_sending(id, Err(WriteError::Finished));
    }

    /// What the reset leaves to be delivered is moved into the connection first.
    pub(super) fn reset_at(&mut self, connection: &mut Connection, id: StreamId, (code, size): (u64, u64)) {
        if !connection.can_reset_at() {
            return self.reset(connection, id, code);
        }
        let Some(out) = self.streams.get_mut(&id).and_then(|ends| ends.out.as_mut()) else { return };
        let (code, size) = out.reset_at.map_or((code, size), |(first, before)| (first, size.min(before)));
        out.reset_at = Some((code, size));
        if out.outbox.taken() >= size {
            self.reset_behind(connection, id);
        } else {
            self.write(connection, id);
        }
    }

    /// The connection has what the reset leaves to be delivered.
    fn reset_behind(&mut self, connection: &mut Connection, id: StreamId) {
        let Some(out) = self.streams.get(&id).and_then(|ends| ends.out.as_ref()) else { return };
        let Some((code, size)) = out.reset_at else { return };
        out.outbox.discard();
        // As with a write: any other refusal is explained by an event.
        if connection.reset_at(id, code, size) == Err(Refused::NoResetAt) {
            self.reset(connection, id, code);
        }
    }

    /// After the handshake: a peer that refused 0-RTT may not know such resets any more, and gets plain ones.
    pub(super) fn forgo_reset_at(&mut self, connection: &mut Connection) {
        if connection.can_reset_at() {
            return;
        }
        let code = |ends: &Ends| ends.out.as_ref()?.reset_at.map(|(code, _)| code);
        let resets: Vec<_> = self.streams.iter().filter_map(|(id, ends)| Some((*id, code(ends)?))).collect();
        for (id, code) in resets {
            self.reset(connection, id, code);
        }
    }

    pub(super) fn stop(&mut self, connection: &mut Connection, id: StreamId, code: u64) {
        connection.stop(id, code).ok();
        if let Some(inbox) = self.streams.get_mut(&id).and_then(|ends| ends.inbox.take()) {
            inbox.end(Err(ReadError::Stopped));
        }
        self.tidy(id);
    }

    /// Queues the peer's streams for their handles, as far as there is room.
    pub(super) fn accept(&mut self, connection: &mut Connection, dir: Dir) {
        while !self.released {
            let mut state = self.shared.state();
            let queue = state.queue(dir);
            queue.starving = queue.streams.len() >= INCOMING_MAX;
            if queue.starving {
                return;
            }
            let Some(id) = connection.accept(dir) else { return };
            let (outbox, inbox) =
                self.streams.entry(id).or_insert_with(|| Ends::new(id, true, &self.depot)).boxes();
            let early = !connection.is_established();
            queue.streams.push_back(Incoming {
                id,
                early,
                outbox,
                inbox: inbox.unwrap_or_else(|| Inbox::new(&self.depot)),
            });
            drop(state);
            self.shared.changed.notify_waiters();
        }
    }

    pub(super) fn open(&mut self, connection: &mut Connection, wish: OpenWish) {
        if wish.reply.is_closed() {
            return;
        }
        let id = match connection.open(wish.dir) {
            Ok(id) => id,
            Err(Refused::StreamLimit) => return self.opens.push_back(wish),
            Err(refused) => {
                wish.reply.send(Err(self.refusal(refused))).ok();
                return;
            }
        };
        let (outbox, inbox) =
            self.streams.entry(id).or_insert_with(|| Ends::new(id, false, &self.depot)).boxes();
        let early = !connection.is_established();
        let opened = Opened { id, early, outbox: outbox.unwrap_or_else(|| Outbox::new(&self.depot)), inbox };
        if wish.reply.send(Ok(opened)).is_err() {
            // Nobody waiting any more.
            self.reset(connection, id, RELEASED_CODE);
            self.stop(connection, id, RELEASED_CODE);
        }
    }

    fn open_waiting(&mut self, connection: &mut Connection, dir: Dir) {
        let waiting = core::mem::take(&mut self.opens);
        for wish in waiting {
            if wish.dir == dir {
                self.open(connection, wish);
            } else {
                self.opens.push_back(wish);
            }
        }
    }

    /// Hands over datagrams until the connection's queue is full; an event says when it is not.
    pub(super) fn send_datagrams(&self, connection: &mut Connection) {
        let mut state = self.shared.state();
        if connection.send_datagrams(&mut state.outgoing).is_err() {
            state.outgoing.clear();
        }
        state.outgoing_attended = !state.outgoing.is_empty();
        let tell = state.outgoing.len() < DATAGRAMS_MAX && core::mem::take(&mut state.outgoing_full);
        drop(state);
        if tell {
            self.shared.datagram_room.notify_waiters();
        }
    }

    pub(super) fn read_datagrams(&self, connection: &mut Connection) {
        self.shared.on_datagrams(core::iter::from_fn(|| connection.read_datagram()));
    }

    /// Opens a path now or as soon as the peer's limits allow.
    pub(super) fn open_path(&mut self, now: Time, connection: &mut Connection, wish: PathWish) {
        if wish.reply.is_closed() {
            return;
        }
        let mut given_up = self.opening.iter_mut().filter(|o| o.tuple == wish.tuple && o.reply.is_closed());
        if let Some(same) = given_up.next() {
            // As long as every path is dead, one that was asked for is tried on; a path id is not spent on each try.
            same.reply = wish.reply;
            connection.set_path_backup(same.path, wish.backup).ok();
            return;
        }
        match connection.open_path(now, wish.tuple, wish.backup) {
            Ok(path) => {
                if let Some(before) = self.take_opening(path) {
                    // No id was left, so that a path moved that was about to be opened.
                    before.send(Err(Error::PathFailed(Code::PATH_UNSTABLE_OR_POOR))).ok();
                }
                self.opening.push(Opening { path, tuple: wish.tuple, reply: wish.reply });
                self.stale = true;
            }
            Err(Refused::NoPathAvailable) if now < wish.give_up_at => self.wishes.push(wish),
            Err(refused) => {
                wish.reply.send(Err(self.refusal(refused))).ok();
            }
        }
    }

    pub(super) fn has_wishes(&self) -> bool {
        !self.wishes.is_empty() || !self.move_wishes.is_empty()
    }

    pub(super) fn retry_paths(&mut self, now: Time, connection: &mut Connection) {
        for wish in core::mem::take(&mut self.wishes) {
            self.open_path(now, connection, wish);
        }
        for wish in core::mem::take(&mut self.move_wishes) {
            self.move_path(now, connection, wish);
        }
    }

    /// Sends a path to other addresses now or as soon as the peer's limits allow.
    pub(super) fn move_path(&mut self, now: Time, connection: &mut Connection, wish: MoveWish) {
        if wish.reply.is_closed() {
            return;
        }
        match connection.move_path(now, wish.path, wish.tuple) {
            Ok(()) => {
                // A second move of the same path takes the place of the first.
                self.end_move(wish.path, false);
                self.moving.push((wish.path, wish.reply));
            }
            Err(Refused::NoPathAvailable) if now < wish.give_up_at => self.move_wishes.push(wish),
            Err(refused) => {
                wish.reply.send(Err(self.refusal(refused))).ok();
            }
        }
    }

    fn end_move(&mut self, path: PathId, moved: bool) {
        let Some(index) = self.moving.iter().position(|(id, _)| *id == path) else { return };
        let (_, reply) = self.moving.swap_remove(index);
        reply.send(if moved { Ok(()) } else { Err(Error::PathFailed(Code::PATH_UNSTABLE_OR_POOR)) }).ok();
    }

    pub(super) fn on_path_event(&mut self, now: Time, connection: &mut Connection, event: PathEvent) {
        // Whoever is told finds the news in the snapshot.
        self.refresh(connection);
        match event {
            PathEvent::Opened(path) => {
                if let Some(reply) = self.take_opening(path)
                    && reply.send(Ok(path)).is_err()
                {
                    // Given up by its caller, who has no name for it.
                    connection.abandon_path(now, path).ok();
                }
            }
            PathEvent::Abandoned { path, code } => {
                if let Some(reply) = self.take_opening(path) {
                    reply.send(Err(Error::PathFailed(code))).ok();
                }
                self.end_move(path, false);
            }
            PathEvent::Moved(path) => self.end_move(path, true),
            PathEvent::Stayed(path) => self.end_move(path, false),
            PathEvent::Available => self.retry_paths(now, connection),
            PathEvent::Silent(_)
            | PathEvent::Recovered(_)
            | PathEvent::Status { .. }
            | PathEvent::Observed { .. }
            | PathEvent::Closed(_) => {}
        }
        self.shared.on_path_event(event);
    }

    fn take_opening(&mut self, path: PathId) -> Option<Reply<PathId>> {
        let index = self.opening.iter().position(|o| o.path == path)?;
        Some(self.opening.swap_remove(index).reply)
    }

    /// Some paths may have lost their socket: their data goes to the others at once.
    pub(super) fn on_socket_removed(&mut self, now: Time, connection: &mut Connection, door: &Door) {
        let lost = |path: &PathStats| !path.closing && !door.serves(path.tuple.local);
        let lost: Vec<PathStats> = connection.path_stats().filter(lost).collect();
        for path in &lost {
            connection.path_down(now, path.id).ok();
            if let Some(reply) = self.take_opening(path.id) {
                reply.send(Err(Error::NoSuchAddress(path.tuple.local))).ok();
            }
        }
        self.lost_paths |= !lost.is_empty();
        self.give_up_lost(now, connection, door);
    }

    /// Gives up the paths that have no socket any more, as soon as another one lives.
    pub(super) fn give_up_lost(&mut self, now: Time, connection: &mut Connection, door: &Door) {
        if !self.lost_paths {
            return;
        }
        let open = || connection.path_stats().filter(|path| !path.closing);
        let lost: Vec<PathId> = open().filter(|p| !door.serves(p.tuple.local)).map(|path| path.id).collect();
        let living = open().any(|p| p.validated && !p.silent && !lost.contains(&p.id));
        self.lost_paths = !lost.is_empty();
        if living {
            for path in lost {
                connection.abandon_path(now, path).ok();
            }
            self.lost_paths = false;
        }
        self.refresh(connection);
    }

    /// Takes new snapshots. Returns whether packets moved since the last ones.
    pub(super) fn refresh(&mut self, connection: &Connection) -> bool {
        let counters = connection.counters();
        let mut state = self.shared.state();
        let before = state.stats.counters;
        state.stats = ConnectionStats {
            counters,
            streams: connection.stream_stats(),
            datagrams: connection.datagram_stats(),
        };
        state.stats.datagrams.dropped += state.overrun;
        state.max_datagram = connection.max_datagram_size();
        state.paths.clear();
        state.paths.reserve_exact(connection.path_stats().count());
        state.paths.extend(connection.path_stats());
        self.stale = false;
        before.datagrams_received != counters.datagrams_received
            || before.datagrams_sent != counters.datagrams_sent
    }

    /// Nothing has moved for a while.
    pub(super) fn rest(&self) {
        self.depot.rest();
    }

    /// The last handle is gone.
    pub(super) fn on_released(&mut self, now: Time, connection: &mut Connection) {
        self.released = true;
        let waiting: Vec<StreamId> = {
            let mut state = self.shared.state();
            let bi = core::mem::take(&mut state.bi.streams);
            let uni = core::mem::take(&mut state.uni.streams);
            bi.into_iter().chain(uni).map(|incoming| incoming.id).collect()
        };
        // Nobody will ever accept these.
        for id in waiting {
            self.reset(connection, id, RELEASED_CODE);
            self.stop(connection, id, RELEASED_CODE);
        }
        self.close_if_released(now, connection);
    }

    pub(super) fn close_if_released(&self, now: Time, connection: &mut Connection) {
        if self.released && self.streams.values().all(|ends| ends.out.is_none()) {
            connection.close(now, RELEASED_CODE, b"");
        }
    }

    /// The connection is over: everybody learns why. What had arrived can still be read.
    pub(super) fn on_closed(mut self, connection: Option<&mut Connection>, reason: &CloseReason) {
        let mut connection = connection;
        for (id, ends) in core::mem::take(&mut self.streams) {
            if let Some(out) = ends.out {
                out.outbox.end(Err(WriteError::Closed(reason.clone())));
            }
            let Some(inbox) = ends.inbox else { continue };
            if let Some(connection) = connection.as_deref_mut() {
                // Beyond the box's limit: the bytes are in memory already.
                inbox.fill(connection, id, usize::MAX, &mut self.bells);
            }
            inbox.end(Err(ReadError::Closed(reason.clone())));
        }
        for wish in self.opens {
            wish.reply.send(Err(Error::Closed(reason.clone()))).ok();
        }
        let paths = self.wishes.into_iter().map(|wish| wish.reply);
        for reply in paths.chain(self.opening.into_iter().map(|o| o.reply)) {
            reply.send(Err(Error::Closed(reason.clone()))).ok();
        }
        self.shared.close(reason.clone());
        self.bells.ring_all();
    }

    fn end_sending(&mut self, id: StreamId, verdict: Result<(), WriteError>) {
        if let Some(out) = self.streams.get_mut(&id).and_then(|ends| ends.out.take()) {
            out.outbox.end(verdict);
        }
        self.tidy(id);
    }

    fn tidy(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|ends| ends.out.is_none() && ends.inbox.is_none()) {
            self.streams.remove(&id);
        }
    }

    fn refusal(&self, refused: Refused) -> Error {
        match (refused, &self.shared.state().closed) {
            (Refused::Closed, Some(reason)) => Error::Closed(reason.clone()),
            _ => Error::Refused(refused),
        }
    }
}

impl Sending {
    fn new(depot: &Arc<Depot>) -> Self {
        Self { outbox: Outbox::new(depot), finished: false, reset_at: None }
    }
}

impl Ends {
    /// `accepted`: by us, so the peer opened it.
    fn new(id: StreamId, accepted: bool, depot: &Arc<Depot>) -> Self {
        let (sends, receives) = match id.dir() {
            Dir::Bi => (true, true),
            Dir::Uni => (!accepted, accepted),
        };
        Self { out: sends.then(|| Sending::new(depot)), inbox: receives.then(|| Inbox::new(depot)) }
    }

    fn boxes(&self) -> (Option<Arc<Outbox>>, Option<Arc<Inbox>>) {
        (self.out.as_ref().map(|out| Arc::clone(&out.outbox)), self.inbox.as_ref().map(Arc::clone))
    }
}
