//! One path per link: which sockets there are, and which of them still lack a path.
//!
//! Owns the match between links and paths, and when to try again. Refuses to know where links come from and how a
//! session begins.

use crate::host::Link;
use core::time::Duration;
use mpquic::{Bind, Connection, Endpoint, Error, PathId};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use tokio::task::JoinSet;

/// A path that could not be opened is tried again after this, doubled up to the second.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// A link with a socket on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) local: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) path: Lane,
}

/// What became of a link's path in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// To be opened at this time; `pause` is what follows a failure.
    Waiting {
        at: Instant,
        pause: Duration,
    },
    Opening {
        pause: Duration,
    },
    Open(PathId),
}

#[derive(Debug)]
pub(crate) struct Paths {
    endpoint: Endpoint,
    /// The server's addresses, in the order of preference.
    servers: Vec<SocketAddr>,
    /// Marks our packets for the routing rules; only with the privilege to.
    mark: Option<u32>,
    attached: BTreeMap<String, Attached>,
}

/// How an attempt to open a path ended.
pub(crate) type Opened = (String, Result<PathId, Error>);

impl Paths {
    pub(crate) const fn new(endpoint: Endpoint, servers: Vec<SocketAddr>, mark: Option<u32>) -> Self {
        Self { endpoint, servers, mark, attached: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    pub(crate) fn attached(&self) -> &BTreeMap<String, Attached> {
        &self.attached
    }

    /// Attaches to links that came and lets go of links that went or changed their address.
    pub(crate) async fn follow(&mut self, links: &[Link], now: Instant) {
        let wanted: BTreeMap<&str, (IpAddr, SocketAddr)> =
            links.iter().filter_map(|link| Some((link.name.as_str(), self.ends(link)?))).collect();
        let gone: Vec<String> = self
            .attached
            .iter()
            .filter(|(name, a)| wanted.get(name.as_str()).is_none_or(|(ip, _)| *ip != a.local.ip()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(attached) = self.attached.remove(&name) {
                tracing::info!(link = name, local = %attached.local, "link lost");
                self.endpoint.remove_socket(attached.local).await;
            }
        }
        for (name, (ip, server)) in wanted {
            if !self.attached.contains_key(name) {
                self.attach(name, ip, server, now).await;
            }
        }
    }

    async fn attach(&mut self, name: &str, ip: IpAddr, server: SocketAddr, now: Instant) {
        let address = Bind::from(SocketAddr::new(ip, 0));
        let bind = Bind { device: Some(name.to_owned()), mark: self.mark, ..address };
        match self.endpoint.add_socket(&bind).await {
            Ok(local) => {
                tracing::info!(link = name, %local, %server, "link found");
                let path = Lane::Waiting { at: now, pause: RETRY_FIRST };
                self.attached.insert(name.to_owned(), Attached { local, server, path });
            }
            // The next change of the links brings the next attempt.
            Err(error) => tracing::warn!(link = name, %error, "no socket on this link"),
        }
    }

    /// The address to send from on a link and the server's address to send to; IPv4 first, as most links know it best.
    fn ends(&self, link: &Link) -> Option<(IpAddr, SocketAddr)> {
        if !link.up {
            return None;
        }
        self.servers.iter().find_map(|server| {
            let routed = if server.is_ipv4() { link.has_default_v4 } else { link.has_default_v6 };
            let ip = link.addresses.iter().find(|ip| ip.is_ipv4() == server.is_ipv4())?;
            routed.then_some((*ip, *server))
        })
    }

    /// A new session that began on `first`: its path is open, all others are to be opened.
    pub(crate) fn begin(&mut self, first: &str, path: PathId, now: Instant) {
        for (name, attached) in &mut self.attached {
            attached.path =
                if name == first { Lane::Open(path) } else { Lane::Waiting { at: now, pause: RETRY_FIRST } };
        }
    }

    /// Opens what is due.
    pub(crate) fn open_due(&mut self, connection: &Connection, now: Instant, opening: &mut JoinSet<Opened>) {
        for (name, attached) in &mut self.attached {
            let Lane::Waiting { at, pause } = attached.path else { continue };
            if at > now {
                continue;
            }
            attached.path = Lane::Opening { pause };
            let (name, local, server) = (name.clone(), attached.local, attached.server);
            let connection = connection.clone();
            opening.spawn(async move { (name, connection.open_path(local, server, false).await) });
        }
    }

    pub(crate) fn on_opened(&mut self, (name, result): Opened, now: Instant) {
        let Some(attached) = self.attached.get_mut(&name) else { return };
        let Lane::Opening { pause } = attached.path else { return };
        attached.path = match result {
            Ok(path) => {
                tracing::info!(link = name, path = path.0, "path open");
                Lane::Open(path)
            }
            Err(error) => {
                tracing::debug!(link = name, %error, "no path yet");
                Lane::Waiting { at: now + pause, pause: (pause * 2).min(RETRY_LAST) }
            }
        };
    }

    /// The path was given up; its link gets another.
    pub(crate) fn on_gone(&mut self, path: PathId, now: Instant) {
        let lost = self.attached.iter_mut().find(|(_, a)| a.path == Lane::Open(path));
        if let Some((name, attached)) = lost {
            tracing::info!(link = name, path = path.0, "path lost");
            attached.path = Lane::Waiting { at: now + RETRY_FIRST, pause: RETRY_FIRST * 2 };
        }
    }

    /// When something is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let waiting = |attached: &Attached| match attached.path {
            Lane::Waiting { at, .. } => Some(at),
            Lane::Opening { .. } | Lane::Open(_) => None,
        };
        self.attached.values().filter_map(waiting).min()
    }
}
