use super::*;
use proptest::prelude::*;

fn target(host: &str, port: u16) -> Target {
    let host = host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Ip);
    Target { host, port }
}

#[test]
fn the_examples_of_rfc_9298_come_out() {
    for (host, port, path) in [
        ("192.0.2.6", 443, "/.well-known/masque/udp/192.0.2.6/443/"),
        ("2001:db8::42", 443, "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/"),
        ("target.example.com", 65535, "/.well-known/masque/udp/target.example.com/65535/"),
    ] {
        assert_eq!(target(host, port).path().unwrap(), path);
        assert_eq!(Target::parse(path).unwrap(), target(host, port));
    }
    let request = target("192.0.2.6", 443).request("example.org").unwrap();
    assert_eq!(request.uri(), "https://example.org/.well-known/masque/udp/192.0.2.6/443/");
    assert_eq!(request.extensions().get::<Protocol>().unwrap().0, "connect-udp");
    assert_eq!(request.headers()["capsule-protocol"], "?1");
}

#[test]
fn paths_that_name_no_target_are_refused() {
    for path in [
        "/",
        "/.well-known/masque/udp/",
        "/.well-known/masque/udp/a",
        "/.well-known/masque/udp/a/1",
        "/.well-known/masque/udp/a/1/2/",
        "/.well-known/masque/udp//1/",
        "/.well-known/masque/udp/a//",
        "/.well-known/masque/udp/a/0/",
        "/.well-known/masque/udp/a/65536/",
        "/.well-known/masque/udp/a/+1/",
        "/.well-known/masque/udp/a/000001/",
        "/.well-known/masque/udp/a%2/1/",
        "/.well-known/masque/udp/a%zz/1/",
        "/.well-known/masque/udp/a%20b/1/",
        "/.well-known/masque/udp/a%2Fb/1/",
        "/.well-known/masque/udp/fe80%3A%3A1%25eth0/1/",
        "/.well-known/masque/udp/%ff/1/",
        "/.well-known/masque/ip/a/1/",
    ] {
        assert!(Target::parse(path).is_err(), "{path}");
    }
    assert!(target("a", 0).path().is_err());
    assert!(target("a b", 1).path().is_err());
    assert!(target("", 1).path().is_err());
    assert!(target("a", 1).request("not an authority").is_err());
}

proptest! {
    #[test]
    fn every_address_survives_the_round_trip(bits in any::<u128>(), v4 in any::<bool>(), port in 1u16..) {
        let [.., a, b, c, d] = bits.to_be_bytes();
        let host = Host::Ip(if v4 { [a, b, c, d].into() } else { std::net::Ipv6Addr::from_bits(bits).into() });
        let target = Target { host, port };
        prop_assert_eq!(Target::parse(&target.path().unwrap()).unwrap(), target);
    }

    #[test]
    fn arbitrary_paths_are_understood_or_refused(tail in ".{0,40}") {
        Target::parse(&tail).ok();
        Target::parse(&format!("/.well-known/masque/udp/{tail}")).ok();
    }
}
