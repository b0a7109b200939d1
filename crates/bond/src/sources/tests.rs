use super::*;
use crate::samples::{CLIENT4, udp};

fn prefixes(list: &[&str]) -> Prefixes {
    list.iter().map(|prefix| prefix.parse::<IpNet>().unwrap()).collect()
}

#[test]
fn a_tenant_speaks_from_its_own_prefixes_only() {
    for (ipv4, own, other) in
        [(true, "10.0.0.2/32", "10.0.0.3/32"), (false, "2001:db8::/64", "2001:db8:7::/48")]
    {
        let bytes = udp(ipv4, 8);
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!(check(&packet, &prefixes(&["192.0.2.0/24", own])), Ok(()));
        assert_eq!(check(&packet, &prefixes(&["192.0.2.0/24", other])), Err(ForeignSource(packet.source())));
        assert_eq!(check(&packet, &Prefixes::default()), Err(ForeignSource(packet.source())));
    }
}

#[test]
fn an_ipv4_source_is_not_in_an_ipv6_prefix_that_maps_it() {
    let all = prefixes(&["::/0"]);
    assert!(!all.contains(CLIENT4.into()));
}

#[test]
fn an_address_that_names_no_host_is_refused_even_by_a_default_route() {
    let all = prefixes(&["0.0.0.0/0", "::/0"]);
    for source in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        let mut bytes = udp(true, 8);
        bytes[12..16].copy_from_slice(&source.parse::<std::net::Ipv4Addr>().unwrap().octets());
        assert!(check(&Packet::read(&bytes).unwrap(), &all).is_err(), "{source}");
    }
    let mut bytes = udp(false, 8);
    assert!(check(&Packet::read(&bytes).unwrap(), &all).is_ok());
    bytes[8..24].fill(0);
    assert!(check(&Packet::read(&bytes).unwrap(), &all).is_err());
}
