//! Which queueing disciplines an interface has, and whether they hold packets until their time.
//!
//! Knows three names: `fq` releases by time, `mq` only spreads over the queues of a device, `clsact` and `ingress` hold
//! no departing packet. Everything else ignores or refuses departure times, so that pacing stays in this process.

use crate::address::array;
use crate::netlink::{Attributes, list};
use socket2::{Domain, Socket, Type};
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `struct tcmsg` and `struct ifaddrmsg`.
const TCMSG: usize = 20;
const IFADDRMSG: usize = 8;
const TCA_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// The names of the disciplines on an interface, in the kernel's order.
///
/// # Errors
/// What the system reports, such as that there is no such interface.
pub fn queueing_disciplines(device: &str) -> io::Result<Vec<String>> {
    let any = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None)?;
    of_index(rustix::net::netdevice::name_to_index(any, device)?)
}

/// Whether a socket with this device, or else bound to this address, sends through `fq`. Not if that cannot be told.
pub(crate) fn paces(device: Option<&str>, address: IpAddr) -> bool {
    let disciplines = match device {
        Some(device) => queueing_disciplines(device),
        None if address.is_unspecified() => return false,
        None => interface_with(address).and_then(|index| index.map_or(Ok(Vec::new()), of_index)),
    };
    disciplines.is_ok_and(|names| holds_until_due(&names))
}

fn holds_until_due(names: &[String]) -> bool {
    let departing = || names.iter().filter(|name| !matches!(name.as_str(), "clsact" | "ingress"));
    departing().any(|name| name == "fq") && departing().all(|name| name == "fq" || name == "mq")
}

fn of_index(index: u32) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    list(libc::RTM_GETQDISC, &[0; TCMSG], TCMSG, |fixed, attributes| {
        // tcm_ifindex follows the family and its padding.
        if array(fixed, 4).map(u32::from_ne_bytes) == Some(index) {
            names.extend(name_of(attributes));
        }
    })?;
    Ok(names)
}

fn name_of(attributes: Attributes<'_>) -> Option<String> {
    let name = CStr::from_bytes_until_nul(attributes.find(TCA_KIND)?).ok()?;
    Some(name.to_str().ok()?.to_owned())
}

fn interface_with(address: IpAddr) -> io::Result<Option<u32>> {
    let mut found = None;
    list(libc::RTM_GETADDR, &[0; IFADDRMSG], IFADDRMSG, |fixed, attributes| {
        // On a point-to-point link IFA_ADDRESS is the peer's; IFA_LOCAL is there then.
        let all: Vec<_> = attributes.collect();
        let of = |kind| all.iter().find(|(k, _)| *k == kind).and_then(|(_, value)| read_address(value));
        if of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS)) == Some(address) {
            found = array(fixed, 4).map(u32::from_ne_bytes);
        }
    })?;
    Ok(found)
}

fn read_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(array::<4>(value, 0)?).into()),
        16 => Some(Ipv6Addr::from(array::<16>(value, 0)?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{holds_until_due, interface_with, paces, queueing_disciplines};

    fn holds(names: &[&str]) -> bool {
        holds_until_due(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_fq_below_nothing_but_mq_holds_packets_until_their_time() {
        assert!(holds(&["fq"]) && holds(&["mq", "fq", "fq", "clsact"]));
        for other in
            [&[][..], &["noqueue"], &["mq"], &["fq_codel"], &["mq", "fq", "pfifo_fast"], &["tbf", "fq"]]
        {
            assert!(!holds(other), "{other:?}");
        }
    }

    #[test]
    fn the_loopback_interface_has_no_queue_and_is_found_by_its_address() {
        assert_eq!(queueing_disciplines("lo").unwrap(), ["noqueue"]);
        assert!(queueing_disciplines("no-such-link").is_err());
        assert!(interface_with("127.0.0.1".parse().unwrap()).unwrap().is_some());
        assert!(interface_with("192.0.2.77".parse().unwrap()).unwrap().is_none());
        assert!(!paces(Some("lo"), "0.0.0.0".parse().unwrap()) && !paces(None, "127.0.0.1".parse().unwrap()));
    }
}
