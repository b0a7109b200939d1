//! Somebody on the way without any key: sees every datagram, and adds some of its own.
//!
//! Cuts datagrams short; sends old ones again, also to the other end and from elsewhere; sends copies from a foreign
//! address that overtake the original; invents datagrams for connection IDs that it saw. Owns the account of foreign
//! addresses: nobody there ever answers, so nobody may be made to send much there (RFC 9000 §8).

use super::{SERVER, Side};
use mpquic_base::{Duration, Rng, Time};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Datagrams remembered to be sent again.
const MEMORY: usize = 200;
/// Datagrams of the adversary that may be under way.
const PENDING_MAX: usize = 200;
/// How much later a copy may arrive.
const LATE_MAX_MS: u64 = 3000;

/// How often each thing is done, per datagram on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Malice {
    pub truncate: f64,
    pub replay: f64,
    pub spoof: f64,
    pub garbage: f64,
}

/// A datagram as an observer sees it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) to: Side,
    pub(super) from_address: SocketAddr,
    pub(super) to_address: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Adversary {
    malice: Malice,
    rng: Rng,
    at_peace: bool,
    memory: Vec<Seen>,
    pending: BTreeMap<(Time, u64), Seen>,
    counter: u64,
    /// Bytes from and to each foreign address.
    accounts: BTreeMap<SocketAddr, (u64, u64)>,
}

impl Adversary {
    pub(super) const fn new(malice: Malice, rng: Rng) -> Self {
        Self {
            malice,
            rng,
            at_peace: false,
            memory: Vec::new(),
            pending: BTreeMap::new(),
            counter: 0,
            accounts: BTreeMap::new(),
        }
    }

    /// No more mischief from now on; what is under way still arrives.
    pub(super) const fn rest(&mut self) {
        self.at_peace = true;
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.pending.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop(&mut self, now: Time) -> Option<Seen> {
        let due = self.pending.first_entry().filter(|entry| entry.key().0 <= now)?;
        let seen = due.remove();
        if is_foreign(seen.from_address) {
            self.accounts.entry(seen.from_address).or_default().0 += seen.bytes.len() as u64;
        }
        Some(seen)
    }

    /// An end sent something to a foreign address.
    ///
    /// # Errors
    /// If that is more than three times what came from there.
    pub(super) fn on_lured(&mut self, to: SocketAddr, bytes: usize) -> Result<(), String> {
        let (received, sent) = self.accounts.entry(to).or_default();
        *sent += bytes as u64;
        if *sent > 3 * *received {
            return Err(format!("{sent} bytes to {to}, where {received} came from"));
        }
        Ok(())
    }

    /// A datagram goes by; it may be cut on the way.
    pub(super) fn on_datagram(&mut self, now: Time, seen: &Seen) -> Option<usize> {
        if self.at_peace {
            return None;
        }
        if self.memory.len() < MEMORY {
            self.memory.push(seen.clone());
        } else {
            let at = self.below(MEMORY);
            self.memory[at] = seen.clone();
        }
        if self.rng.chance(self.malice.replay) {
            let old = self.below(self.memory.len());
            let again = self.memory[old].clone();
            self.disguise(now, again);
        }
        if self.rng.chance(self.malice.spoof) {
            // At once, so that it overtakes the original.
            let copy = Seen { from_address: self.foreign(seen), ..seen.clone() };
            self.send(now, copy);
        }
        if self.rng.chance(self.malice.garbage) {
            let mut bytes = seen.bytes.clone();
            let keep = self.below(bytes.len().min(40)) + 1;
            self.rng.fill(&mut bytes[keep..]);
            let cut = keep + self.below(bytes.len() - keep + 1);
            bytes.truncate(cut);
            self.disguise(now, Seen { bytes, ..seen.clone() });
        }
        self.rng.chance(self.malice.truncate).then(|| self.below(seen.bytes.len()))
    }

    /// Sends a datagram later, perhaps from elsewhere, back to where it came from, longer or with a bit bent.
    fn disguise(&mut self, now: Time, mut seen: Seen) {
        match self.below(6) {
            0 => seen.from_address = self.foreign(&seen),
            1 => {
                core::mem::swap(&mut seen.from_address, &mut seen.to_address);
                seen.to = seen.to.peer();
            }
            2 => {
                let at = self.below(seen.bytes.len());
                seen.bytes[at] ^= 1 << self.below(8);
            }
            3 => {
                let mut tail = vec![0; self.below(200)];
                self.rng.fill(&mut tail);
                seen.bytes.extend(tail);
            }
            _ => {}
        }
        let at = now + Duration::from_millis(self.rng.below(LATE_MAX_MS));
        self.send(at, seen);
    }

    fn send(&mut self, at: Time, seen: Seen) {
        if self.pending.len() < PENDING_MAX && !seen.bytes.is_empty() {
            self.counter += 1;
            self.pending.insert((at, self.counter), seen);
        }
    }

    /// Where a forged datagram claims to come from: some other host, or some other port.
    fn foreign(&mut self, like: &Seen) -> SocketAddr {
        let mut address = like.from_address;
        if like.from_address == SERVER || self.rng.chance(0.7) {
            let host = u8::try_from(self.below(4)).unwrap_or(0);
            address.set_ip(IpAddr::V4(Ipv4Addr::new(203, 0, 113, host)));
        } else {
            address.set_port(20_000 + u16::try_from(self.below(4)).unwrap_or(0));
        }
        address
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.below(n.max(1) as u64)).unwrap_or(0)
    }
}

/// True for the addresses of hosts that take no part.
pub(super) fn is_foreign(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(v4) if v4.octets()[..3] == [203, 0, 113])
}
