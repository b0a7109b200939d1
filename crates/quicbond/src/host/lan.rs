//! The networks behind this machine: whose hosts may use the tunnel. And the addresses of the machine itself.

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Every address of this host.
pub(crate) fn own_addresses() -> BTreeSet<IpAddr> {
    let Ok(all) = getifaddrs() else { return BTreeSet::new() };
    let ip = |one: InterfaceAddress| {
        let address = one.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    all.filter_map(ip).collect()
}

/// Interfaces that are up and have an address, but for loopback and those in `links`, which lead elsewhere.
pub(crate) fn lan_interfaces(links: &[&str]) -> Vec<String> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let is_lan = |flags: InterfaceFlags| {
        flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
    };
    let with_address = all.filter(|one| {
        let family = one
            .address
            .as_ref()
            .is_some_and(|a| a.as_sockaddr_in().is_some() || a.as_sockaddr_in6().is_some());
        family && is_lan(one.flags)
    });
    let names: BTreeSet<String> = with_address.map(|one| one.interface_name).collect();
    names.into_iter().filter(|name| !links.contains(&name.as_str())).collect()
}
