//! Identifiers that cross crate walls.

use core::fmt;
use std::net::SocketAddr;

/// Which end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Client,
    Server,
}

impl Role {
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    #[must_use]
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client)
    }
}

/// Whether a stream carries data both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    Bi,
    Uni,
}

/// RFC 9000 §2.1: the two low bits say who opened the stream and whether it is one-way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    #[must_use]
    pub const fn new(opener: Role, dir: Dir, index: u64) -> Self {
        Self((index << 2) | ((matches!(dir, Dir::Uni) as u64) << 1) | (!opener.is_client() as u64))
    }

    #[must_use]
    pub const fn opener(self) -> Role {
        if self.0 & 1 == 0 { Role::Client } else { Role::Server }
    }

    #[must_use]
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// The how-manieth stream of its opener and direction, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{:?}-{}", self.opener(), self.dir(), self.index())
    }
}

/// The peer-visible number of a path. Path 0 is the one the handshake ran on; ids are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PathId(pub u32);

impl PathId {
    pub const ZERO: Self = Self(0);
}

/// A connection ID of 0 to 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cid {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl Cid {
    pub const MAX_LEN: usize = 20;
    pub const EMPTY: Self = Self { len: 0, bytes: [0; Self::MAX_LEN] };

    /// `None` if `bytes` is longer than 20.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut cid = Self::EMPTY;
        cid.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        cid.len = u8::try_from(bytes.len()).ok()?;
        Some(cid)
    }

    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cid:")?;
        self.as_slice().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The addresses of a UDP flow as one end sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourTuple {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// The two ECN bits of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Ecn {
    #[default]
    NotEct,
    Ect1,
    Ect0,
    Ce,
}

impl Ecn {
    #[must_use]
    pub const fn from_bits(tos: u8) -> Self {
        match tos & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }
}
