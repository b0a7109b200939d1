//! The client: connects as its case demands and gets its files.

use crate::case::{Plan, Role};
use crate::files::below;
use crate::options::{Options, Url};
use crate::tally::Tally;
use crate::{Failure, h3, hq, trust};
use mpquic::{ClientConfig, Connection, Endpoint, PathId};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// Connections at once, where every file has one of its own.
const CONNECTIONS_AT_ONCE: usize = 8;

/// Gets what `options` ask for, into the folder of downloads. What each connection was like comes back.
///
/// # Errors
/// If one file could not be had.
pub async fn run(options: Options) -> Result<Vec<Tally>, Failure> {
    let downloader = Arc::new(Downloader::new(options).await?);
    let tallies = match downloader.options.case.plan() {
        Plan::Together => downloader.together(downloader.options.requests.clone()).await.map(|one| vec![one]),
        Plan::Apart => Arc::clone(&downloader).apart().await,
        Plan::ComeBack { .. } => downloader.come_back().await,
    };
    downloader.endpoint.shutdown().await;
    tallies
}

struct Downloader {
    options: Options,
    config: ClientConfig,
    endpoint: Endpoint,
    local: SocketAddr,
    /// The server of all requests: the runner never names two.
    peer: SocketAddr,
    host: String,
}

impl Downloader {
    async fn new(options: Options) -> Result<Self, Failure> {
        let first = options.requests.first().cloned();
        let Url { host, port, .. } = first.ok_or_else(|| Failure::new("REQUESTS", "nothing to get"))?;
        let peer = match options.addresses.first() {
            Some(address) => *address,
            None => {
                let mut found =
                    lookup_host((host.as_str(), port)).await.map_err(|e| Failure::new(&host, e))?;
                found.next().ok_or_else(|| Failure::new(&host, "no address"))?
            }
        };
        let local: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let config = trust::client(&options)?;
        let endpoint = Endpoint::client(&[local]).map_err(|e| Failure::new("socket", e))?;
        let local = endpoint.local_addrs()[0];
        Ok(Self { options, config, endpoint, local, peer, host })
    }

    /// All of `urls` side by side on one connection.
    async fn together(&self, urls: Vec<Url>) -> Result<Tally, Failure> {
        let (connection, tally) = self.connect().await?;
        if self.options.case.updates_keys() {
            connection.update_keys().await.map_err(|e| Failure::new("key update", e))?;
        }
        let moving = self.go_where_preferred(&connection);
        let getting = self.get(&connection, urls);
        tokio::pin!(moving, getting);
        let got = tokio::select! {
            got = &mut getting => got,
            () = &mut moving => getting.await,
        };
        connection.close(0, b"");
        got.and(tally.await.map_err(|e| Failure::new("tally", e)))
    }

    /// Each file on a connection of its own.
    async fn apart(self: Arc<Self>) -> Result<Vec<Tally>, Failure> {
        let turns = Arc::new(Semaphore::new(CONNECTIONS_AT_ONCE));
        let mut tasks = JoinSet::new();
        for url in self.options.requests.clone() {
            let (this, turns) = (Arc::clone(&self), Arc::clone(&turns));
            tasks.spawn(async move {
                let _turn = turns.acquire_owned().await;
                this.together(vec![url]).await
            });
        }
        let mut tallies = Vec::new();
        while let Some(done) = tasks.join_next().await {
            tallies.push(done.map_err(|e| Failure::new("connection", e))??);
        }
        Ok(tallies)
    }

    /// The first file on one connection, the others on another that begins where the first one ended.
    async fn come_back(&self) -> Result<Vec<Tally>, Failure> {
        let (first, others) = self.options.requests.split_at(1);
        let before = self.together(first.to_vec()).await?;
        let after = self.together(others.to_vec()).await?;
        Ok(vec![before, after])
    }

    async fn connect(&self) -> Result<(Connection, JoinHandle<Tally>), Failure> {
        let connecting = self.endpoint.connect(&self.config, &self.host, self.local, self.peer);
        // Without a ticket, and in all cases but one there is none for this, it takes the whole handshake.
        let connection = match connecting.into_early().await {
            Ok(early) => early,
            Err(connecting) => connecting.await.map_err(|e| Failure::new(self.peer, e))?,
        };
        let (followed, case) = (connection.clone(), self.options.case);
        let tally = tokio::spawn(async move { Tally::until_closed(&followed, Role::Client, case).await });
        Ok((connection, tally))
    }

    /// Goes where the server would rather be reached, if it said so. In the case that is about this the client does not
    /// know that it is: the runner tells it `transfer`.
    async fn go_where_preferred(&self, connection: &Connection) {
        if connection.handshake_completed().await.is_err() {
            return;
        }
        let preferred = connection.preferred_addresses();
        let same_family = preferred.iter().find(|address| address.is_ipv4() == self.peer.is_ipv4());
        if let Some(address) = same_family {
            // If nobody answers there, the connection stays where it is, and that is no reason to fail.
            connection.move_path(PathId::ZERO, self.local, *address).await.ok();
        }
    }

    async fn get(&self, connection: &Connection, urls: Vec<Url>) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        if self.options.case.is_http3() {
            let client = mpquic_h3::Client::start(connection.clone()).await;
            let client = client.map_err(|e| Failure::new("HTTP/3", e))?;
            for url in urls {
                let (client, to) = (client.clone(), self.destination(&url)?);
                tasks.spawn(async move { h3::get(&client, &url, &to).await });
            }
        } else {
            for url in urls {
                let (connection, to) = (connection.clone(), self.destination(&url)?);
                tasks.spawn(async move {
                    let answer = hq::ask(&connection, &url.path).await?;
                    hq::take(answer, &url.path, &to).await
                });
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(|e| Failure::new("request", e))??;
        }
        Ok(())
    }

    /// Where a file goes: the runner looks for it by its last name.
    fn destination(&self, url: &Url) -> Result<PathBuf, Failure> {
        let name = url.path.rsplit_once('/').map_or("", |(_, name)| name);
        let path = below(&self.options.downloads, &format!("/{name}"));
        path.ok_or_else(|| Failure::new(&url.path, "a request without the name of a file"))
    }
}
