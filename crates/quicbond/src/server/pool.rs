//! The inner addresses that clients get.
//!
//! Owns which address belongs to which lease. A client that comes back gets the address it asks for, if it is free or was
//! its tenant's last; the first address of each network is the server's own.

use core::time::Duration;
use ipnet::{Ipv4Net, Ipv6Net};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

/// A released address stays with its tenant for so long, so that a client that was away finds its flows' address again.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Host numbers beyond this are not used: no server has so many clients.
const HOSTS_MAX: u128 = 1 << 20;

/// Two networks, one of which may be missing.
#[derive(Debug)]
pub(crate) struct Pool {
    v4: Option<Space>,
    v6: Option<Space>,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    tenant: String,
    /// Free for others from then on; `None` while in use.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Space {
    first: IpAddr,
    /// Host numbers 2..hosts are given out; 0 is the network, 1 the server.
    hosts: u128,
    leases: BTreeMap<u128, Lease>,
    next: u128,
}

impl Pool {
    pub(crate) fn new(v4: Option<Ipv4Net>, v6: Option<Ipv6Net>) -> Self {
        let size = |bits: u8| 1u128.checked_shl(u32::from(bits)).unwrap_or(HOSTS_MAX).min(HOSTS_MAX);
        // The last IPv4 address of a network is its broadcast address.
        let v4 = v4
            .map(|net| Space::new(IpAddr::V4(net.network()), size(32 - net.prefix_len()).saturating_sub(1)));
        let v6 = v6.map(|net| Space::new(IpAddr::V6(net.network()), size(128 - net.prefix_len())));
        Self { v4, v6 }
    }

    /// An IPv4 address for `tenant`, `wanted` if possible; `None` if none is left or there is no IPv4 inside.
    pub(crate) fn lease_v4(
        &mut self,
        tenant: &str,
        wanted: Option<Ipv4Addr>,
        now: Instant,
    ) -> Option<IpAddr> {
        self.v4.as_mut()?.lease(tenant, wanted.map(IpAddr::V4), now)
    }

    /// As [`Pool::lease_v4`].
    pub(crate) fn lease_v6(
        &mut self,
        tenant: &str,
        wanted: Option<Ipv6Addr>,
        now: Instant,
    ) -> Option<IpAddr> {
        self.v6.as_mut()?.lease(tenant, wanted.map(IpAddr::V6), now)
    }

    pub(crate) fn release(&mut self, address: IpAddr, now: Instant) {
        let space = if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        if let Some(space) = space
            && let Some(lease) = space.number(address).and_then(|n| space.leases.get_mut(&n))
        {
            lease.until = Some(now + KEPT_FOR);
        }
    }
}

impl Space {
    const fn new(first: IpAddr, hosts: u128) -> Self {
        Self { first, hosts, leases: BTreeMap::new(), next: 2 }
    }

    fn lease(&mut self, tenant: &str, wanted: Option<IpAddr>, now: Instant) -> Option<IpAddr> {
        let number = wanted
            .and_then(|address| self.number(address))
            .filter(|n| self.is_free_for(*n, tenant, now))
            .or_else(|| self.any(tenant, now))?;
        self.leases.insert(number, Lease { tenant: tenant.to_owned(), until: None });
        Some(self.address(number))
    }

    /// Goes round, so that an address is not given to somebody else right after its last owner.
    fn any(&mut self, tenant: &str, now: Instant) -> Option<u128> {
        let count = self.hosts.checked_sub(2).filter(|n| *n > 0)?;
        // Each number in use is looked at once at the most.
        let tries = count.min(self.leases.len() as u128 + 1);
        let start = self.next.max(2) - 2;
        let found =
            (0..tries).map(|i| 2 + (start + i) % count).find(|n| self.is_free_for(*n, tenant, now))?;
        self.next = found + 1;
        Some(found)
    }

    fn is_free_for(&self, number: u128, tenant: &str, now: Instant) -> bool {
        let in_range = (2..self.hosts).contains(&number);
        in_range
            && self.leases.get(&number).is_none_or(|lease| match lease.until {
                None => false,
                Some(until) => lease.tenant == tenant || until <= now,
            })
    }

    fn number(&self, address: IpAddr) -> Option<u128> {
        let number = match (address, self.first) {
            (IpAddr::V4(a), IpAddr::V4(first)) => u128::from(u32::from(a).checked_sub(u32::from(first))?),
            (IpAddr::V6(a), IpAddr::V6(first)) => u128::from(a).checked_sub(u128::from(first))?,
            _ => return None,
        };
        (number < self.hosts).then_some(number)
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => {
                IpAddr::V4(Ipv4Addr::from(u32::from(first).wrapping_add(u32::try_from(number).unwrap_or(0))))
            }
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first).wrapping_add(number))),
        }
    }
}

#[cfg(test)]
mod tests;
