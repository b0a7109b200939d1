use super::*;

fn target(text: &str) -> Target {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn a_target_reads_back_as_it_was_written() {
    for text in ["example.com:443", "10.0.0.1:80", "[2001:db8::1]:65535", "a_b.example.:1", "localhost:8080"]
    {
        assert_eq!(target(text).to_string(), text);
    }
    assert_eq!(target("EXAMPLE.com:1").host, Host::Name("example.com".into()));
    assert_eq!(target("[::1]:5").host, Host::Ip(Ipv6Addr::LOCALHOST.into()));
    assert_eq!(target("10.0.0.1:80").host, Host::Ip([10, 0, 0, 1].into()));
}

#[test]
fn what_names_no_destination_is_refused_with_a_reason() {
    let long_label = format!("{}.com:1", "a".repeat(LABEL_MAX + 1));
    let long_name = format!("{}com:1", "abcdefg.".repeat(32));
    let none = [
        "",
        ":",
        "example.com",
        "example.com:",
        "example.com:0",
        "example.com:65536",
        "example.com:+80",
        ":80",
        "a..b:80",
        ".a:80",
        "a b:80",
        "a/b:80",
        "::1:80",
        "[::1:80",
        "[10.0.0.1]:80",
        "ex\u{e4}mple.com:80",
        "127.1:80",
        "0x7f000001:80",
        "2130706433:80",
        "1.2.3.4.5:80",
        "a\r\nb:80",
        "user@host:80",
        &long_label,
        &long_name,
    ];
    for text in none {
        let reason = text.parse::<Target>().expect_err(text);
        assert!(!reason.to_string().is_empty());
    }
}

#[test]
fn every_refusal_names_the_target_and_has_a_code_for_each_protocol() {
    use Refusal::{HostUnreachable, NameUnknown, NotAllowed, Refused, TimedOut, TooMany, TunnelDown};
    let all = [
        (NotAllowed, 2, 403),
        (Refused, 5, 502),
        (HostUnreachable, 4, 502),
        (TimedOut, 6, 504),
        (NameUnknown, 4, 502),
        (TooMany, 1, 503),
        (TunnelDown, 3, 503),
    ];
    for (refusal, reply, status) in all {
        assert_eq!((refusal.socks5_reply(), refusal.http_status().0), (reply, status));
        let text = refusal.explain(&target("host.example:99"));
        assert!(text.contains("host.example:99") && text.contains(": "), "{text}");
    }
}
