//! What every stack offers to every test. Nothing here knows a stack or a test.
//!
//! Futures are boxed: one allocation per call of 128 KiB or more is beneath what can be measured, and the same for all.

use crate::Failure;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + 'a>>;
pub(crate) type Streams = (Box<dyn Sender>, Box<dyn Receiver>);

/// Binds to an address, with a certificate to show or to believe.
pub(crate) type Start = fn(&Certificate, SocketAddr) -> Result<Box<dyn Endpoint>, Failure>;

/// One entry of the list.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) server: Start,
    pub(crate) client: Start,
}

/// What the others make of its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Peer,
    /// What the machine can do at all. Takes part only in the tests named.
    Limit {
        tests: &'static [&'static str],
    },
}

impl Stack {
    pub(crate) fn takes_part_in(&self, test: &str) -> bool {
        match self.kind {
            Kind::Ours | Kind::Peer => true,
            Kind::Limit { tests } => tests.contains(&test),
        }
    }
}

/// What a server shows and a client believes: ECDSA with P-256, signed by itself.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    /// PKCS#8; empty at a client.
    pub(crate) key: Vec<u8>,
}

pub(crate) trait Endpoint {
    fn address(&self) -> Result<SocketAddr, Failure>;
    /// The next connection whose handshake is complete. Several calls may wait at once.
    fn accept(&self) -> Later<'_, Box<dyn Connection>>;
    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>>;
    /// Says goodbye on all connections and waits until that is sent.
    fn shutdown(self: Box<Self>) -> Later<'static, ()>;
}

pub(crate) trait Connection {
    /// Opens a bidirectional stream.
    fn open(&self) -> Later<'_, Streams>;
    /// The next stream of the peer. Several calls may wait at once.
    fn accept(&self) -> Later<'_, Streams>;
    fn close(&self);
    /// Until the peer closes.
    fn closed(&self) -> Later<'_, ()>;
    /// Streams that may be open at once.
    fn streams_max(&self) -> u64 {
        u64::MAX
    }
}

pub(crate) trait Sender {
    fn write_all<'a>(&'a mut self, data: &'a [u8]) -> Later<'a, ()>;
    /// Ends the stream; does not wait for delivery.
    fn finish(&mut self) -> Later<'_, ()>;
}

pub(crate) trait Receiver {
    /// Copies what is there, at most as much as `buffer` holds; `None` at the end.
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Later<'a, Option<usize>>;
}
