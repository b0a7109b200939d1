//! Two endpoints, the connection between them, and perhaps a relay on the way.

use super::Pair;
use crate::exchange::{Load, answer, ask};
use crate::relay::Relay;
use crate::stack::{Connection, Ending, Endpoint, Failure, Terms};
use std::net::SocketAddr;
use tokio::try_join;

/// What the client's application closes with.
pub(super) const CODE: u32 = 0x2a;

pub(super) struct Meeting {
    server: Box<dyn Endpoint>,
    client: Box<dyn Endpoint>,
    relay: Option<Relay>,
}

/// Both ends of one connection.
pub(super) struct Opened {
    pub(super) client: Box<dyn Connection>,
    pub(super) server: Box<dyn Connection>,
}

impl Meeting {
    pub(super) fn direct(pair: &Pair, terms: &Terms) -> Result<Self, Failure> {
        let server = (pair.server().server)(&pair.trust, terms)?;
        let client = (pair.client().client)(&pair.trust, terms)?;
        Ok(Self { server, client, relay: None })
    }

    pub(super) fn relayed(pair: &Pair, terms: &Terms) -> Result<Self, Failure> {
        let meeting = Self::direct(pair, terms)?;
        let relay = Relay::start(meeting.server.address()?)?;
        Ok(Self { relay: Some(relay), ..meeting })
    }

    pub(super) fn relay(&self) -> Result<&Relay, Failure> {
        self.relay.as_ref().ok_or_else(|| "there is no relay".into())
    }

    fn address(&self) -> Result<SocketAddr, Failure> {
        match &self.relay {
            Some(relay) => Ok(relay.address()),
            None => self.server.address(),
        }
    }

    pub(super) async fn open(&self) -> Result<Opened, Failure> {
        let (client, server) = try_join!(self.client.connect(self.address()?), self.server.accept())?;
        Ok(Opened { client, server })
    }

    /// Resumes a connection and has one exchange on it, which the client begins before the handshake is complete.
    pub(super) async fn open_early(&self, load: Load) -> Result<Opened, Failure> {
        let client = self.client.connect_early(self.address()?).await?;
        let asking = async {
            let (send, recv) = client.open().await?;
            Ok::<_, Failure>(ask(send, recv, load).await?)
        };
        let answering = async {
            let server = self.server.accept().await?;
            let (send, recv) = server.accept().await?;
            answer(send, recv).await?;
            Ok(server)
        };
        let ((), server) = try_join!(asking, answering)?;
        Ok(Opened { client, server })
    }

    /// The client closes, and the server notices.
    pub(super) async fn part(&self, opened: Opened) -> Result<(), Failure> {
        let (ended, _) = part_with_code(&opened).await?;
        match ended {
            Ending::Closed(_) => Ok(()),
            other => Err(format!("the server saw {other:?} instead of a close").into()),
        }
    }

    /// Ends everything as it should end.
    pub(super) async fn finish(self, opened: Opened) -> Result<String, Failure> {
        self.part(opened).await?;
        self.end().await
    }

    pub(super) async fn end(self) -> Result<String, Failure> {
        self.client.shutdown().await?;
        self.server.shutdown().await?;
        Ok(String::new())
    }
}

/// How the server saw the end that the client made, and a remark.
pub(super) async fn part_with_code(opened: &Opened) -> Result<(Ending, String), Failure> {
    opened.client.close(CODE);
    let ended = opened.server.closed().await?;
    let remark = format!("{ended:?}");
    Ok((ended, remark))
}

impl Opened {
    pub(super) async fn exchange(&self, load: Load) -> Result<(), Failure> {
        self.exchange_at_once(load, 1).await
    }

    /// Opens all streams before the first one ends.
    pub(super) async fn exchange_at_once(&self, load: Load, streams: usize) -> Result<(), Failure> {
        let asking = async {
            let mut opened = Vec::new();
            for _ in 0..streams {
                opened.push(self.client.open().await?);
            }
            let asks = opened.into_iter().map(|(send, recv)| ask(send, recv, load));
            all(asks.collect()).await
        };
        let answering = async {
            let mut answers = Vec::new();
            for _ in 0..streams {
                let (send, recv) = self.server.accept().await?;
                answers.push(tokio::task::spawn_local(answer(send, recv)));
            }
            for answered in answers {
                let moved = answered.await??;
                if moved != load {
                    return Err(Failure::from(format!("{moved:?} was moved instead of {load:?}")));
                }
            }
            Ok(())
        };
        try_join!(asking, answering)?;
        Ok(())
    }
}

/// Drives all at once, on this thread.
async fn all(futures: Vec<impl Future<Output = std::io::Result<()>> + 'static>) -> Result<(), Failure> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::task::spawn_local).collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}
