use super::{DEFAULT_PORT, PREFIX, Secret, ServerAddress, TENANT_MAX, Token, TokenError, check};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mpquic::Fingerprint;

/// A good token for the tests of others.
pub(crate) fn example() -> Token {
    token("vpn.example.org")
}

fn token(host: &str) -> Token {
    Token {
        server: ServerAddress::new(host, 8443).unwrap(),
        pin: Fingerprint([7; 32]),
        tenant: "alice".parse().unwrap(),
        secret: Secret::from_bytes(core::array::from_fn(|i| i as u8)),
    }
}

/// A token around these bytes, with the right sum.
fn forged(content: &[u8]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([content, &check(content)].concat()))
}

#[test]
fn a_token_comes_back_as_it_was_for_names_and_both_families() {
    for host in ["vpn.example.org", "192.0.2.7", "2001:db8::7", "a.".repeat(126).trim_end_matches('.')] {
        let token = token(host);
        let text = token.encoded();
        assert!(text.starts_with("qb1"), "{text}");
        assert_eq!(text.parse(), Ok(token), "{host}");
    }
}

#[test]
fn a_token_that_a_terminal_has_wrapped_is_read_all_the_same() {
    let text = token("vpn.example.org").encoded();
    let wrapped = format!("  {}\r\n  {} \n", &text[..40], &text[40..]);
    assert_eq!(wrapped.parse::<Token>().unwrap().encoded(), text);
}

#[test]
fn every_slip_in_one_character_is_told_as_damage() {
    let text = token("vpn.example.org").encoded();
    for at in PREFIX.len()..text.len() {
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        let slip = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        assert_eq!(slip.parse::<Token>(), Err(TokenError::Damaged), "character {at}");
    }
}

#[test]
fn every_token_with_a_missing_or_an_added_end_is_told_as_damage() {
    let text = token("vpn.example.org").encoded();
    for end in PREFIX.len()..text.len() {
        assert_eq!(text[..end].parse::<Token>(), Err(TokenError::Damaged), "cut at {end}");
    }
    assert_eq!(format!("{text}AAAA").parse::<Token>(), Err(TokenError::Damaged));
}

#[test]
fn what_is_no_token_or_too_new_is_told_apart() {
    for text in ["", "hello", "qb", "qbx", "https://example.org", &"q".repeat(2000)] {
        assert_eq!(text.parse::<Token>(), Err(TokenError::NotAToken), "{text}");
    }
    let newer = token("h").encoded().replacen("qb1", "qb2", 1);
    assert_eq!(newer.parse::<Token>(), Err(TokenError::Newer));
    assert_eq!(forged(&[2, 1, b'h']).parse::<Token>(), Err(TokenError::Newer));
}

#[test]
fn a_right_sum_over_nonsense_is_refused() {
    let good = {
        let text = token("h").encoded();
        let bytes = URL_SAFE_NO_PAD.decode(&text[3..]).unwrap();
        bytes[..bytes.len() - 4].to_vec()
    };
    assert!(forged(&good).parse::<Token>().is_ok());
    for cut in 1..good.len() {
        assert_eq!(forged(&good[..cut]).parse::<Token>(), Err(TokenError::Senseless), "cut at {cut}");
    }
    let longer = [&good[..], b"x"].concat();
    assert_eq!(forged(&longer).parse::<Token>(), Err(TokenError::Senseless));
    for (at, byte) in [(2, b'/'), (2, 0xff), (1, 255)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(forged(&bad).parse::<Token>(), Err(TokenError::Senseless), "byte {at}");
    }
}

#[test]
fn nothing_that_is_printed_for_debugging_shows_the_secret() {
    let token = Token { secret: Secret::from_bytes([0xab; 32]), ..token("h") };
    let shown = format!("{token:?}").to_lowercase();
    assert!(shown.contains("hidden") && shown.contains("alice"), "{shown}");
    for trace in ["abab", "171", &token.secret.to_base64().to_lowercase()] {
        assert!(!shown.contains(trace), "{trace} is in {shown}");
    }
}

#[test]
fn secrets_differ_and_survive_their_base64() {
    let (one, two) = (Secret::random().unwrap(), Secret::random().unwrap());
    assert_ne!(one, two);
    assert_eq!(Secret::from_base64(&one.to_base64()), Some(one));
    assert_eq!(Secret::from_base64("AAAA"), None);
    assert_eq!(Secret::from_base64("?"), None);
}

#[test]
fn addresses_are_read_with_and_without_a_port() {
    for (text, host, port) in [
        ("vpn.example.org", "vpn.example.org", DEFAULT_PORT),
        ("vpn.example.org:8443", "vpn.example.org", 8443),
        ("192.0.2.1:1", "192.0.2.1", 1),
        ("[2001:db8::1]:65535", "2001:db8::1", 65_535),
        ("[2001:db8::1]", "2001:db8::1", DEFAULT_PORT),
        ("2001:db8::1", "2001:db8::1", DEFAULT_PORT),
    ] {
        let address: ServerAddress = text.parse().unwrap();
        assert_eq!((address.host(), address.port()), (host, port), "{text}");
        assert_eq!(address.to_string().parse(), Ok(address), "{text}");
    }
}

#[test]
fn a_wrong_address_is_told_what_would_be_right() {
    for text in [
        "",
        ":443",
        "h:0",
        "h:65536",
        "h:x",
        "h:",
        "[::1",
        "[h]:1",
        "[::1]1",
        "a b",
        "192.0.2.300",
        "-h",
        "h..o",
    ] {
        let error = text.parse::<ServerAddress>().unwrap_err();
        assert!(error.contains("HOST:PORT"), "{text}: {error}");
    }
}

#[test]
fn names_of_tenants_are_short_and_plain() {
    for good in ["a", "alice", "Alice-2.home_net", "0", &"x".repeat(TENANT_MAX)] {
        assert!(good.parse::<super::TenantName>().is_ok(), "{good}");
    }
    for bad in ["", "-a", ".a", "a b", "a\"", "ä", "a/b", "a,b", &"x".repeat(TENANT_MAX + 1)] {
        assert!(bad.parse::<super::TenantName>().is_err(), "{bad}");
    }
}
