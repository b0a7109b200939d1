//! What all streams of a connection share: settings of both ends, the first fault, what is going away, datagram routes.

use crate::code;
use crate::datagrams::{Route, Routes};
use crate::error::{Error, Fault};
use crate::head::{self, Protocol};
use crate::wire::settings::Settings;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use mpquic::{CloseReason, Connection, StreamId};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// The id in no GOAWAY: nobody is going away.
const STAYING: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) connection: Connection,
    pub(crate) server: bool,
    pub(crate) local: Settings,
    pub(crate) peer: watch::Sender<Option<Settings>>,
    routes: Mutex<Routes>,
    fault: OnceLock<Fault>,
    /// The last GOAWAY of the peer.
    peer_goaway: AtomicU64,
    /// Our GOAWAY: requests from this stream on are not taken.
    pub(crate) goaway: watch::Sender<Option<u64>>,
    /// The lowest id of a request stream that a server has not seen yet.
    next_request: AtomicU64,
    /// Requests that are under way, and who waits for the last one.
    active: AtomicUsize,
    pub(crate) idle: Notify,
}

impl Core {
    pub(crate) fn new(connection: Connection, server: bool) -> Self {
        Self {
            connection,
            server,
            local: Settings::default(),
            peer: watch::Sender::new(None),
            routes: Mutex::new(Routes::new(server)),
            fault: OnceLock::new(),
            peer_goaway: AtomicU64::new(STAYING),
            goaway: watch::Sender::new(None),
            next_request: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes> {
        locked(&self.routes)
    }

    /// The peer broke a rule: the connection ends with the code of the first time.
    pub(crate) fn fail(&self, fault: Fault) {
        if self.fault.set(fault).is_ok() {
            self.connection.close(fault.code, fault.why.as_bytes());
        }
    }

    /// Draws the consequences of an error for the connection, and names the cause if there was an earlier one.
    pub(crate) fn judge(&self, error: Error) -> Error {
        match error {
            Error::Violation(fault) => {
                self.fail(fault);
                Error::Violation(fault)
            }
            Error::Closed(CloseReason::Local(_)) => {
                self.fault.get().map_or(error, |fault| Error::Violation(*fault))
            }
            other => other,
        }
    }

    pub(crate) async fn peer_settings(&self) -> Result<Settings, Error> {
        let mut peer = self.peer.subscribe();
        tokio::select! {
            biased;
            arrived = peer.wait_for(Option::is_some) => match arrived.as_deref() {
                Ok(Some(settings)) => Ok(*settings),
                _ => Err(Error::EndpointGone),
            },
            reason = self.connection.closed() => Err(self.judge(Error::Closed(reason))),
        }
    }

    /// Datagrams may be sent: both ends have said so (RFC 9297 §2.1.1).
    pub(crate) fn datagrams_agreed(&self) -> bool {
        self.local.datagrams && self.peer.borrow().is_some_and(|settings| settings.datagrams)
    }

    pub(crate) fn on_goaway(&self, id: u64) -> Result<(), Fault> {
        let fault = |why| Fault { code: code::ID_ERROR, why };
        // RFC 9114 §5.2: a client learns of a request stream; ids never grow.
        if !self.server && !id.is_multiple_of(4) {
            return Err(fault("GOAWAY names a stream that carries no request"));
        }
        if id > self.peer_goaway.swap(id, Ordering::AcqRel) {
            return Err(fault("GOAWAY with a larger id than before"));
        }
        Ok(())
    }

    pub(crate) fn is_peer_going_away(&self) -> bool {
        self.peer_goaway.load(Ordering::Acquire) != STAYING
    }

    /// A server's: the request on stream `id` is under way, unless we went away before.
    pub(crate) fn admit(self: &Arc<Self>, id: StreamId) -> Option<Ticket> {
        // The borrow holds back `go_away` until the stream is counted.
        let goaway = self.goaway.borrow();
        if goaway.is_some_and(|first| id.0 >= first) {
            return None;
        }
        self.next_request.fetch_max(id.0 + 4, Ordering::AcqRel);
        Some(Ticket::new(Arc::clone(self), id))
    }

    /// A server's: takes no streams beyond those that were seen.
    pub(crate) fn go_away(&self) {
        self.goaway.send_if_modified(|goaway| {
            let news = goaway.is_none();
            goaway.get_or_insert_with(|| self.next_request.load(Ordering::Acquire));
            news
        });
        self.idle.notify_waiters();
    }

    /// The peer announced a limit that this field section is above.
    pub(crate) fn peer_takes_less_than(&self, block: &[u8]) -> bool {
        let limit = self.peer.borrow().map(|settings| settings.max_field_section_size);
        limit.is_some_and(|limit| limit < head::section_size(block))
    }

    /// Whose fault it is that the connection ended.
    pub(crate) fn verdict(&self) -> Result<(), Error> {
        self.fault.get().map_or(Ok(()), |fault| Err(Error::Violation(*fault)))
    }

    pub(crate) fn has_active(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0
    }
}

/// Keeps the connection's tasks going; when the last stream and the last handle are gone, the connection ends.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) core: Arc<Core>,
    tasks: Vec<AbortHandle>,
}

impl Handle {
    pub(crate) const fn new(core: Arc<Core>, tasks: Vec<AbortHandle>) -> Self {
        Self { core, tasks }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Before the tasks let go of the control stream: its end would be an error.
        self.core.connection.close(code::NO_ERROR, b"");
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// A request that is under way, with the route of its datagrams.
#[derive(Debug)]
pub(crate) struct Ticket {
    core: Arc<Core>,
    pub(crate) id: StreamId,
    pub(crate) route: Arc<Route>,
    done: AtomicBool,
}

impl Ticket {
    pub(crate) fn new(core: Arc<Core>, id: StreamId) -> Self {
        core.active.fetch_add(1, Ordering::AcqRel);
        let route = core.routes().open(id);
        Self { core, id, route, done: AtomicBool::new(false) }
    }

    /// RFC 9297 §2: the stream of a request ends if a datagram comes to which the request gives no meaning. Only an
    /// extended CONNECT does.
    pub(crate) fn on_head(&self, head: &http::Request<()>) {
        if head.extensions().get::<Protocol>().is_none() && self.route.forbid() {
            self.core.connection.abort_stream(self.id, code::DATAGRAM_ERROR);
        }
    }

    /// RFC 9297 §2.1: datagrams end with the stream's directions.
    pub(crate) fn end_receiving(&self) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.core.routes().close(self.id);
            self.route.end_receiving();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end_receiving();
        self.route.end_sending();
        if self.core.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.core.idle.notify_waiters();
        }
    }
}

/// Locks, whatever became of a thread that held the lock before: every change under our locks is complete in itself.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
