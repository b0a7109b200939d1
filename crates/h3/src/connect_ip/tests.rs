use super::*;
use crate::capsule::{Capsule, Decoder};
use bytes::Bytes;
use proptest::prelude::*;

fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
}

fn range(start: &str, end: &str, protocol: u8) -> IpRange {
    IpRange { start: start.parse().unwrap(), end: end.parse().unwrap(), protocol }
}

fn encoded(configuration: &Configuration) -> Vec<u8> {
    let mut out = Vec::new();
    configuration.encode(&mut out).unwrap();
    out
}

fn decoded(bytes: &[u8]) -> Result<Option<Configuration>, CapsuleRefused> {
    let mut input = bytes;
    let capsule = Decoder::new(LIMITS).decode(&mut input).unwrap().unwrap();
    assert!(input.is_empty());
    Configuration::decode(&capsule)
}

fn refused(kind: u64, value: &[u8]) -> bool {
    Configuration::decode(&Capsule { kind, value: Bytes::copy_from_slice(value) }).is_err()
}

#[test]
fn the_capsules_of_the_remote_access_example_are_byte_for_byte() {
    // RFC 9484 §8.1, in the formats of §4.7.
    let request = RequestedAddress { request: 1, prefix: prefix("0.0.0.0/32") };
    let assigned = AssignedAddress { request: 1, prefix: prefix("192.0.2.11/32") };
    for (configuration, bytes) in [
        (Configuration::AddressRequest(vec![request]), &b"\x02\x07\x01\x04\0\0\0\0\x20"[..]),
        (Configuration::AddressAssign(vec![assigned]), b"\x01\x07\x01\x04\xc0\0\x02\x0b\x20"),
        (
            Configuration::RouteAdvertisement(vec![range("0.0.0.0", "255.255.255.255", 0)]),
            b"\x03\x0a\x04\0\0\0\0\xff\xff\xff\xff\0",
        ),
    ] {
        assert_eq!(encoded(&configuration), bytes);
        assert_eq!(decoded(bytes), Ok(Some(configuration)));
    }
}

#[test]
fn routes_of_both_versions_are_byte_for_byte() {
    // RFC 9484 §8.1 (split tunnel), and one of the other version behind.
    let routes = Configuration::RouteAdvertisement(vec![
        range("192.0.2.0", "192.0.2.41", 0),
        range("192.0.2.43", "192.0.2.255", 0),
        range("2001:db8::", "2001:db8::ffff", 17),
    ]);
    let mut bytes = b"\x03\x36\x04\xc0\0\x02\0\xc0\0\x02\x29\0\x04\xc0\0\x02\x2b\xc0\0\x02\xff\0".to_vec();
    bytes.extend_from_slice(b"\x06\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\0");
    bytes.extend_from_slice(b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\xff\xff\x11");
    assert_eq!(encoded(&routes), bytes);
    assert_eq!(decoded(&bytes), Ok(Some(routes)));
}

#[test]
fn an_empty_list_takes_everything_back_but_asks_for_nothing() {
    assert_eq!(decoded(b"\x01\x00"), Ok(Some(Configuration::AddressAssign(vec![]))));
    assert_eq!(decoded(b"\x03\x00"), Ok(Some(Configuration::RouteAdvertisement(vec![]))));
    assert!(refused(ADDRESS_REQUEST, b""));
    assert!(Configuration::AddressRequest(vec![]).encode(&mut Vec::new()).is_err());
    assert_eq!(decoded(b"\x00\x01x"), Ok(None));
}

#[test]
fn addresses_that_break_a_rule_are_refused() {
    for kind in [ADDRESS_ASSIGN, ADDRESS_REQUEST] {
        assert!(!refused(kind, b"\x01\x04\x0a\0\0\0\x08"));
        assert!(refused(kind, b"\x01\x05\x0a\0\0\0\x08"), "an unknown version");
        assert!(refused(kind, b"\x01\x04\x0a\0\0\0\x21"), "a prefix too long");
        assert!(refused(kind, b"\x01\x04\x0a\0\0\x01\x08"), "bits beyond the prefix");
        assert!(refused(kind, b"\x01\x04\x0a\0\0\0"), "cut off");
        assert!(refused(kind, b"\x01\x04\x0a\0\0\0\x08\x01"), "more than whole entries");
        assert!(refused(kind, &[&[1, 6][..], &[0; 16], &[129]].concat()), "a prefix too long");
        assert!(!refused(kind, &[&[1, 6][..], &[0; 16], &[128]].concat()));
        assert!(!refused(kind, &[&[1, 6][..], &[0; 16], &[0]].concat()));
    }
    assert!(!refused(ADDRESS_ASSIGN, b"\x00\x04\x0a\0\0\0\x08"), "nobody asked");
    assert!(refused(ADDRESS_REQUEST, b"\x00\x04\x0a\0\0\0\x08"), "request id 0");
    assert!(refused(ADDRESS_REQUEST, b"\x01\x04\0\0\0\0\x20\x01\x04\0\0\0\0\x20"), "an id twice");
}

#[test]
fn ranges_are_ordered_and_do_not_overlap() {
    let check = |ranges: &[IpRange]| {
        let routes = Configuration::RouteAdvertisement(ranges.to_vec());
        let sent = routes.encode(&mut Vec::new());
        // The receiver judges as the sender does.
        let mut value = Vec::new();
        for range in ranges {
            value.push(if range.start.is_ipv4() { 4 } else { 6 });
            for address in [range.start, range.end] {
                match address {
                    IpAddr::V4(v4) => value.extend(v4.octets()),
                    IpAddr::V6(v6) => value.extend(v6.octets()),
                }
            }
            value.push(range.protocol);
        }
        assert_eq!(refused(ROUTE_ADVERTISEMENT, &value), sent.is_err());
        sent.is_ok()
    };
    let (a, b) = (range("10.0.0.0", "10.0.0.9", 6), range("10.0.0.10", "10.0.0.19", 6));
    let six = range("::", "::9", 0);
    assert!(check(&[a, b, six]));
    assert!(check(&[range("10.0.0.1", "10.0.0.1", 6)]), "one address");
    assert!(!check(&[range("10.0.0.2", "10.0.0.1", 6)]), "end before start");
    assert!(!check(&[b, a]), "addresses out of order");
    assert!(!check(&[a, range("10.0.0.9", "10.0.0.19", 6)]), "an address twice");
    assert!(!check(&[six, a]), "versions out of order");
    assert!(!check(&[range("10.0.0.0", "10.0.0.9", 17), a]), "protocols out of order");
    assert!(check(&[a, range("10.0.0.0", "10.0.0.9", 17)]), "protocols may share addresses");
    assert!(!check(&[range("10.0.0.5", "10.0.0.5", 0), a]), "all protocols overlap one");
    assert!(check(&[range("10.0.0.10", "10.0.0.99", 0), a]));
    assert!(check(&[range("0.0.0.0", "255.255.255.255", 0), range("::", "::1", 6)]), "other versions do not");
}

#[test]
fn a_refusal_is_all_zero_and_as_long_as_can_be() {
    let asked = RequestedAddress { request: 7, prefix: prefix("2001:db8::/64") };
    let refusal = AssignedAddress::refusal(&asked);
    assert_eq!(refusal, AssignedAddress { request: 7, prefix: prefix("::/128") });
    assert!(refusal.is_refusal());
    assert!(!AssignedAddress { request: 7, prefix: prefix("::/64") }.is_refusal());
}

#[test]
fn scopes_fill_the_default_template() {
    let scope = |target, protocol| Scope { target, protocol };
    for (scope, path) in [
        (Scope::ANY, "*/*"),
        (scope(Target::Prefix(prefix("192.0.2.42/32")), Some(17)), "192.0.2.42/17"),
        (scope(Target::Prefix(prefix("192.0.2.0/24")), None), "192.0.2.0%2F24/*"),
        (scope(Target::Prefix(prefix("2001:db8::42/128")), Some(0)), "2001%3Adb8%3A%3A42/0"),
        (scope(Target::Prefix(prefix("2001:db8::/32")), Some(255)), "2001%3Adb8%3A%3A%2F32/255"),
        (scope(Target::Name("target.example.com".to_owned()), Some(132)), "target.example.com/132"),
    ] {
        let path = format!("/.well-known/masque/ip/{path}/");
        assert_eq!(scope.path().unwrap(), path);
        assert_eq!(Scope::parse(&path).unwrap(), scope);
        let request = scope.request("proxy.example:4443").unwrap();
        assert_eq!(request.uri().to_string(), format!("https://proxy.example:4443{path}"));
    }
    assert_eq!(Scope::parse("/.well-known/masque/ip/%2A/%2a/"), Ok(Scope::ANY));
}

#[test]
fn scopes_that_break_a_rule_are_refused() {
    for path in [
        "",
        "*",
        "*/*",
        "/*/",
        "*//",
        "*/*/*/",
        "*/256/",
        "*/-1/",
        "*/0017/",
        "*/x/",
        "192.0.2.1%2F24/*/",
        "192.0.2.0%2F33/*/",
        "192.0.2.0%2F024/*/",
        "192.0.2.0%2F/*/",
        "a.example%2F24/*/",
        "%2F24/*/",
        "fe80%3A%3A1%25eth0/*/",
        "2001%3Adb8%3A%3A1%2F32/*/",
        "a%20b/*/",
        "%gg/*/",
    ] {
        assert!(Scope::parse(&format!("/.well-known/masque/ip/{path}")).is_err(), "{path}");
    }
    assert!(Scope::parse("/.well-known/masque/udp/*/*/").is_err());
    assert!(Scope { target: Target::Name("*".to_owned()), protocol: None }.path().is_err());
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn any_prefix() -> impl Strategy<Value = Prefix> {
    (any_address(), 0u8..=128).prop_map(|(address, len)| {
        let width = if address.is_ipv4() { 32 } else { 128 };
        // The first length from `len` on that keeps all bits which are set.
        (len.min(width)..=width).find_map(|len| Prefix::new(address, len).ok()).unwrap()
    })
}

proptest! {
    #[test]
    fn addresses_survive_the_round_trip(list in prop::collection::vec((any::<u32>(), any_prefix()), 0..20)) {
        let assigned = list.iter().map(|(id, prefix)| AssignedAddress { request: u64::from(*id), prefix: *prefix });
        let assign = Configuration::AddressAssign(assigned.collect());
        prop_assert_eq!(decoded(&encoded(&assign)), Ok(Some(assign)));
    }

    #[test]
    fn scopes_survive_the_round_trip(prefix in any_prefix(), protocol in any::<Option<u8>>()) {
        let scope = Scope { target: Target::Prefix(prefix), protocol };
        prop_assert_eq!(Scope::parse(&scope.path().unwrap()), Ok(scope));
    }

    #[test]
    fn what_is_understood_is_encoded_alike(kind in 0u64..5, value in prop::collection::vec(0u8..8, 0..60)) {
        let capsule = Capsule { kind, value: Bytes::from(value) };
        if let Ok(Some(configuration)) = Configuration::decode(&capsule) {
            // Small numbers have one encoding, so the bytes are the same.
            let mut expected = Vec::new();
            crate::capsule::write(&mut expected, kind, &capsule.value);
            prop_assert_eq!(encoded(&configuration), expected);
        }
    }

    #[test]
    fn arbitrary_bytes_are_understood_or_refused(kind in 0u64..5, value in prop::collection::vec(any::<u8>(), 0..200)) {
        Configuration::decode(&Capsule { kind, value: Bytes::from(value) }).ok();
    }

    #[test]
    fn arbitrary_paths_are_understood_or_refused(tail in ".{0,40}") {
        Scope::parse(&tail).ok();
        Scope::parse(&format!("/.well-known/masque/ip/{tail}")).ok();
    }
}
