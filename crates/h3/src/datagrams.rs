//! HTTP datagrams (RFC 9297 §2) with a context id in front, as CONNECT-UDP and CONNECT-IP have them.
//!
//! Owns one bounded queue per request stream and who may use it. Refuses to know what contexts mean. Whatever can come in
//! numbers goes in batches: each lock, each bell and each visit to the shard is for many datagrams.

use crate::code;
use crate::conn::{Core, locked};
use crate::error::{Fault, SendDatagramError};
use bytes::{Buf, Bytes};
use core::sync::atomic::{AtomicBool, Ordering};
use mpquic::{Refused, StreamId};
use mpquic_wire::{Reader, VARINT_MAX, Writer, varint_len};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Datagrams that wait for a stream's reader; the oldest give way.
const QUEUE_MAX: usize = 1024;
/// Datagrams that are taken from the connection at once.
const ROUTE_BATCH: usize = 256;
/// The same before the application has the request, per stream and for all streams that we have not seen yet.
const EARLY_MAX: usize = 16;
const EARLY_TOTAL_MAX: usize = 64;
/// RFC 9297 §2.1: the largest quarter stream id.
const QUARTER_MAX: u64 = (1 << 60) - 1;
/// Two varints.
const PREFIX_MAX: usize = 16;

/// The datagrams of one request stream. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Datagrams {
    core: Arc<Core>,
    route: Arc<Route>,
    quarter: u64,
}

impl Datagrams {
    pub(crate) fn new(core: Arc<Core>, route: Arc<Route>, id: StreamId) -> Self {
        locked(&route.queue).limit = QUEUE_MAX;
        Self { core, route, quarter: id.index() }
    }

    /// Queues `payload`, which arrives once or not at all.
    ///
    /// # Errors
    /// See [`SendDatagramError`]; nothing was queued.
    pub fn send(&self, context: u64, payload: &[u8]) -> Result<(), SendDatagramError> {
        self.check(context)?;
        let mut prefix = [0; PREFIX_MAX];
        let prefix = self.prefix(context, &mut prefix);
        let sent = self.core.connection.send_datagram_parts(&[prefix, payload]);
        sent.map_err(|error| match error {
            mpquic::Error::Refused(Refused::DatagramSize) => SendDatagramError::TooLarge,
            mpquic::Error::Refused(Refused::Full) => SendDatagramError::Full,
            _ => SendDatagramError::Closed,
        })
    }

    /// A batch for [`Datagrams::send_batch`], with what the paths carry now as the limit of its datagrams.
    ///
    /// # Errors
    /// See [`SendDatagramError`].
    pub fn batch(&self, context: u64) -> Result<Batch, SendDatagramError> {
        self.check(context)?;
        // Without a path nothing fits.
        let max = self.core.connection.max_datagram_size().unwrap_or(0);
        let mut prefix = [0; PREFIX_MAX];
        let prefix = self.prefix(context, &mut prefix).to_vec();
        Ok(Batch { prefix, max, waiting: VecDeque::new() })
    }

    /// Queues what is in `batch`, in one go, and takes it out.
    ///
    /// # Errors
    /// [`SendDatagramError::Full`] if there was not room for all: the rest is still in `batch`. [`SendDatagramError::Closed`] if
    /// the stream or the connection is over.
    pub fn send_batch(&self, batch: &mut Batch) -> Result<(), SendDatagramError> {
        if self.route.sending_over.load(Ordering::Acquire) {
            return Err(SendDatagramError::Closed);
        }
        let waiting = &mut batch.waiting;
        let sent = self.core.connection.send_datagrams(core::iter::from_fn(|| waiting.pop_front()));
        sent.map_err(|_| SendDatagramError::Closed)?;
        if batch.is_empty() { Ok(()) } else { Err(SendDatagramError::Full) }
    }

    fn check(&self, context: u64) -> Result<(), SendDatagramError> {
        if context > VARINT_MAX {
            return Err(SendDatagramError::TooLarge);
        }
        if self.route.sending_over.load(Ordering::Acquire) {
            return Err(SendDatagramError::Closed);
        }
        if self.core.datagrams_agreed() { Ok(()) } else { Err(SendDatagramError::Unsupported) }
    }

    /// RFC 9297 §2.1, RFC 9298 §5: what stands before the payload.
    fn prefix<'a>(&self, context: u64, room: &'a mut [u8; PREFIX_MAX]) -> &'a [u8] {
        let mut writer = Writer::new(room);
        writer.put_varint(self.quarter);
        writer.put_varint(context);
        let len = writer.written().len();
        &room[..len]
    }

    /// The next datagram: its context id and its payload. `None` once the stream is over and the queue empty.
    pub async fn recv(&self) -> Option<(u64, Bytes)> {
        self.find(VecDeque::pop_front).await
    }

    /// The next datagram, if one is here.
    #[must_use]
    pub fn try_recv(&self) -> Option<(u64, Bytes)> {
        locked(&self.route.queue).datagrams.pop_front()
    }

    /// Appends the next datagrams to `out`, at most `max`: as soon as there is one, all that wait. False once the stream
    /// is over and the queue empty.
    pub async fn recv_batch(&self, out: &mut Vec<(u64, Bytes)>, max: usize) -> bool {
        let some = |queue: &mut VecDeque<_>| {
            let n = queue.len().min(max);
            out.extend(queue.drain(..n));
            (n > 0).then_some(())
        };
        self.find(some).await.is_some()
    }

    async fn find<T>(&self, mut look: impl FnMut(&mut VecDeque<(u64, Bytes)>) -> Option<T>) -> Option<T> {
        loop {
            let rung = self.route.arrived.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            {
                let mut queue = locked(&self.route.queue);
                if let Some(found) = look(&mut queue.datagrams) {
                    return Some(found);
                }
                if queue.over {
                    return None;
                }
            }
            rung.await;
        }
    }

    /// The largest payload that every path carries now; `None` if the peer takes no datagrams (or has not said yet).
    #[must_use]
    pub fn max_payload(&self, context: u64) -> Option<usize> {
        let max = self.core.connection.max_datagram_size().filter(|_| self.core.datagrams_agreed())?;
        max.checked_sub(varint_len(self.quarter) + varint_len(context.min(VARINT_MAX)))
    }

    /// Datagrams that arrived and were dropped because nobody read them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        locked(&self.route.queue).dropped
    }
}

/// Datagrams of one stream and context that are sent together.
#[derive(Debug)]
pub struct Batch {
    prefix: Vec<u8>,
    max: usize,
    waiting: VecDeque<Vec<u8>>,
}

impl Batch {
    /// Adds a datagram whose payload is `parts` one after the other.
    ///
    /// # Errors
    /// [`SendDatagramError::TooLarge`] if not every path carries it; nothing was added.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<(), SendDatagramError> {
        let len = self.prefix.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        if len > self.max {
            return Err(SendDatagramError::TooLarge);
        }
        let mut datagram = Vec::with_capacity(len);
        datagram.extend_from_slice(&self.prefix);
        parts.iter().for_each(|part| datagram.extend_from_slice(part));
        self.waiting.push_back(datagram);
        Ok(())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Where the datagrams of a stream go.
#[derive(Debug)]
pub(crate) struct Route {
    queue: Mutex<Queue>,
    arrived: Notify,
    sending_over: AtomicBool,
}

#[derive(Debug)]
struct Queue {
    datagrams: VecDeque<(u64, Bytes)>,
    limit: usize,
    dropped: u64,
    over: bool,
    /// The request gives datagrams no meaning.
    senseless: bool,
}

impl Route {
    fn new(datagrams: VecDeque<(u64, Bytes)>) -> Self {
        let queue = Queue { datagrams, limit: EARLY_MAX, dropped: 0, over: false, senseless: false };
        Self { queue: Mutex::new(queue), arrived: Notify::new(), sending_over: AtomicBool::new(false) }
    }

    /// Says whether the datagram has a meaning there.
    fn push(&self, context: u64, payload: Bytes) -> bool {
        let mut queue = locked(&self.queue);
        if queue.senseless {
            return false;
        }
        if queue.datagrams.len() >= queue.limit {
            queue.datagrams.pop_front();
            queue.dropped += 1;
        }
        queue.datagrams.push_back((context, payload));
        true
    }

    /// The request turned out to give datagrams no meaning. Says whether some have arrived nevertheless.
    pub(crate) fn forbid(&self) -> bool {
        self.end_sending();
        let mut queue = locked(&self.queue);
        queue.senseless = true;
        queue.over = true;
        !core::mem::take(&mut queue.datagrams).is_empty()
    }

    pub(crate) fn held(&self) -> usize {
        locked(&self.queue).datagrams.len()
    }

    pub(crate) fn end_receiving(&self) {
        locked(&self.queue).over = true;
        self.arrived.notify_waiters();
    }

    pub(crate) fn end_sending(&self) {
        self.sending_over.store(true, Ordering::Release);
    }
}

/// All routes of a connection, by the stream's index among requests.
#[derive(Debug)]
pub(crate) struct Routes {
    open: HashMap<u64, Arc<Route>>,
    /// A server's: for streams that did not arrive yet.
    early: Option<HashMap<u64, VecDeque<(u64, Bytes)>>>,
    early_total: usize,
    /// The lowest index that was never opened.
    horizon: u64,
    /// Streams that got a datagram which means nothing there, and are to end for it.
    misused: Vec<StreamId>,
    /// Arrived for nobody, or without a context id.
    dropped: u64,
}

impl Routes {
    pub(crate) fn new(server: bool) -> Self {
        Self {
            open: HashMap::new(),
            early: server.then(HashMap::new),
            early_total: 0,
            horizon: 0,
            misused: Vec::new(),
            dropped: 0,
        }
    }

    pub(crate) fn open(&mut self, id: StreamId) -> Arc<Route> {
        let index = id.index();
        self.horizon = self.horizon.max(index + 1);
        let waiting = self.early.as_mut().and_then(|early| early.remove(&index)).unwrap_or_default();
        self.early_total -= waiting.len();
        let route = Arc::new(Route::new(waiting));
        self.open.insert(index, Arc::clone(&route));
        route
    }

    pub(crate) fn close(&mut self, id: StreamId) {
        self.open.remove(&id.index());
    }

    /// QUIC datagrams arrived. Those before a faulty one count.
    pub(crate) fn on_datagrams(&mut self, datagrams: impl IntoIterator<Item = Vec<u8>>) -> Result<(), Fault> {
        let mut last: Option<Arc<Route>> = None;
        let ring =
            |route: Option<Arc<Route>>| route.into_iter().for_each(|route| route.arrived.notify_waiters());
        for datagram in datagrams {
            match self.on_datagram(datagram) {
                Ok(None) => {}
                Ok(route) => {
                    let known = last.as_ref().zip(route.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
                    if !known {
                        ring(core::mem::replace(&mut last, route));
                    }
                }
                Err(fault) => {
                    ring(last);
                    return Err(fault);
                }
            }
        }
        ring(last);
        Ok(())
    }

    /// Returns whose bell is to be rung.
    fn on_datagram(&mut self, datagram: Vec<u8>) -> Result<Option<Arc<Route>>, Fault> {
        let fault = |why| Fault { code: code::DATAGRAM_ERROR, why };
        let mut reader = Reader::new(&datagram);
        let quarter = reader.varint().map_err(|_| fault("a datagram without a stream"))?;
        if quarter > QUARTER_MAX {
            return Err(fault("a datagram for a stream that cannot be"));
        }
        let Ok(context) = reader.varint() else {
            self.dropped += 1;
            return Ok(None);
        };
        let at = datagram.len() - reader.remaining();
        let mut payload = Bytes::from(datagram);
        // Not a slice, which would share the bytes and so keep whoever gets them from owning them.
        payload.advance(at);
        if let Some(route) = self.open.get(&quarter) {
            if route.push(context, payload) {
                return Ok(Some(Arc::clone(route)));
            }
            self.open.remove(&quarter);
            self.misused.push(StreamId(quarter * 4));
            return Ok(None);
        }
        if quarter >= self.horizon && self.early_total < EARLY_TOTAL_MAX {
            self.keep_early(quarter, (context, payload));
        } else {
            self.dropped += 1;
        }
        Ok(None)
    }

    /// RFC 9297 §2.1: a datagram may overtake the stream it belongs to.
    fn keep_early(&mut self, quarter: u64, datagram: (u64, Bytes)) {
        let Some(early) = &mut self.early else {
            self.dropped += 1;
            return;
        };
        let queue = early.entry(quarter).or_default();
        if queue.len() >= EARLY_MAX {
            self.dropped += 1;
            return;
        }
        queue.push_back(datagram);
        self.early_total += 1;
    }

    /// Datagrams that wait for their streams.
    pub(crate) const fn held_early(&self) -> usize {
        self.early_total
    }

    /// Datagrams that were dropped because they belonged to no stream or had no context id.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Passes on the connection's datagrams until it is over.
pub(crate) async fn route(core: Arc<Core>) {
    let mut arrived = Vec::with_capacity(ROUTE_BATCH);
    while core.connection.read_datagrams(&mut arrived, ROUTE_BATCH).await.is_ok() {
        let mut routes = core.routes();
        let routed = routes.on_datagrams(arrived.drain(..));
        let misused = core::mem::take(&mut routes.misused);
        drop(routes);
        misused.into_iter().for_each(|id| core.connection.abort_stream(id, code::DATAGRAM_ERROR));
        if let Err(fault) = routed {
            core.fail(fault);
        }
    }
}

#[cfg(test)]
mod tests;
