//! Keeps a session with the server alive over whatever links there are.
//!
//! Owns connecting (all links race), proving who we are, following the links, and beginning again when the connection
//! is lost. What flows through the session is the business of others, who find it in a watch channel.

use super::doubt::{self, Doubt};
use super::paths::{Attached, Lane, Opened, Paths};
pub(super) use super::tunnel::Session;
use crate::auth::{self, EXPORTER_LABEL, HELLO_URI, exporter_context};
use crate::host::Link;
use crate::lock::lock;
use crate::token::Token;
use core::time::Duration;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use mpquic::{ClientConfig, ConnectError, Connection, Endpoint, PathEvent};
use mpquic_h3::Client;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The next link joins the race for a new connection after this.
const STAGGER: Duration = Duration::from_millis(150);
/// Between attempts to connect, doubled up to the second.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_LAST: Duration = Duration::from_secs(5);
/// A server that refuses us is not asked more often than this.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// The server's answer to who we are.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// The link that was the first to bring a connection about.
pub(super) type Winner = (String, Connection);

/// Why there is no session, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Trying again is of no use without somebody changing something.
    Lasting(String),
    Passing(String),
}

/// How the tunnel is, for `status` and for whoever waits for the first session.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) connection: Option<Connection>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) links: Vec<Seen>,
    pub(crate) sessions: u64,
}

/// A link that has a socket.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) local: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) lane: Lane,
}

pub(crate) type Shared = Arc<Mutex<View>>;

pub(crate) struct Keeper {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: ClientConfig,
    pub(crate) token: Token,
    pub(crate) links: watch::Receiver<Vec<Link>>,
    pub(crate) paths: Paths,
    pub(crate) publish: watch::Sender<Option<Session>>,
    pub(crate) view: Shared,
}

impl Keeper {
    /// Runs until nobody is interested in sessions any more.
    pub(crate) async fn run(mut self) {
        let mut backoff = BACKOFF_FIRST;
        let mut winner = None;
        while !self.publish.is_closed() {
            self.follow().await;
            if self.paths.is_empty() {
                self.tell(Some(Trouble::Passing("waiting for a link".into())));
                if self.links.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let trouble = match self.begin(winner.take()).await {
                Ok((connection, session)) => {
                    backoff = BACKOFF_FIRST;
                    winner = self.serve(connection, session).await;
                    continue;
                }
                Err(trouble) => trouble,
            };
            let pause = match &trouble {
                Trouble::Lasting(why) => {
                    tracing::error!("{why}");
                    REFUSED_PAUSE
                }
                Trouble::Passing(why) => {
                    tracing::warn!("{why}");
                    backoff = (backoff * 2).min(BACKOFF_LAST);
                    backoff
                }
            };
            self.tell(Some(trouble));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = self.links.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn follow(&mut self) {
        let links = self.links.borrow_and_update().clone();
        self.paths.follow(&links, Instant::now()).await;
        self.show_links();
    }

    fn show_links(&self) {
        let seen = |(name, a): (&String, &Attached)| Seen {
            name: name.clone(),
            local: a.local,
            server: a.server,
            lane: a.path,
        };
        self.view().links = self.paths.attached().iter().map(seen).collect();
    }

    fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }

    fn tell(&self, trouble: Option<Trouble>) {
        self.view().trouble = trouble;
    }

    /// A connection over the link that answers first, or the one that is there, and a session on it.
    async fn begin(&mut self, winner: Option<Winner>) -> Result<(Connection, Session), Trouble> {
        let (first, connection) = match winner {
            Some(winner) => winner,
            None => self.race().await?,
        };
        let session = self.greet(&connection).await.inspect_err(|_| connection.close(0, b""))?;
        let path = connection.paths().first().map(|path| path.id);
        if let Some(path) = path {
            self.paths.begin(&first, path, Instant::now());
        }
        Ok((connection, session))
    }

    /// The first connection over any of the links.
    fn race(&self) -> impl Future<Output = Result<Winner, Trouble>> + Send + use<> {
        let (endpoint, config) = (self.endpoint.clone(), self.config.clone());
        let links = self.paths.attached().iter().map(|(name, a)| (name.clone(), a.local, a.server));
        let links: Vec<_> = links.collect();
        async move {
            let mut racers = JoinSet::new();
            for ((name, local, server), index) in links.into_iter().zip(0..) {
                let (endpoint, config, head_start) = (endpoint.clone(), config.clone(), STAGGER * index);
                racers.spawn(async move {
                    tokio::time::sleep(head_start).await;
                    let connected = endpoint.connect(&config, "quicbond", local, server).await;
                    connected.map(|connection| (name, connection)).map_err(|error| (server, error))
                });
            }
            first_of(racers).await
        }
    }

    /// Proves who we are and asks whether that is accepted.
    async fn greet(&self, connection: &Connection) -> Result<Session, Trouble> {
        let lost = |_| Trouble::Passing("the connection was lost while it began".into());
        let mut exported = [0; 32];
        connection
            .export_keying_material(&mut exported, EXPORTER_LABEL, exporter_context(&self.token.tenant))
            .await
            .map_err(|_| Trouble::Passing("the connection was lost while it began".into()))?;
        let proof = auth::prove(&self.token.tenant, &self.token.secret, &exported);
        let mut proof = HeaderValue::from_str(&proof)
            .map_err(|_| Trouble::Lasting("the tenant's name in the token cannot be sent".into()))?;
        proof.set_sensitive(true);
        let http = Client::start(connection.clone()).await.map_err(lost)?;
        let status = tokio::time::timeout(HELLO_WAIT, hello(&http, &proof))
            .await
            .map_err(|_| Trouble::Passing("the server did not say whether it knows us".into()))?
            .map_err(lost)?;
        match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(Trouble::Lasting(format!(
                "the server refuses the token: it has no tenant {} with this secret (any more). Ask its owner for a \
                 new one: quicbond server tenant add NAME",
                self.token.tenant
            ))),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(Trouble::Passing(
                "the server is busy or has refused us too often; trying again later".into(),
            )),
            // A plain MASQUE proxy does not know the question, but may know the token.
            _ => {
                let number = self.view().sessions + 1;
                Ok(Session { http, proof, number })
            }
        }
    }

    /// Publishes the session, and keeps a path on every link until the connection is over. Gives the connection that
    /// is to take its place, if there is one already.
    async fn serve(&mut self, connection: Connection, session: Session) -> Option<Winner> {
        {
            let mut view = self.view();
            view.sessions = session.number;
            view.connection = Some(connection.clone());
            view.trouble = None;
        }
        tracing::info!(session = session.number, "connected");
        let current = session.clone();
        self.publish.send_replace(Some(session));
        let mut opening: JoinSet<Opened> = JoinSet::new();
        let mut doubt = Doubt::default();
        let mut count = tokio::time::interval(doubt::ROUND);
        let successor = loop {
            self.paths.open_due(&connection, Instant::now(), &mut opening);
            self.show_links();
            let next = self.paths.next();
            tokio::select! {
                reason = connection.closed() => {
                    tracing::warn!("session lost: {reason}");
                    break None;
                }
                changed = self.links.changed() => {
                    if changed.is_err() {
                        connection.close(0, b"bye");
                        break None;
                    }
                    self.follow().await;
                }
                event = connection.path_event() => self.on_path_event(event),
                Some(opened) = opening.join_next() => {
                    if let Ok(opened) = opened {
                        self.paths.on_opened(opened, Instant::now());
                    }
                }
                () = until(next) => {}
                _ = count.tick() => doubt.look(&connection, &current, || self.race()).await,
                winner = doubt.settled() => {
                    tracing::warn!("session lost: the server does not know it any more");
                    connection.close(0, b"");
                    break Some(winner);
                }
            }
        };
        self.publish.send_replace(None);
        self.view().connection = None;
        successor
    }

    fn on_path_event(&mut self, event: Option<PathEvent>) {
        match event {
            Some(PathEvent::Abandoned { path, .. } | PathEvent::Closed(path)) => {
                self.paths.on_gone(path, Instant::now());
            }
            Some(PathEvent::Silent(path)) => tracing::info!(path = path.0, "path silent"),
            Some(PathEvent::Recovered(path)) => tracing::info!(path = path.0, "path answers again"),
            Some(_) | None => {}
        }
    }
}

/// Asks the server whether it knows us.
pub(super) async fn hello(http: &Client, proof: &HeaderValue) -> Result<StatusCode, mpquic_h3::Error> {
    let mut head = Request::new(());
    *head.uri_mut() = Uri::from_static(HELLO_URI);
    head.headers_mut().insert(header::PROXY_AUTHORIZATION, proof.clone());
    let mut stream = http.request(head).await?;
    stream.body().finish().ok();
    Ok(stream.response().await?.status())
}

async fn first_of(
    mut racers: JoinSet<Result<Winner, (SocketAddr, ConnectError)>>,
) -> Result<Winner, Trouble> {
    let mut last = None;
    while let Some(result) = racers.join_next().await {
        match result {
            // The others are given up with the set.
            Ok(Ok(winner)) => return Ok(winner),
            Ok(Err(failure)) => last = Some(failure),
            Err(_) => {}
        }
    }
    Err(last.map_or_else(
        || Trouble::Passing("no link to connect over".into()),
        |(server, error)| connect_trouble(server, &error),
    ))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => core::future::pending().await,
    }
}

fn connect_trouble(server: SocketAddr, error: &ConnectError) -> Trouble {
    match error {
        ConnectError::Untrusted { .. } => Trouble::Lasting(format!(
            "{server} is not the server of this token: its key differs. Check the address; if the server was set up \
             anew, use the new token"
        )),
        error => Trouble::Passing(format!("no connection to {server}: {error}")),
    }
}
