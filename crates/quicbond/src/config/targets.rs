//! Which addresses clients may reach: the arithmetic behind `[targets]`.

use super::server::Targets;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What `allow_private` opens.
const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"];

impl Targets {
    /// Networks that are open although they are not the Internet, for a packet filter in front of [`Targets::permits`].
    pub(crate) fn exceptions(&self) -> Vec<IpNet> {
        let private = PRIVATE.iter().filter_map(|net| net.parse().ok()).filter(|_| self.allow_private);
        self.allow.iter().copied().chain(private).collect()
    }

    /// Whether a client may reach `target`.
    pub(crate) fn permits(&self, target: IpAddr) -> bool {
        let target = target.to_canonical();
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&target));
        if within(&self.deny) {
            return false;
        }
        if within(&self.allow) {
            return true;
        }
        match scope(target) {
            Scope::Public => true,
            Scope::Private => self.allow_private,
            Scope::Host => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Public,
    /// Networks that somebody administers.
    Private,
    /// This host, its link, or no single host at all.
    Host,
}

fn scope(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(v4) => scope_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => scope_v4(v4),
            None => scope_v6(v6),
        },
    }
}

fn scope_v4(v4: Ipv4Addr) -> Scope {
    let [a, b, ..] = v4.octets();
    // RFC 1122 §3.2.1.3 and RFC 1112 §4: 0/8 is this network, 240/4 is reserved, 255.255.255.255 is everybody.
    if v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || a == 0 || a >= 240 {
        return Scope::Host;
    }
    // RFC 6598: 100.64/10 lies between a provider and its customers. RFC 2544: 198.18/15 is for benchmarks.
    let between = (a == 100 && (64..128).contains(&b)) || (a == 198 && b & 0xfe == 18);
    if v4.is_private() || between { Scope::Private } else { Scope::Public }
}

fn scope_v6(v6: Ipv6Addr) -> Scope {
    // The deprecated ::/96 and fec0::/10 go where they used to go.
    let high_zero = v6.to_bits() >> 32 == 0;
    let site_local = v6.segments()[0] & 0xffc0 == 0xfec0;
    if v6.is_loopback() || v6.is_unspecified() || high_zero || v6.is_unicast_link_local() || v6.is_multicast()
    {
        return Scope::Host;
    }
    if v6.is_unique_local() || site_local { Scope::Private } else { Scope::Public }
}

/// The IPv4 address that a translator would make of it: RFC 6052 §2.1 (64:ff9b::/96) and RFC 3056 §2 (2002::/16).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = v6.to_bits();
    let low = |bits: u128| Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32);
    if bits >> 32 == 0x0064_ff9b_u128 << 64 {
        return Some(low(bits));
    }
    (bits >> 112 == 0x2002).then(|| low(bits >> 80))
}

#[cfg(test)]
mod tests;
