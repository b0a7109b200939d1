//! Address validation tokens (RFC 9000 §8.1): what a server hands out and reads back, and what a client keeps.
//!
//! A token is sealed by the server's secret, so it needs no state: a Retry token binds an address, a port and the
//! connection IDs of one attempt for some seconds; a NEW_TOKEN binds the hosts that the client was seen at for a day.
//! Knows nothing of packets; whether a token is asked for is the endpoint's decision.

use crate::crypto::{NONCE_LEN, ServerCrypto};
use crate::frames::{Frames, Token};
use mpquic_base::{Cid, Duration, Rng, Time};
use mpquic_wire::{Frame, Malformed, Reader};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// RFC 9000 §8.1.3: a Retry token need only last for the round trip that returns it.
const RETRY_LIFETIME: Duration = Duration::from_secs(30);
const NEW_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// RFC 9000 §8.1.1: the two kinds can be told apart. In the clear, because an invalid Retry token is answered even if
/// it cannot be read; long enough that another server's token is not taken for one.
const RETRY_MARK: [u8; 4] = *b"\x9bRt1";
const NEW_MARK: [u8; 4] = *b"\x9bNt1";
/// The longest token that a client repeats: more would leave no room for the ClientHello in its Initial packets.
pub(crate) const TOKEN_MAX: usize = 1024;
/// Hosts that one NEW_TOKEN may be good for.
const HOSTS_MAX: usize = 8;
/// Nonces of used tokens that are remembered, per generation; there are two.
const SPENT_MAX: usize = 32_768;
/// Servers that a client keeps tokens of, and tokens of each.
const SERVERS_MAX: usize = 256;
const TOKENS_PER_SERVER: usize = 4;

/// Makes tokens and reads them.
#[derive(Clone)]
pub(crate) struct Mint {
    pub(crate) crypto: Arc<dyn ServerCrypto>,
    /// Time since 1970 at [`Time::ZERO`], so that tokens outlive a restart.
    pub(crate) epoch: Duration,
}

/// What a token proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing: none of ours, expired, or for another host. As if there were no token.
    Nothing,
    /// The client was at this host before; `nonce` is spent by that.
    Returning { nonce: [u8; NONCE_LEN] },
    /// The client answered a Retry that met the first packet to `original`.
    Retried { original: Cid },
    /// A Retry token that proves nothing: the client will not get another chance in this attempt.
    InvalidRetry,
}

impl Mint {
    fn millis(&self, now: Time) -> u64 {
        u64::try_from((self.epoch + now.since(Time::ZERO)).as_millis()).unwrap_or(u64::MAX)
    }

    fn stamp(&self, now: Time, version: u32) -> Vec<u8> {
        [&self.millis(now).to_be_bytes()[..], &version.to_be_bytes()].concat()
    }

    fn seal(&self, rng: &mut Rng, mark: [u8; 4], mut text: Vec<u8>) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        self.crypto.seal(&nonce, &mark, &mut text);
        [&mark[..], &nonce, &text].concat()
    }

    /// For a Retry packet: `original` is the destination of the client's packet, `retry` our ID in the Retry.
    pub(crate) fn retry(
        &self,
        now: Time,
        rng: &mut Rng,
        (version, peer): (u32, SocketAddr),
        original: &Cid,
        retry: &Cid,
    ) -> Vec<u8> {
        let mut text = self.stamp(now, version);
        text.extend(octets(peer.ip()));
        text.extend(peer.port().to_be_bytes());
        for cid in [original, retry] {
            text.push(u8::try_from(cid.len()).unwrap_or(0));
            text.extend(cid.as_slice());
        }
        self.seal(rng, RETRY_MARK, text)
    }

    /// For a NEW_TOKEN frame of a connection of `version`: good for each of `hosts`.
    pub(crate) fn new_token(&self, now: Time, rng: &mut Rng, version: u32, hosts: &[IpAddr]) -> Vec<u8> {
        let mut text = self.stamp(now, version);
        hosts.iter().for_each(|host| text.extend(octets(*host)));
        self.seal(rng, NEW_MARK, text)
    }

    /// `version` and `dcid` are those of the packet that brought the token.
    pub(crate) fn read(
        &self,
        now: Time,
        (version, peer): (u32, SocketAddr),
        dcid: &Cid,
        token: &[u8],
    ) -> Reading {
        let Some((mark, rest)) = token.split_first_chunk::<4>() else { return Reading::Nothing };
        let retry = *mark == RETRY_MARK;
        if !retry && *mark != NEW_MARK {
            return Reading::Nothing;
        }
        let fallback = if retry { Reading::InvalidRetry } else { Reading::Nothing };
        let Some((nonce, sealed)) = rest.split_first_chunk::<NONCE_LEN>() else { return fallback };
        let mut text = sealed.to_vec();
        if !self.crypto.unseal(nonce, mark, &mut text) {
            return fallback;
        }
        let read = if retry {
            self.read_retry(now, (version, peer), dcid, &text)
        } else {
            self.read_new(now, (version, peer), *nonce, &text)
        };
        read.ok().flatten().unwrap_or(fallback)
    }

    fn read_retry(
        &self,
        now: Time,
        (version, peer): (u32, SocketAddr),
        dcid: &Cid,
        text: &[u8],
    ) -> Result<Option<Reading>, Malformed> {
        let mut r = Reader::new(text);
        let fresh = self.is_fresh(now, version, &mut r, RETRY_LIFETIME)?;
        let (host, port) = (r.array::<16>()?, r.u16()?);
        let (original, retry) = (r.cid()?, r.cid()?);
        let right = fresh && host == octets(peer.ip()) && port == peer.port() && retry == *dcid;
        Ok(right.then_some(Reading::Retried { original }))
    }

    fn read_new(
        &self,
        now: Time,
        (version, peer): (u32, SocketAddr),
        nonce: [u8; NONCE_LEN],
        text: &[u8],
    ) -> Result<Option<Reading>, Malformed> {
        let mut r = Reader::new(text);
        let fresh = self.is_fresh(now, version, &mut r, NEW_TOKEN_LIFETIME)?;
        let host = octets(peer.ip());
        let known = r.rest().chunks(host.len()).any(|h| h == host);
        Ok((fresh && known).then_some(Reading::Returning { nonce }))
    }

    fn is_fresh(
        &self,
        now: Time,
        version: u32,
        r: &mut Reader<'_>,
        lifetime: Duration,
    ) -> Result<bool, Malformed> {
        let issued = u64::from_be_bytes(r.array()?);
        // RFC 9369 §5: a token is of use in its own version alone.
        let same = u32::from_be_bytes(r.array()?) == version;
        let age = self.millis(now).checked_sub(issued);
        Ok(same && age.is_some_and(|age| Duration::from_millis(age) <= lifetime))
    }
}

impl core::fmt::Debug for Mint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mint").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

fn octets(host: IpAddr) -> [u8; 16] {
    match host.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
    }
}

/// A server connection's NEW_TOKEN: one for all hosts at which the client proved to be.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    mint: Option<Mint>,
    hosts: Vec<IpAddr>,
    wants: bool,
}

impl Grants {
    pub(crate) const fn new(mint: Option<Mint>) -> Self {
        Self { mint, hosts: Vec::new(), wants: false }
    }

    /// draft-ietf-quic-multipath-21 §3.1.3: a token should be good for every address that was validated.
    pub(crate) fn on_validated(&mut self, host: IpAddr) {
        if self.mint.is_none() || self.hosts.contains(&host) {
            return;
        }
        if self.hosts.len() == HOSTS_MAX {
            self.hosts.remove(0);
        }
        self.hosts.push(host);
        self.wants = true;
    }

    pub(crate) const fn wants(&self) -> bool {
        self.wants
    }

    pub(crate) fn write(&mut self, now: Time, rng: &mut Rng, version: u32, frames: &mut Frames<'_>) {
        let Some(mint) = self.mint.as_ref().filter(|_| self.wants) else { return };
        let token = mint.new_token(now, rng, version, &self.hosts);
        self.wants = !frames.push(&Frame::NewToken { token: &token }, Token::Grant);
    }

    pub(crate) const fn lost(&mut self) {
        self.wants = true;
    }
}

/// Tokens that were used, as well as memory allows: RFC 9000 §8.1.4 wants each used once.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    young: BTreeSet<[u8; NONCE_LEN]>,
    old: BTreeSet<[u8; NONCE_LEN]>,
}

impl Spent {
    /// False if the token was used before.
    pub(crate) fn spend(&mut self, nonce: [u8; NONCE_LEN]) -> bool {
        if self.old.contains(&nonce) || self.young.contains(&nonce) {
            return false;
        }
        if self.young.len() >= SPENT_MAX {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(nonce)
    }
}

/// What servers gave to a client, each token to be used once and in the version of QUIC that it came in (RFC 9369 §5).
#[derive(Debug, Default)]
pub(crate) struct Purse {
    servers: BTreeMap<String, VecDeque<(u32, Vec<u8>)>>,
    /// Server names, the one that gave a token last at the end.
    order: VecDeque<String>,
}

impl Purse {
    pub(crate) fn put(&mut self, server: &str, version: u32, token: Vec<u8>) {
        if token.is_empty() || token.len() > TOKEN_MAX {
            return;
        }
        self.order.retain(|name| name != server);
        self.order.push_back(server.to_owned());
        if self.order.len() > SERVERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.servers.remove(&oldest);
        }
        let tokens = self.servers.entry(server.to_owned()).or_default();
        if tokens.len() == TOKENS_PER_SERVER {
            tokens.pop_front();
        }
        tokens.push_back((version, token));
    }

    /// The newest token of `server` for `version`, which it will not be again.
    pub(crate) fn take(&mut self, server: &str, version: u32) -> Option<Vec<u8>> {
        let tokens = self.servers.get_mut(server)?;
        let newest = tokens.iter().rposition(|(of, _)| *of == version)?;
        tokens.remove(newest).map(|(_, token)| token)
    }

    /// Everything, so that [`Purse::put`] in the same order makes the same purse.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = (&str, u32, &[u8])> {
        let of = |name| self.servers.get(name).into_iter().flatten();
        self.order.iter().flat_map(move |name| {
            of(name).map(|(version, token)| (name.as_str(), *version, token.as_slice()))
        })
    }
}

#[cfg(test)]
mod tests;
