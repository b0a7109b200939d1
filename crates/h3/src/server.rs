//! The server's end: takes requests.

use crate::body::{BodyReceiver, BodySender, Life};
use crate::code;
use crate::conn::{Core, Handle, Ticket};
use crate::control;
use crate::datagrams::{self, Datagrams};
use crate::error::Error;
use crate::head;
use crate::message::MessageReader;
use crate::wire::frame;
use crate::wire::settings::Settings;
use http::{Method, Response, StatusCode};
use mpquic::{Connection, SendStream, StreamId};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Requests that wait to be accepted; more wait in their streams.
const ARRIVED_MAX: usize = 64;

/// HTTP/3 on a connection that was accepted for it (ALPN `h3`), as the server. Clones are handles on the same
/// connection, which ends when the last one and all streams are dropped.
#[derive(Clone, Debug)]
pub struct Server {
    handle: Arc<Handle>,
    arrived: Arc<Mutex<mpsc::Receiver<Arrived>>>,
}

/// A request whose head is complete.
#[derive(Debug)]
struct Arrived {
    head: http::Request<()>,
    send: SendStream,
    message: MessageReader,
    ticket: Ticket,
}

impl Server {
    /// Opens the streams that HTTP/3 needs and begins to read the peer's.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn start(connection: Connection) -> Result<Self, Error> {
        let core = Arc::new(Core::new(connection, true));
        let ours = control::open(&core).await?;
        let (sender, arrived) = mpsc::channel(ARRIVED_MAX);
        let tasks = vec![
            tokio::spawn(control::keep(Arc::clone(&core), ours)).abort_handle(),
            tokio::spawn(control::accept(Arc::clone(&core))).abort_handle(),
            tokio::spawn(datagrams::route(Arc::clone(&core))).abort_handle(),
            tokio::spawn(read_requests(Arc::clone(&core), sender)).abort_handle(),
        ];
        let handle = Arc::new(Handle::new(core, tasks));
        Ok(Self { handle, arrived: Arc::new(Mutex::new(arrived)) })
    }

    /// The next request; `None` once the connection is over, or all requests are done that came before
    /// [`Server::goaway`].
    ///
    /// # Errors
    /// If the connection ended because the client broke the rules.
    pub async fn accept(&self) -> Result<Option<Request>, Error> {
        let core = &self.handle.core;
        let mut arrived = self.arrived.lock().await;
        loop {
            let idle = core.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if core.goaway.borrow().is_some() && !core.has_active() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                next = arrived.recv() => return match next {
                    Some(next) => Ok(Some(self.request(next))),
                    None => core.verdict().map(|()| None),
                },
                () = idle => {}
            }
        }
    }

    fn request(&self, arrived: Arrived) -> Request {
        let Arrived { head, send, message, ticket } = arrived;
        let life = Arc::new(Life { ticket, handle: Arc::clone(&self.handle) });
        // RFC 9114 §4.1: a server that needs no more of the content says so without blame.
        let tunnel = head.method() == Method::CONNECT;
        let code = if tunnel { code::REQUEST_CANCELLED } else { code::NO_ERROR };
        let receiver = BodyReceiver::new(message, Arc::clone(&life), code);
        Request { head, sender: BodySender::new(send, Arc::clone(&life)), receiver, life }
    }

    /// What the client announced; waits until it has.
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn peer_settings(&self) -> Result<Settings, Error> {
        self.handle.core.peer_settings().await
    }

    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.handle.core.connection
    }

    /// Datagrams that belonged to no stream or lacked a context id, and were dropped.
    #[must_use]
    pub fn stray_datagrams(&self) -> u64 {
        self.handle.core.routes().dropped()
    }

    /// Takes no more requests than those that have begun to arrive; the client is told.
    pub fn goaway(&self) {
        self.handle.core.go_away();
    }
}

/// Takes the client's streams until the connection is over, and reads their heads side by side.
async fn read_requests(core: Arc<Core>, arrived: mpsc::Sender<Arrived>) {
    let mut readers = JoinSet::new();
    while let Ok((mut send, mut recv)) = core.connection.accept_bi().await {
        while readers.try_join_next().is_some() {}
        let Some(ticket) = core.admit(send.id()) else {
            send.reset(code::REQUEST_REJECTED);
            recv.stop(code::REQUEST_REJECTED);
            continue;
        };
        let message = MessageReader::of_request(recv, core.local.max_field_section_size);
        readers.spawn(read_head(Arc::clone(&core), arrived.clone(), ticket, send, message));
    }
}

async fn read_head(
    core: Arc<Core>,
    arrived: mpsc::Sender<Arrived>,
    ticket: Ticket,
    mut send: SendStream,
    mut message: MessageReader,
) {
    let error = match message.request().await {
        Ok(head) => {
            ticket.on_head(&head);
            if let Err(mpsc::error::SendError(unwanted)) =
                arrived.send(Arrived { head, send, message, ticket }).await
            {
                let Arrived { mut send, mut message, .. } = unwanted;
                send.reset(code::REQUEST_REJECTED);
                message.stop(code::REQUEST_REJECTED);
            }
            return;
        }
        Err(error) => core.judge(error),
    };
    match error {
        // RFC 9114 §4.2.2: 431 for a field section above the limit.
        Error::TooLarge => {
            message.abandon(code::NO_ERROR);
            refuse(send, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await;
        }
        Error::Malformed(fault) => {
            message.abandon(fault.code);
            send.reset(fault.code);
        }
        _ => send.reset(code::REQUEST_CANCELLED),
    }
}

/// Answers without having looked at the request as a whole.
async fn refuse(mut send: SendStream, status: StatusCode) {
    let mut head = Response::new(());
    *head.status_mut() = status;
    let Ok(block) = head::response_block(&head) else { return };
    let mut framed = Vec::new();
    frame::put(&mut framed, frame::HEADERS, &block);
    if send.write_all(&framed).await.is_ok() && send.finish().is_ok() {
        send.finished().await.ok();
    }
}

/// A request to be answered. Dropped unanswered, it resets the stream.
#[derive(Debug)]
pub struct Request {
    pub head: http::Request<()>,
    sender: BodySender,
    receiver: BodyReceiver,
    life: Arc<Life>,
}

impl Request {
    /// Sends the head of the response and gives out both directions. They end as the response is finished and the
    /// request was read, or when they are dropped.
    ///
    /// # Errors
    /// [`Error::Refused`] if the head is not possible in HTTP/3, [`Error::TooLarge`] if the client announced a limit
    /// below it; or if the client gave up or the connection is over.
    pub async fn respond(self, head: Response<()>) -> Result<(BodySender, BodyReceiver), Error> {
        let Self { mut sender, receiver, life, .. } = self;
        if head.status().is_informational() {
            return Err(Error::Refused("an interim response is no answer"));
        }
        let block = head::response_block(&head)?;
        if life.handle.core.peer_takes_less_than(&block) {
            return Err(Error::TooLarge);
        }
        sender.send_block(&block).await?;
        Ok((sender, receiver))
    }

    /// Sends an interim response (1xx) before the final one.
    ///
    /// # Errors
    /// As [`Request::respond`].
    pub async fn inform(&mut self, head: Response<()>) -> Result<(), Error> {
        if !head.status().is_informational() {
            return Err(Error::Refused("not an interim response"));
        }
        let block = head::response_block(&head)?;
        self.sender.send_block(&block).await
    }

    /// To read the content before the response is sent.
    pub const fn receiver(&mut self) -> &mut BodyReceiver {
        &mut self.receiver
    }

    /// Ends the stream without a response; the client learns `code`, see [`crate::code`].
    pub fn reject(mut self, code: u64) {
        self.sender.reset(code);
        self.receiver.stop(code);
    }

    /// The datagrams of this request. Without a [`crate::Protocol`] among its extensions it has none, and ends if one comes.
    #[must_use]
    pub fn datagrams(&self) -> Datagrams {
        let Life { ticket, handle } = &*self.life;
        Datagrams::new(Arc::clone(&handle.core), Arc::clone(&ticket.route), ticket.id)
    }

    #[must_use]
    pub fn id(&self) -> StreamId {
        self.life.ticket.id
    }
}
