//! Who gets in: address validation before anything is kept for a stranger, and bounds on what strangers can make us keep.

use crate::tokens::Spent;
use mpquic_base::{Duration, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Packets a second that strangers get in answer to what cannot become a connection.
const ANSWERS_PER_SECOND: u32 = 200;

/// When a client has to prove its address before its handshake is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    Never,
    Always,
    /// Once this many handshakes are in progress.
    UnderLoad {
        handshakes: usize,
    },
}

/// What an endpoint does about strangers. The default suits a server on the open Internet.
#[derive(Clone, Debug)]
pub struct Admission {
    pub retry: RetryPolicy,
    /// Handshakes in progress at once; each holds a bounded amount of memory (64 kB of CRYPTO data at the most).
    pub handshakes_max: usize,
    /// The same from one IPv4 address or IPv6 /64.
    pub handshakes_per_host: usize,
    /// Whether clients get a token for their next visit.
    pub new_tokens: bool,
    /// The time since 1970 at [`Time::ZERO`]: needed if the server's secret, and with it tokens, outlive the process.
    pub epoch: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::UnderLoad { handshakes: 256 },
            handshakes_max: 2048,
            handshakes_per_host: 256,
            new_tokens: true,
            epoch: Duration::ZERO,
        }
    }
}

/// Where a handshake comes from, as coarse as one customer's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Host([u8; 8]);

impl Host {
    pub(super) fn of(address: IpAddr) -> Self {
        let mut key = [0; 8];
        match address.to_canonical() {
            IpAddr::V4(v4) => key[4..].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => key.copy_from_slice(&v6.octets()[..8]),
        }
        Self(key)
    }
}

/// Handshakes in progress, tokens used, and how fast strangers are answered.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) admission: Admission,
    pub(super) spent: Spent,
    /// Version Negotiation and refusals; Retry is for times of attack and has its own bound, the queue.
    pub(super) answers: Bucket,
    pub(super) resets: Bucket,
    handshakes: usize,
    per_host: BTreeMap<Host, usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            admission: Admission::default(),
            spent: Spent::default(),
            answers: Bucket::new(ANSWERS_PER_SECOND),
            resets: Bucket::new(ANSWERS_PER_SECOND),
            handshakes: 0,
            per_host: BTreeMap::new(),
        }
    }
}

impl Gate {
    /// The time since 1970 that tokens are dated by, and whether clients get any.
    pub(super) const fn minting(&self) -> (Duration, bool) {
        (self.admission.epoch, self.admission.new_tokens)
    }

    pub(super) const fn wants_retry(&self) -> bool {
        match self.admission.retry {
            RetryPolicy::Never => false,
            RetryPolicy::Always => true,
            RetryPolicy::UnderLoad { handshakes } => self.handshakes >= handshakes,
        }
    }

    pub(super) fn is_full(&self, host: Host) -> bool {
        self.handshakes >= self.admission.handshakes_max
            || self.per_host.get(&host).is_some_and(|n| *n >= self.admission.handshakes_per_host)
    }

    pub(super) fn on_begun(&mut self, host: Host) {
        self.handshakes += 1;
        *self.per_host.entry(host).or_default() += 1;
    }

    pub(super) fn on_over(&mut self, host: Host) {
        self.handshakes = self.handshakes.saturating_sub(1);
        if let Some(n) = self.per_host.get_mut(&host) {
            *n -= 1;
            if *n == 0 {
                self.per_host.remove(&host);
            }
        }
    }
}

/// So many answers a second, and a burst of as many: strangers decide neither our load nor what we send to others.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    left: u32,
    filled_at: Time,
}

impl Bucket {
    pub(super) const fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second, filled_at: Time::ZERO }
    }

    pub(super) fn take(&mut self, now: Time) -> bool {
        let earned = now.since(self.filled_at).as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        if earned > 0 {
            self.left =
                self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(self.per_second);
            self.filled_at = now;
        }
        let open = self.left > 0;
        self.left = self.left.saturating_sub(1);
        open
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Gate, Host};
    use mpquic_base::Time;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let mut bucket = Bucket::new(100);
        let taken = (0..10_000).filter(|ms| (0..5).any(|_| bucket.take(Time::from_millis(*ms)))).count();
        assert!((1000..=1200).contains(&taken), "{taken} in ten seconds");
    }

    #[test]
    fn one_host_cannot_take_the_places_of_all_others() {
        let mut gate = Gate::default();
        let (one, other) = (Host::of("2001:db8::1".parse().unwrap()), Host::of("192.0.2.1".parse().unwrap()));
        assert_eq!(one, Host::of("2001:db8::ffff:2".parse().unwrap()), "one /64, one customer");
        for _ in 0..gate.admission.handshakes_per_host {
            assert!(!gate.is_full(one));
            gate.on_begun(one);
        }
        assert!(gate.is_full(one) && !gate.is_full(other));
        gate.on_over(one);
        assert!(!gate.is_full(one));
    }
}
