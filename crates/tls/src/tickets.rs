//! Which tickets go with which version of QUIC. RFC 9369 §5: a ticket belongs to the version that was spoken when it was
//! given, and only a connection that begins in that version may show it.

use crate::provider::QUIC_V2;
use core::sync::atomic::{AtomicU32, Ordering};
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use std::sync::Arc;

/// A client's tickets, by version.
#[derive(Clone, Debug)]
pub(crate) struct Album([Arc<ClientSessionMemoryCache>; 2]);

impl Album {
    /// Of that many servers, for each version.
    pub(crate) fn new(servers: usize) -> Self {
        Self([(); 2].map(|()| Arc::new(ClientSessionMemoryCache::new(servers))))
    }

    fn of(&self, version: u32) -> &ClientSessionMemoryCache {
        &self.0[usize::from(version == QUIC_V2)]
    }
}

/// An [`Album`] as one connection sees it.
#[derive(Debug)]
pub(crate) struct Visitor {
    album: Album,
    begun: u32,
    spoken: AtomicU32,
}

impl Visitor {
    pub(crate) fn new(album: &Album, version: u32) -> Self {
        Self { album: album.clone(), begun: version, spoken: AtomicU32::new(version) }
    }

    pub(crate) fn on_version(&self, version: u32) {
        self.spoken.store(version, Ordering::Relaxed);
    }
}

impl ClientSessionStore for Visitor {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.album.of(self.begun).set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.album.of(self.begun).kx_hint(server_name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let spoken = self.spoken.load(Ordering::Relaxed);
        self.album.of(spoken).insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.album.of(self.begun).take_tls13_ticket(server_name)
    }
}

/// A server's sessions as a connection sees them that began in one version and speaks perhaps another.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) sessions: Arc<ServerSessionMemoryCache>,
    pub(crate) begun: u32,
    pub(crate) spoken: u32,
}

fn labelled(version: u32, key: &[u8]) -> Vec<u8> {
    [&version.to_be_bytes(), key].concat()
}

impl StoresServerSessions for Host {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.put(labelled(self.spoken, &key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.get(&labelled(self.begun, key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.take(&labelled(self.begun, key))
    }

    fn can_cache(&self) -> bool {
        self.sessions.can_cache()
    }
}
