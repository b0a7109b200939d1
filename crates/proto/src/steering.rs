//! Which shard of an endpoint a datagram belongs to, told from its destination connection ID alone.
//!
//! Owns the code that our connection IDs carry their shard in. A shard is a number that the first byte of the ID holds
//! under a mask, and the mask is a keyed hash of the other seven: an observer without the key sees random bytes. The
//! same arithmetic fits a classic BPF program, so that the kernel can sort too. IDs that clients chose for their first
//! packets mean some shard as well, the same for every packet of the attempt.

use crate::cids::LOCAL_CID_LEN;
use mpquic_base::{Cid, Rng};

/// Shards that one endpoint may have: few enough that the code's 256 values divide evenly, many enough for any host.
pub const SHARDS_MAX: u16 = 64;
/// RFC 8999 §5.1: the high bit of the first byte marks a long header.
const LONG: u8 = 0x80;
/// RFC 8999 §5.1: where a long header has the length of the destination ID.
const LONG_DCID_LEN_AT: usize = 5;

/// The code of one endpoint. Its key is a secret of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Steering {
    keys: [u32; 4],
    shards: u16,
}

impl Steering {
    /// Where a short header, and a long one, have the first byte of the destination ID.
    pub const SHORT_AT: usize = 1;
    pub const LONG_AT: usize = LONG_DCID_LEN_AT + 1;
    pub const LONG_LEN_AT: usize = LONG_DCID_LEN_AT;
    pub const CID_LEN: usize = LOCAL_CID_LEN;

    /// For 1 to [`SHARDS_MAX`] shards; more or fewer become the nearest of these.
    #[must_use]
    pub fn new(shards: u16, rng: &mut Rng) -> Self {
        let mut key = || u32::try_from(rng.u64() >> 32).unwrap_or(0);
        // Odd factors: no bit is lost.
        Self { keys: [key(), key() | 1, key() | 1, key() | 1], shards: shards.clamp(1, SHARDS_MAX) }
    }

    #[must_use]
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// What the mask is computed with, for a program that computes it elsewhere.
    #[must_use]
    pub const fn keys(&self) -> [u32; 4] {
        self.keys
    }

    /// Whose datagram it is. What has no ID of ours or of a client's first packet may go to any shard: it is 0's.
    #[must_use]
    pub fn shard_of(&self, datagram: &[u8]) -> u16 {
        let at = match datagram.first() {
            Some(first) if first & LONG == 0 => Self::SHORT_AT,
            Some(_) if usize::from(*datagram.get(LONG_DCID_LEN_AT).unwrap_or(&0)) >= LOCAL_CID_LEN => {
                Self::LONG_AT
            }
            _ => return 0,
        };
        datagram.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |cid| self.decode(cid))
    }

    fn decode(&self, cid: &[u8; LOCAL_CID_LEN]) -> u16 {
        u16::from(cid[0] ^ self.mask(cid)) % self.shards
    }

    /// A random connection ID of one shard.
    #[must_use]
    pub fn cid(&self, shard: u16, rng: &mut Rng) -> Cid {
        let mut bytes = [0; LOCAL_CID_LEN];
        rng.fill(&mut bytes);
        // Any of the values that mean this shard, so that the byte tells nothing by itself either.
        let meanings = (255 - shard % self.shards) / self.shards + 1;
        let turn = u16::from(bytes[0]) % meanings;
        let value = shard % self.shards + turn * self.shards;
        bytes[0] = value.to_le_bytes()[0] ^ self.mask(&bytes);
        Cid::new(&bytes).expect("eight bytes are a connection ID")
    }

    /// A hash of all bytes but the first.
    fn mask(&self, cid: &[u8; LOCAL_CID_LEN]) -> u8 {
        let [_, b, c, d, e, f, g, h] = *cid;
        let [k0, k1, k2, k3] = self.keys;
        let mut x = (u32::from_be_bytes([0, b, c, d]) ^ k0).wrapping_mul(k1);
        x ^= x >> 15;
        x = (x ^ u32::from_be_bytes([e, f, g, h])).wrapping_mul(k2);
        x ^= x >> 13;
        (x.wrapping_mul(k3) >> 24).to_le_bytes()[0]
    }
}

impl core::fmt::Debug for Steering {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Steering({} shards)", self.shards)
    }
}

/// Where the connection IDs of one shard come from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CidSource(pub(crate) Option<(Steering, u16)>);

impl CidSource {
    pub(crate) fn draw(&self, rng: &mut Rng) -> Cid {
        if let Some((steering, shard)) = &self.0 {
            return steering.cid(*shard, rng);
        }
        let mut bytes = [0; LOCAL_CID_LEN];
        rng.fill(&mut bytes);
        Cid::new(&bytes).expect("eight bytes are a connection ID")
    }
}

#[cfg(test)]
mod tests;
