use super::{KEPT_FOR, Pool};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

fn pool(v4: &str) -> Pool {
    Pool::new(Some(v4.parse().unwrap()), Some("fd51::/64".parse().unwrap()))
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn clients_get_different_addresses_and_never_the_servers_own() {
    let (mut pool, now) = (pool("10.1.0.0/29"), Instant::now());
    let all: Vec<_> = (0..6).map(|_| pool.lease_v4("a", None, now)).collect();
    // Of 8: the network, the server and the broadcast address are not given out.
    assert_eq!(all, [ip("10.1.0.2"), ip("10.1.0.3"), ip("10.1.0.4"), ip("10.1.0.5"), ip("10.1.0.6"), None]);
    assert_eq!(pool.lease_v6("a", None, now), ip("fd51::2"));
}

#[test]
fn a_client_that_comes_back_gets_its_address_and_a_stranger_does_not() {
    let (mut pool, now) = (pool("10.1.0.0/24"), Instant::now());
    let first = pool.lease_v4("a", None, now);
    assert_eq!(first, ip("10.1.0.2"));
    let wanted = Some(Ipv4Addr::new(10, 1, 0, 2));
    assert_eq!(pool.lease_v4("a", wanted, now), ip("10.1.0.3"), "in use");
    pool.release(first.unwrap(), now);
    assert_eq!(pool.lease_v4("b", wanted, now), ip("10.1.0.4"), "kept for its tenant");
    assert_eq!(pool.lease_v4("a", wanted, now), first);
    pool.release(first.unwrap(), now);
    assert_eq!(pool.lease_v4("b", wanted, now + KEPT_FOR), first, "nobody came back for it");
}

#[test]
fn addresses_outside_the_network_are_not_given_on_request() {
    let (mut pool, now) = (pool("10.1.0.0/29"), Instant::now());
    for wanted in ["10.1.0.0", "10.1.0.1", "10.1.0.7", "10.2.0.2", "10.0.255.255"] {
        let got = pool.lease_v4("a", Some(wanted.parse().unwrap()), now);
        assert_ne!(got, ip(wanted));
        if let Some(got) = got {
            pool.release(got, now);
        }
    }
}

#[test]
fn networks_too_small_for_a_client_give_nothing() {
    let (mut pool, now) = (Pool::new(Some("10.1.0.0/31".parse().unwrap()), None), Instant::now());
    assert_eq!(pool.lease_v4("a", None, now), None);
    assert_eq!(pool.lease_v6("a", None, now), None);
}
