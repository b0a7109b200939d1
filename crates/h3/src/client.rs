//! The client's end: sends requests.

use crate::body::{BodyReceiver, BodySender, Life};
use crate::code;
use crate::conn::{Core, Handle, Ticket};
use crate::control;
use crate::datagrams::{self, Datagrams};
use crate::error::Error;
use crate::head::{self, Protocol};
use crate::message::MessageReader;
use crate::wire::settings::Settings;
use http::{Request, Response};
use mpquic::{Connection, StreamId};
use std::sync::Arc;

/// HTTP/3 on a connection that was made for it (ALPN `h3`), as the client. Clones are handles on the same connection,
/// which ends when the last one and all streams are dropped.
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Opens the streams that HTTP/3 needs and begins to read the peer's.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn start(connection: Connection) -> Result<Self, Error> {
        let core = Arc::new(Core::new(connection, false));
        let ours = control::open(&core).await?;
        let tasks = vec![
            tokio::spawn(control::keep(Arc::clone(&core), ours)).abort_handle(),
            tokio::spawn(control::accept(Arc::clone(&core))).abort_handle(),
            tokio::spawn(datagrams::route(Arc::clone(&core))).abort_handle(),
            tokio::spawn(refuse_streams(Arc::clone(&core))).abort_handle(),
        ];
        Ok(Self { handle: Arc::new(Handle::new(core, tasks)) })
    }

    /// What the server announced; waits until it has.
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn peer_settings(&self) -> Result<Settings, Error> {
        self.handle.core.peer_settings().await
    }

    /// Sends the head of a request. With a [`Protocol`] among its extensions it is an extended CONNECT, which waits for
    /// the server's settings.
    ///
    /// # Errors
    /// [`Error::GoingAway`] if the server takes no more, [`Error::Unsupported`] if it knows no extended CONNECT,
    /// [`Error::TooLarge`] if it announced a limit below this head, [`Error::Refused`] if the head is not possible in
    /// HTTP/3, or if the connection is over.
    pub async fn request(&self, head: Request<()>) -> Result<RequestStream, Error> {
        let core = &self.handle.core;
        let block = head::request_block(&head)?;
        if head.extensions().get::<Protocol>().is_some() && !core.peer_settings().await?.extended_connect {
            return Err(Error::Unsupported("extended CONNECT"));
        }
        if core.peer_takes_less_than(&block) {
            return Err(Error::TooLarge);
        }
        if core.is_peer_going_away() {
            return Err(Error::GoingAway);
        }
        let (send, recv) = core.connection.open_bi().await.map_err(|error| core.judge(error.into()))?;
        let ticket = Ticket::new(Arc::clone(core), send.id());
        ticket.on_head(&head);
        let life = Arc::new(Life { ticket, handle: Arc::clone(&self.handle) });
        let message =
            MessageReader::of_response(recv, core.local.max_field_section_size, head.method().clone());
        let receiver = BodyReceiver::new(message, Arc::clone(&life), code::REQUEST_CANCELLED);
        let mut stream = RequestStream { sender: BodySender::new(send, Arc::clone(&life)), receiver, life };
        stream.sender.send_block(&block).await?;
        Ok(stream)
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
}

/// RFC 9114 §6.1: servers open no streams for both directions.
async fn refuse_streams(core: Arc<Core>) {
    if core.connection.accept_bi().await.is_ok() {
        core.judge(Error::violation(code::STREAM_CREATION_ERROR, "a server opens a request stream"));
    }
}

/// A request that was sent, and what comes back.
#[derive(Debug)]
pub struct RequestStream {
    sender: BodySender,
    receiver: BodyReceiver,
    life: Arc<Life>,
}

impl RequestStream {
    /// The head of the response; interim ones (1xx) are left out.
    ///
    /// # Errors
    /// [`Error::Reset`] if the server gave up, [`Error::GoingAway`] if it did not look at the request,
    /// [`Error::Malformed`] or [`Error::Violation`] if it does not keep to the rules.
    pub async fn response(&mut self) -> Result<Response<()>, Error> {
        let response = self.receiver.response().await;
        response.map_err(|error| {
            if let Some(code) = crate::body::stream_code(&error) {
                self.sender.reset(code);
            }
            // RFC 9114 §4.1.1: not looked at, so it may be sent again.
            if error == Error::Reset(code::REQUEST_REJECTED) { Error::GoingAway } else { error }
        })
    }

    #[must_use]
    pub fn id(&self) -> StreamId {
        self.life.ticket.id
    }

    /// The datagrams of this request. Without a [`Protocol`] among its extensions it has none, and ends if one comes.
    #[must_use]
    pub fn datagrams(&self) -> Datagrams {
        let Life { ticket, handle } = &*self.life;
        Datagrams::new(Arc::clone(&handle.core), Arc::clone(&ticket.route), ticket.id)
    }

    /// To send content, also before the response is there.
    pub const fn body(&mut self) -> &mut BodySender {
        &mut self.sender
    }

    /// To receive content, once the response is there.
    pub const fn receiver(&mut self) -> &mut BodyReceiver {
        &mut self.receiver
    }

    /// The two directions, each for itself.
    #[must_use]
    pub fn split(self) -> (BodySender, BodyReceiver) {
        (self.sender, self.receiver)
    }
}
