use super::*;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

fn key(n: u32) -> FlowKey {
    let source = IpAddr::from(n.to_be_bytes());
    FlowKey { source, destination: [1, 1, 1, 1].into(), protocol: 17, source_port: 5, destination_port: 6 }
}

#[test]
fn a_stamp_survives_the_wire_and_short_bytes_are_none() {
    let stamp = Stamp { flow: 0x1234, sequence: 0x89ab_cdef };
    assert_eq!(stamp.encode(), [0x12, 0x34, 0x89, 0xab, 0xcd, 0xef]);
    assert_eq!(Stamp::decode(stamp.encode()), stamp);
    assert_eq!(Stamp::split(&[&stamp.encode()[..], b"rest"].concat()), Some((stamp, &b"rest"[..])));
    assert_eq!(Stamp::split(&stamp.encode()[..5]), None);
}

#[test]
fn each_flow_counts_for_itself() {
    let mut stamper = Stamper::new(7);
    let first = [stamper.stamp(&key(1)), stamper.stamp(&key(2))];
    assert_ne!(first[0].flow, first[1].flow);
    for sequence in 1..100 {
        assert_eq!(stamper.stamp(&key(1)), Stamp { sequence, ..first[0] });
        assert_eq!(stamper.stamp(&key(2)), Stamp { sequence, ..first[1] });
    }
}

#[test]
fn a_thousand_flows_at_once_hardly_ever_share_a_slot() {
    let mut stamper = Stamper::new(3);
    let slots: HashSet<u16> = (0..1000).map(|n| stamper.stamp(&key(n)).flow).collect();
    assert!(slots.len() > 980, "{} slots", slots.len());
    assert!(slots.iter().all(|slot| usize::from(*slot) < FLOWS));
}

#[test]
fn numbers_of_a_slot_never_repeat_however_many_flows_pass_through() {
    let mut stamper = Stamper::new(11);
    let mut next: HashMap<u16, u32> = HashMap::new();
    for n in 0..100_000u32 {
        let stamp = stamper.stamp(&key(n / 2));
        let expected = next.entry(stamp.flow).or_default();
        assert_eq!(stamp.sequence, *expected, "packet {n}");
        *expected += 1;
    }
    assert_eq!(next.len(), FLOWS);
}

#[test]
fn a_busy_flow_keeps_its_slot_while_others_come_and_go() {
    let mut stamper = Stamper::new(5);
    let busy = stamper.stamp(&key(0)).flow;
    for n in 1..50_000 {
        stamper.stamp(&key(n));
        if n % 100 == 0 {
            assert_eq!(stamper.stamp(&key(0)).flow, busy, "after {n} flows");
        }
    }
}

#[test]
fn the_seed_decides_where_flows_go() {
    let slots = |seed| (0..8).map(|n| Stamper::new(seed).stamp(&key(n)).flow).collect::<Vec<_>>();
    assert_eq!(slots(1), slots(1));
    assert_ne!(slots(1), slots(2));
}
