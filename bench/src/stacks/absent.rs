//! tquic in an executable without it: known by name, so that a parent can have its ends played by an executable that holds it.

use crate::Failure;
use crate::stack::{Certificate, Endpoint, Kind, Stack};
use std::net::SocketAddr;

pub(super) const TQUIC: Stack =
    Stack { name: super::TQUIC, kind: Kind::Peer, server: refuse, client: refuse };

fn refuse(_: &Certificate, _: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    Err("this executable holds no tquic; build it with `--no-default-features --features tquic`, \
         or run a test with `--with-tquic`, which does that"
        .into())
}
