//! Connections in numbered places, each place with a generation so that an old name never means a new connection.

use super::ConnectionId;
use super::admission::Host;
use crate::conn::Connection;
use mpquic_base::{Cid, Time};
use std::net::SocketAddr;

pub(super) struct Entry {
    pub(super) connection: Connection,
    pub(super) ready: bool,
    pub(super) eventful: bool,
    pub(super) deadline: Option<Time>,
    /// Where the client's first ID is kept in the routing table.
    pub(super) first_dcid: Option<(Cid, SocketAddr)>,
    /// Server: counted as a handshake in progress.
    pub(super) handshaking: Option<Host>,
    /// Client: whose tokens it receives.
    pub(super) server_name: Option<String>,
}

impl Entry {
    pub(super) const fn new(connection: Connection) -> Self {
        Self {
            connection,
            ready: false,
            eventful: false,
            deadline: None,
            first_dcid: None,
            handshaking: None,
            server_name: None,
        }
    }
}

#[derive(Default)]
pub(super) struct Slots {
    places: Vec<(u32, Option<Box<Entry>>)>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, entry: Entry) -> ConnectionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 connections fit into memory")
        });
        let place = &mut self.places[slot as usize];
        place.1 = Some(Box::new(entry));
        ConnectionId { slot, generation: place.0 }
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Entry> {
        let (generation, entry) = self.places.get(id.slot as usize)?;
        entry.as_deref().filter(|_| *generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        let (generation, entry) = self.places.get_mut(id.slot as usize)?;
        entry.as_deref_mut().filter(|_| *generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Box<Entry>> {
        let (generation, entry) = self.places.get_mut(id.slot as usize)?;
        if *generation != id.generation {
            return None;
        }
        let entry = entry.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(entry)
    }
}
