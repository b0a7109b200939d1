//! All streams of one connection: identifiers, buffers, flow control, and whose turn it is to send.
//!
//! [`Streams`] is the table. `send` and `recv` are the halves of a stream, `flow` the arithmetic of limits, `ready` the
//! order of sending; `peer` holds what frames do to the table, `app` what the application does, `transmit` what goes
//! out and what became of it. The table never sees packets, paths or keys: it fills the frames it is handed and
//! gets its tokens back, in any order and as often as the network likes.
//!
//! Every change of a stream runs through [`Streams::touch`], which keeps the sums and the queues true.

mod app;
mod flow;
mod peer;
mod ready;
mod recv;
mod rewind;
mod send;
mod transmit;

pub use app::{Chunk, Read};
pub(crate) use recv::Absorbed;

use flow::{Credit, Window};
use mpquic_base::{Dir, Duration, PageStore, Role, StreamId, Time};
use ready::Ready;
use recv::Recv;
use rustc_hash::FxHashMap;
use send::Send;
use std::collections::VecDeque;

/// RFC 9000 §4.6: the largest number of streams of one type.
const STREAMS_MAX: u64 = 1 << 60;

/// What one side grants the other from the start; the names are those of RFC 9000 §18.2, without `initial_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct StreamLimits {
    pub max_data: u64,
    /// For bidirectional streams that the granting side opens.
    pub max_stream_data_bidi_local: u64,
    /// For bidirectional streams that the other side opens.
    pub max_stream_data_bidi_remote: u64,
    pub max_stream_data_uni: u64,
    pub max_streams_bidi: u64,
    pub max_streams_uni: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamConfig {
    /// What we grant the peer; auto-tuning starts here.
    pub initial: StreamLimits,
    /// Auto-tuning never grows the connection's receive window beyond this many bytes.
    pub receive_window_max: u64,
    /// The same for each stream.
    pub stream_window_max: u64,
    /// All send buffers together hold at most this many bytes.
    pub send_buffer_max: u64,
}

/// Something the application may want to know. Edge-triggered: each is pending at most once per stream, and says
/// that there is something to find, not that it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The peer opened streams; `accept` yields them.
    Opened(Dir),
    /// There is something to read: bytes or the end.
    Readable(StreamId),
    /// A write that took less than it was offered may go on.
    Writable(StreamId),
    /// The peer has everything, the end included, or all that a reset with a reliable size had promised.
    Finished(StreamId),
    /// The peer wants no more of this stream; its sending half was reset.
    Stopped(StreamId, u64),
    /// The peer reset the stream. It stays until a read has told the code, or `stop` gave up on it.
    Reset(StreamId, u64),
    /// After a refusal for the peer's limit: more streams may be opened.
    Available(Dir),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StreamStats {
    /// Streams in the table.
    pub open: usize,
    /// Bytes in send and receive buffers.
    pub held_bytes: u64,
    /// Bytes written by the application and not yet released by acknowledgements.
    pub send_held: u64,
    /// Bytes that arrived and were not read.
    pub receive_held: u64,
    /// Received ranges that wait for bytes before them.
    pub fragments: usize,
    /// The connection's receive window as auto-tuning left it.
    pub receive_window: u64,
    /// Bytes that the connection's limit lets us send.
    pub send_credit: u64,
    /// Bytes that went into and out of stream buffers so far, copied or, on their way out, sealed.
    pub copied: u64,
}

/// What the network can use of the send buffers, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendHints {
    /// In flight and in waiting.
    pub(crate) useful: u64,
    /// Never sent.
    pub(crate) unsent: u64,
    /// What a stream sends before others of its priority have their turn.
    pub(crate) turn: u64,
}

impl SendHints {
    /// About a dozen packets, a small GSO batch.
    pub(crate) const TURN_MIN: u64 = 16 * 1024;
    /// While nothing is known of the network.
    pub(crate) const INITIAL: Self = Self { useful: 0, unsent: u64::MAX, turn: Self::TURN_MIN };
}

/// What flow control lets go now, in bytes; a FIN on its own counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Sendable {
    /// Never sent before.
    pub(crate) fresh: u64,
    /// To be sent again.
    pub(crate) again: u64,
}

/// What the halves of all streams share.
#[derive(Debug)]
struct Shared {
    store: PageStore,
    /// Bytes copied or sealed out of pages.
    copied_out: u64,
    /// What the peer may send on all streams together.
    receive: Window,
    /// The sum of the highest offsets that arrived.
    received: u64,
    /// What we may send on all streams together.
    send: Credit,
    /// Received ranges that wait for bytes before them.
    fragments: usize,
    events: VecDeque<StreamEvent>,
}

/// In which queues a stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Listed {
    again: bool,
    fresh: bool,
    control: bool,
    waiting: bool,
    tuning: bool,
}

#[derive(Debug)]
struct Stream {
    /// `None` on a one-way stream of the peer.
    send: Option<Send>,
    /// `None` on a one-way stream of ours.
    recv: Option<Recv>,
    /// Opened here, or handed out by `accept`; before that the application hears nothing of it.
    known: bool,
    readable_pending: bool,
    listed: Listed,
}

/// What one stream adds to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    fresh: u64,
    bare_fins: u64,
    again: u64,
    /// Halves of streams with a frame other than STREAM to write.
    control: u64,
    held: u64,
    moving: u64,
    unread: u64,
}

impl Tally {
    fn exchange(&mut self, before: &Self, after: &Self) {
        self.fresh = self.fresh - before.fresh + after.fresh;
        self.bare_fins = self.bare_fins - before.bare_fins + after.bare_fins;
        self.again = self.again - before.again + after.again;
        self.control = self.control - before.control + after.control;
        self.held = self.held - before.held + after.held;
        self.moving = self.moving - before.moving + after.moving;
        self.unread = self.unread - before.unread + after.unread;
    }
}

impl Stream {
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        if let Some(send) = &self.send {
            tally.exchange(&Tally::default(), &send.tally());
        }
        if let Some(recv) = &self.recv {
            tally.exchange(&Tally::default(), &recv.tally());
        }
        tally
    }

    /// Whether the peer may hear nothing of it yet, because it was opened under limits that no longer hold.
    fn withhold(&mut self, withheld: bool) {
        self.send.iter_mut().for_each(|send| send.withheld = withheld);
        self.recv.iter_mut().for_each(|recv| recv.withheld = withheld);
    }

    fn is_done(&self) -> bool {
        self.send.as_ref().is_none_or(Send::is_done) && self.recv.as_ref().is_none_or(Recv::is_done)
    }

    const fn news(&mut self, id: StreamId) -> News<'_> {
        News { id, known: self.known, readable_pending: &mut self.readable_pending }
    }
}

/// What the application hears of a stream's receiving half.
struct News<'a> {
    id: StreamId,
    known: bool,
    readable_pending: &'a mut bool,
}

impl News<'_> {
    fn tell_readable(&mut self, events: &mut VecDeque<StreamEvent>) {
        if self.known && !core::mem::replace(self.readable_pending, true) {
            events.push_back(StreamEvent::Readable(self.id));
        }
    }
}

/// Streams that wait for something to be done about them.
#[derive(Debug, Default)]
struct Queues {
    /// Streams with something to send that needs no credit: lost bytes, and a FIN on its own.
    again: Ready,
    /// Streams with bytes that were never sent.
    fresh: Ready,
    control: VecDeque<StreamId>,
    /// Streams whose application waits for room in the send buffers.
    waiting: VecDeque<StreamId>,
    /// Streams whose receive window may deserve to grow.
    tuning: Vec<StreamId>,
}

impl Queues {
    fn shrink(&mut self) {
        self.again.shrink();
        self.fresh.shrink();
        self.control.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.tuning.shrink_to_fit();
    }

    /// The sending half changed: it stands in every queue in which it has business.
    fn list_sender(&mut self, send: &Send, tally: &Tally, listed: &mut Listed, id: StreamId) {
        if send.wants_again() && !listed.again {
            listed.again = true;
            self.again.push(send.priority, id);
        }
        if tally.fresh > 0 && !listed.fresh {
            listed.fresh = true;
            self.fresh.push(send.priority, id);
        }
        if send.waiting && !listed.waiting {
            listed.waiting = true;
            self.waiting.push_back(id);
        }
        self.list_control(tally, listed, id);
    }

    fn list_receiver(&mut self, recv: &Recv, tally: &Tally, listed: &mut Listed, id: StreamId) {
        if !listed.tuning && recv.worth_tuning() {
            listed.tuning = true;
            self.tuning.push(id);
        }
        self.list_control(tally, listed, id);
    }

    fn list_control(&mut self, tally: &Tally, listed: &mut Listed, id: StreamId) {
        if tally.control > 0 && !listed.control {
            listed.control = true;
            self.control.push_back(id);
        }
    }

    /// Rare: a stream is mostly in no queue any more when it ends.
    fn remove(&mut self, listed: Listed, priority: i32, id: StreamId) {
        if listed.again {
            self.again.remove(priority, id);
        }
        if listed.fresh {
            self.fresh.remove(priority, id);
        }
        if listed.control {
            self.control.retain(|queued| *queued != id);
        }
        if listed.waiting {
            self.waiting.retain(|queued| *queued != id);
        }
        if listed.tuning {
            self.tuning.retain(|queued| *queued != id);
        }
    }
}

/// Streams of one direction that we open.
#[derive(Debug, Default)]
struct Ours {
    /// `used` is the index of the next stream.
    credit: Credit,
    /// Somebody was refused a stream since the limit last grew.
    refused: bool,
    available_pending: bool,
    /// The first stream that is withheld; all behind it are as well.
    withheld: Option<u64>,
}

/// Streams of one direction that the peer opens.
#[derive(Debug)]
struct Theirs {
    /// Counts streams; those that are over count as consumed.
    window: Window,
    opened: u64,
    accepted: u64,
    opened_pending: bool,
}

impl Theirs {
    fn new(limit: u64) -> Self {
        let limit = limit.min(STREAMS_MAX);
        Self { window: Window::new(limit, limit), opened: 0, accepted: 0, opened_pending: false }
    }
}

#[derive(Debug)]
struct PerDir<T> {
    bi: T,
    uni: T,
}

impl<T> PerDir<T> {
    const fn get(&self, dir: Dir) -> &T {
        match dir {
            Dir::Bi => &self.bi,
            Dir::Uni => &self.uni,
        }
    }

    const fn get_mut(&mut self, dir: Dir) -> &mut T {
        match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        }
    }
}

/// The stream table of one connection.
///
/// The application opens, accepts, writes and reads here; the rest of the connection feeds it frames, lets it fill
/// packets and reports what became of them.
#[derive(Debug)]
pub(crate) struct Streams {
    role: Role,
    config: StreamConfig,
    /// The peer's transport parameters, once they are here.
    peer: Option<StreamLimits>,
    /// The peer knows RESET_STREAM_AT.
    reset_at_allowed: bool,
    /// Streams that are not over. An index below the opened ones that is not in here belongs to a stream that is.
    table: FxHashMap<StreamId, Stream>,
    ours: PerDir<Ours>,
    theirs: PerDir<Theirs>,
    shared: Shared,
    sums: Tally,
    queues: Queues,
    send_hints: SendHints,
}

impl Streams {
    pub(crate) fn new(role: Role, config: StreamConfig) -> Self {
        let initial = &config.initial;
        Self {
            role,
            config,
            peer: None,
            reset_at_allowed: false,
            table: FxHashMap::default(),
            ours: PerDir { bi: Ours::default(), uni: Ours::default() },
            theirs: PerDir {
                bi: Theirs::new(initial.max_streams_bidi),
                uni: Theirs::new(initial.max_streams_uni),
            },
            shared: Shared {
                store: PageStore::new(),
                copied_out: 0,
                receive: Window::new(initial.max_data, config.receive_window_max),
                received: 0,
                send: Credit::default(),
                fragments: 0,
                events: VecDeque::new(),
            },
            sums: Tally::default(),
            queues: Queues::default(),
            send_hints: SendHints::INITIAL,
        }
    }

    /// Changes a stream and brings everything that depends on it up to date; `None` if it is over.
    fn touch<R>(&mut self, id: StreamId, change: impl FnOnce(&mut Stream, &mut Shared) -> R) -> Option<R> {
        let stream = self.table.get_mut(&id)?;
        let before = stream.tally();
        let result = change(stream, &mut self.shared);
        let Stream { send, recv, listed, .. } = stream;
        let mut after = Tally::default();
        if let Some(send) = send {
            let tally = send.tally();
            self.queues.list_sender(send, &tally, listed, id);
            after.exchange(&Tally::default(), &tally);
        }
        if let Some(recv) = recv {
            let tally = recv.tally();
            self.queues.list_receiver(recv, &tally, listed, id);
            after.exchange(&Tally::default(), &tally);
        }
        self.sums.exchange(&before, &after);
        if stream.is_done() {
            self.forget(id);
        }
        Some(result)
    }

    /// As [`Streams::touch`] for a change that only the sending half notices: what every packet and every
    /// acknowledgement goes through.
    #[inline]
    fn touch_send<R>(
        &mut self,
        id: StreamId,
        change: impl FnOnce(&mut Send, &mut Listed, &mut Shared) -> R,
    ) -> Option<R> {
        self.touch_send_sums(id, Send::tally, change)
    }

    /// The same for a change of which the caller knows that it touches no other sums than `tally` returns.
    #[inline]
    fn touch_send_sums<R>(
        &mut self,
        id: StreamId,
        tally: impl Fn(&Send) -> Tally,
        change: impl FnOnce(&mut Send, &mut Listed, &mut Shared) -> R,
    ) -> Option<R> {
        let stream = self.table.get_mut(&id)?;
        let Stream { send: Some(send), listed, .. } = stream else { return None };
        let before = tally(send);
        let result = change(send, listed, &mut self.shared);
        let after = tally(send);
        self.sums.exchange(&before, &after);
        self.queues.list_sender(send, &after, listed, id);
        if send.is_done() && stream.is_done() {
            self.forget(id);
        }
        Some(result)
    }

    /// The same for a change that only the receiving half notices.
    #[inline]
    fn touch_recv<R>(
        &mut self,
        id: StreamId,
        change: impl FnOnce(&mut Recv, &mut News<'_>, &mut Shared) -> R,
    ) -> Option<R> {
        let stream = self.table.get_mut(&id)?;
        let Stream { recv: Some(recv), listed, known, readable_pending, .. } = stream else { return None };
        let before = recv.tally();
        let mut news = News { id, known: *known, readable_pending };
        let result = change(recv, &mut news, &mut self.shared);
        let after = recv.tally();
        self.sums.exchange(&before, &after);
        self.queues.list_receiver(recv, &after, listed, id);
        if recv.is_done() && stream.is_done() {
            self.forget(id);
        }
        Some(result)
    }

    /// Takes a stream out of the table; from now on its id stands for a stream that is over.
    fn forget(&mut self, id: StreamId) {
        let Some(stream) = self.table.remove(&id) else { return };
        self.sums.exchange(&stream.tally(), &Tally::default());
        let priority = stream.send.map_or(0, |s| s.priority);
        self.queues.remove(stream.listed, priority, id);
        self.shared.store.rest();
        if id.opener() != self.role {
            self.theirs.get_mut(id.dir()).window.consume(1);
        }
    }

    /// Puts a new stream into the table.
    fn insert(&mut self, id: StreamId) {
        let local = id.opener() == self.role;
        let receives = !(local && id.dir() == Dir::Uni);
        let sends = local || id.dir() == Dir::Bi;
        let stream = Stream {
            send: sends.then(|| Send::new(self.peer.map(|limits| stream_limit(&limits, !local, id.dir())))),
            recv: receives.then(|| {
                Recv::new(stream_limit(&self.config.initial, local, id.dir()), self.config.stream_window_max)
            }),
            known: local,
            readable_pending: false,
            listed: Listed::default(),
        };
        self.table.insert(id, stream);
    }

    /// draft-ietf-quic-reliable-stream-reset-10 §3: the peer announced that it knows RESET_STREAM_AT, now or last time. One
    /// that does not any more has refused the 0-RTT in which it was used.
    pub(crate) fn allow_reset_at(&mut self, allowed: bool) {
        if core::mem::replace(&mut self.reset_at_allowed, allowed) && !allowed {
            let open: Vec<StreamId> = self.table.keys().copied().collect();
            for id in open {
                self.touch_send(id, |send, _, shared| send.forgo_reliable(&mut shared.store));
            }
        }
    }

    pub(crate) const fn is_reset_at_allowed(&self) -> bool {
        self.reset_at_allowed
    }

    /// Grows the receive windows that are what slows the peer down. `slowest_rtt` is that of all paths in use, because
    /// a stream's next byte may come over any of them. To be called now and then after reads.
    pub(crate) fn tune(&mut self, now: Time, slowest_rtt: Duration) {
        self.shared.receive.tune(now, slowest_rtt);
        // Whatever stays worth it queues again behind these.
        let listed = self.queues.tuning.len();
        for i in 0..listed {
            self.touch(self.queues.tuning[i], |stream, _| {
                stream.listed.tuning = false;
                if let Some(window) = stream.recv.as_mut().and_then(Recv::window) {
                    window.tune(now, slowest_rtt);
                }
            });
        }
        self.queues.tuning.drain(..listed);
    }

    pub(crate) fn set_send_hints(&mut self, hints: SendHints) {
        self.send_hints = hints;
    }

    /// The application of either end has opened one.
    pub(crate) fn were_used(&self) -> bool {
        let (ours, theirs) = (&self.ours, &self.theirs);
        ours.bi.credit.used() + ours.uni.credit.used() + theirs.bi.opened + theirs.uni.opened > 0
    }

    /// Gives back the memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.table.shrink_to_fit();
        self.shared.store.shrink();
        self.shared.events.shrink_to_fit();
        self.queues.shrink();
    }

    #[must_use]
    pub(crate) fn stats(&self) -> StreamStats {
        StreamStats {
            open: self.table.len(),
            held_bytes: self.sums.held + self.sums.unread,
            send_held: self.sums.held,
            receive_held: self.sums.unread,
            fragments: self.shared.fragments,
            receive_window: self.shared.receive.size(),
            send_credit: self.shared.send.left(),
            copied: self.shared.store.copied() + self.shared.copied_out,
        }
    }
}

/// The limit on a stream's data in the grant of one side. `own` = that side opened the stream.
const fn stream_limit(grant: &StreamLimits, own: bool, dir: Dir) -> u64 {
    match (dir, own) {
        (Dir::Uni, _) => grant.max_stream_data_uni,
        (Dir::Bi, true) => grant.max_stream_data_bidi_local,
        (Dir::Bi, false) => grant.max_stream_data_bidi_remote,
    }
}

#[cfg(test)]
mod tests;
