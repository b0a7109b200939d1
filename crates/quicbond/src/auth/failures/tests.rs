use super::{Failures, SOURCES_MAX, TOTAL_FACTOR};
use core::time::Duration;
use mpquic_base::Time;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const START: Time = Time::from_millis(5_000_000);

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

fn after(seconds: u64) -> Time {
    START + Duration::from_secs(seconds)
}

fn fail(failures: &mut Failures, source: IpAddr, times: u32, now: Time) {
    (0..times).for_each(|_| failures.failed(source, now));
}

#[test]
fn a_source_is_refused_after_its_failures_and_slowly_forgiven() {
    let mut failures = Failures::new(10);
    fail(&mut failures, v4(1), 9, START);
    assert!(!failures.refuses(v4(1), START), "the tenth attempt is free");
    failures.failed(v4(1), START);
    assert!(failures.refuses(v4(1), START));
    assert!(failures.refuses(v4(1), after(5)));
    assert!(!failures.refuses(v4(1), after(6)), "one attempt comes back every six seconds");
    failures.failed(v4(1), after(6));
    assert!(failures.refuses(v4(1), after(6)));
    assert!(!failures.refuses(v4(2), START), "others are not touched");
}

#[test]
fn failures_do_not_pile_up_beyond_the_limit() {
    let mut failures = Failures::new(2);
    fail(&mut failures, v4(1), 1000, START);
    assert!(failures.refuses(v4(1), after(29)));
    assert!(!failures.refuses(v4(1), after(30)));
}

#[test]
fn one_network_of_ipv6_is_one_source_and_mapped_addresses_are_ipv4() {
    let mut failures = Failures::new(3);
    let host = |net: u16, host: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host));
    for n in 0..3 {
        failures.failed(host(1, n), START);
    }
    assert!(failures.refuses(host(1, 77), START));
    assert!(!failures.refuses(host(2, 0), START));
    fail(&mut failures, v4(9), 3, START);
    assert!(failures.refuses("::ffff:10.0.0.9".parse().unwrap(), START));
    assert!(!failures.refuses("::ffff:10.0.0.8".parse().unwrap(), START));
}

#[test]
fn a_flood_from_everywhere_slows_down_those_who_have_failed_and_nobody_else() {
    let mut failures = Failures::new(10);
    for n in 0..10 * TOTAL_FACTOR {
        failures.failed(v4(n), START);
    }
    assert!(failures.refuses(v4(3), START), "one failure of its own is enough now");
    assert!(!failures.refuses(v4(1_000_000), START), "a clean record is let through");
}

#[test]
fn the_table_is_bounded_and_keeps_the_worst() {
    let mut failures = Failures::new(10);
    fail(&mut failures, v4(0), 10, START);
    for n in 1..3 * SOURCES_MAX as u32 {
        failures.failed(v4(n), START);
        assert!(failures.sources.len() <= SOURCES_MAX);
    }
    assert!(failures.refuses(v4(0), START));
    failures.failed(v4(1), after(120));
    assert_eq!(failures.sources.len(), 1, "whoever has waited is forgotten");
}
