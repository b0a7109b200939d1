//! A connection on its way: awaited, or used before it is there.

use crate::bridge::door::{Answer, Door, Reply};
use crate::bridge::shared::Begun;
use crate::connection::Connection;
use crate::error::{ConnectError, Error};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use mpquic_proto::CloseReason;
use std::sync::Arc;

type Step<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

/// What [`crate::Endpoint::connect`] returns: awaited, it is the connection whose handshake is complete. Dropped, it leaves
/// no connection behind.
#[must_use = "dropped, it gives the connection up"]
pub struct Connecting {
    stage: Stage,
}

enum Stage {
    /// The shard was asked to begin.
    Asked(Step<(Connection, bool)>, bool),
    /// The handshake is under way.
    Begun {
        connection: Connection,
        early: bool,
        pinned: bool,
    },
    /// Somebody awaits its end.
    Awaited(Step<Connection>),
    Failed(ConnectError),
}

impl Connecting {
    /// Together with where the shard's answer goes.
    pub(crate) fn new(door: &Arc<Door>, pinned: bool) -> (Self, Reply<Begun, ConnectError>) {
        let (near, far) = (Arc::clone(door), Arc::clone(door));
        // Nobody waiting any more: the handle's drop closes the connection.
        let (reply, answer) =
            Answer::channel(move |begun: Begun| drop(Connection::new(&near, begun.entrance)));
        let begun = async move {
            let begun = answer.arrived().await.unwrap_or(Err(ConnectError::EndpointGone))?;
            Ok((Connection::new(&far, begun.entrance), begun.early))
        };
        (Self { stage: Stage::Asked(Box::pin(begun), pinned) }, reply)
    }

    pub(crate) const fn failed(error: ConnectError) -> Self {
        Self { stage: Stage::Failed(error) }
    }

    /// The connection at once, if a ticket of an earlier one to this server allows to send before the handshake is
    /// complete (0-RTT); else the rest of the wait. See [`crate::ClientConfig::early_data`].
    ///
    /// What is sent before [`Connection::handshake_completed`] can be replayed by an attacker, and nobody has proven yet to
    /// be the server, whose answers come only after that. If the server refuses it
    /// ([`Connection::early_data_accepted`]), it is sent again.
    ///
    /// ```no_run
    /// # async fn example(client: mpquic::Endpoint, config: mpquic::ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
    /// # let (local, server) = (client.local_addrs()[0], "203.0.113.1:4433".parse()?);
    /// let connection = match client.connect(&config, "example.org", local, server).into_early().await {
    ///     Ok(early) => early,
    ///     // No ticket: the first visit, or the server has not given one.
    ///     Err(connecting) => connecting.await?,
    /// };
    /// let (mut send, mut recv) = connection.open_bi().await?;
    /// send.write_all(b"what does no harm if it is said twice").await?;
    /// send.finish()?;
    /// println!("{:?}, early: {}", recv.read_to_end(1000).await?, connection.early_data_accepted().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The connection is not lost: it is what comes back.
    pub async fn into_early(mut self) -> Result<Connection, Self> {
        poll_fn(|cx| self.poll_begun(cx)).await;
        match self.stage {
            Stage::Begun { connection, early: true, .. } => Ok(connection),
            stage => Err(Self { stage }),
        }
    }

    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::Asked(begun, pinned) = &mut self.stage {
            self.stage = match ready!(begun.as_mut().poll(cx)) {
                Ok((connection, early)) => Stage::Begun { connection, early, pinned: *pinned },
                Err(error) => Stage::Failed(error),
            };
        }
        Poll::Ready(())
    }
}

impl Future for Connecting {
    type Output = Result<Connection, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.poll_begun(cx));
        if let Stage::Begun { connection, pinned, .. } = &self.stage {
            self.stage = Stage::Awaited(Box::pin(completed(connection.clone(), *pinned)));
        }
        match &mut self.stage {
            Stage::Awaited(completed) => completed.as_mut().poll(cx),
            Stage::Failed(error) => Poll::Ready(Err(error.clone())),
            Stage::Asked(..) | Stage::Begun { .. } => Poll::Pending,
        }
    }
}

async fn completed(connection: Connection, pinned: bool) -> Result<Connection, ConnectError> {
    match connection.handshake_completed().await {
        Ok(()) => Ok(connection),
        Err(Error::Closed(CloseReason::Local(_))) if connection.is_orphaned() => {
            Err(ConnectError::EndpointGone)
        }
        Err(Error::Closed(reason)) => Err(ConnectError::new(reason, pinned)),
        Err(_) => Err(ConnectError::EndpointGone),
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Connecting");
        match &self.stage {
            Stage::Begun { connection, early, .. } => {
                debug.field("connection", connection).field("early", early);
            }
            Stage::Failed(error) => {
                debug.field("failed", error);
            }
            Stage::Asked(..) | Stage::Awaited(_) => {}
        }
        debug.finish_non_exhaustive()
    }
}
