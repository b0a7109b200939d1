//! Address validation: Retry and NEW_TOKEN (RFC 9000 §8.1, §17.2.5; RFC 9001 §5.8).

use crate::rig::{Duo, Packet, client_address, ms};
use mpquic_base::{PathId, Role};
use mpquic_proto::crypto::InitialCrypto;
use mpquic_proto::{Admission, CloseReason, Event, RetryPolicy, TransportConfig};
use mpquic_sim::crypto::PlainCrypto;
use mpquic_wire::header::PartialHeader;
use mpquic_wire::{Code, Frame, Reader};

/// The client's first flight, the server's Retry, and the client's answer to it.
fn sent_around() -> (Duo, Vec<Packet>) {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    let first = duo.client_says();
    duo.tell_server(first);
    let retry = duo.server_says();
    duo.tell_client(retry);
    let second = duo.client_says();
    assert_eq!(duo.connection().counters().retries, 1);
    (duo, second)
}

/// What an Initial of a client carries in CRYPTO frames; its keys are those of the ID that it goes to.
fn hello_in(packet: &Packet) -> Vec<u8> {
    let (PartialHeader::Long(long), len) = PartialHeader::read(&packet.bytes, 8).unwrap() else { panic!() };
    let (mut bytes, pn_at) = (packet.bytes[..len].to_vec(), long.pn_offset);
    let keys = PlainCrypto.initial_keys(long.version, &long.dcid, Role::Client).local;
    let (first, rest) = bytes.split_first_mut().unwrap();
    keys.header.unprotect(&packet.bytes[pn_at + 4..pn_at + 20], first, &mut rest[pn_at - 1..pn_at + 3]);
    let pn_len = usize::from(*first & 3) + 1;
    let (header, payload) = bytes.split_at_mut(pn_at + pn_len);
    let pn = header[pn_at..].iter().fold(0, |pn, byte| pn << 8 | u64::from(*byte));
    let len = keys.packet.open(PathId::ZERO, pn, header, payload).expect("keys of the ID that it goes to");
    let (mut reader, mut hello) = (Reader::new(&payload[..len]), Vec::new());
    while !reader.is_empty() {
        if let Frame::Crypto { offset, data } = Frame::read(&mut reader).unwrap() {
            assert_eq!(usize::try_from(offset), Ok(hello.len()), "in order");
            hello.extend_from_slice(data);
        }
    }
    hello
}

fn is_invalid_token(reason: Option<&CloseReason>) -> bool {
    matches!(reason, Some(CloseReason::PeerTransport { code: Code::INVALID_TOKEN, .. }))
}

#[test]
fn a_client_that_answers_a_retry_is_let_in() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    duo.wait(ms(100));
    assert!(duo.is_connected(), "{:?}", duo.client_ended());
    assert_eq!((duo.server.counters().retries, duo.server.counters().accepted), (1, 1));
}

#[test]
fn after_a_retry_the_hello_is_the_same_under_the_keys_of_the_new_id() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    let first = duo.client_says();
    duo.tell_server(first.clone());
    let retry = duo.server_says();
    duo.tell_client(retry);
    let second = duo.client_says();
    assert_ne!(first[0].bytes[6..14], second[0].bytes[6..14], "another ID");
    let hello = hello_in(&first[0]);
    assert!(!hello.is_empty());
    assert_eq!(hello, hello_in(&second[0]));
}

#[test]
fn a_server_keeps_nothing_for_a_client_that_it_sends_around() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    for _ in 0..50 {
        let first = duo.client_says();
        let sent: usize = first.iter().map(|p| p.bytes.len()).sum();
        duo.tell_server(first);
        let answered: usize = duo.server_says().iter().map(|p| p.bytes.len()).sum();
        assert!(answered <= sent, "{answered} bytes for {sent}");
        assert!(duo.server.is_empty());
        duo.wait_alone(ms(1000));
    }
}

#[test]
fn a_client_follows_one_retry_and_no_second() {
    let (mut duo, second) = sent_around();
    duo.restart_server(99);
    duo.server.set_admission(Admission { retry: RetryPolicy::Always, ..Admission::default() });
    // Without its token the repeated Initial draws another Retry.
    let mut bare = second.clone();
    let token_at = 1 + 4 + 1 + 8 + 1 + 8;
    bare[0].bytes[token_at + 2] ^= 0xff;
    duo.tell_server(bare);
    let again = duo.server_says();
    assert_eq!(duo.server.counters().retries, 1);
    duo.tell_client(again);
    assert_eq!(duo.connection().counters().retries, 1);
}

#[test]
fn a_retry_with_a_bent_tag_is_ignored() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    let first = duo.client_says();
    duo.tell_server(first);
    let retry = duo.server_says();
    for at in [30, retry[0].bytes.len() - 1] {
        let mut bent = retry.clone();
        bent[0].bytes[at] ^= 1;
        duo.tell_client(bent);
        assert_eq!(duo.connection().counters().retries, 0);
    }
    duo.tell_client(retry);
    assert_eq!(duo.connection().counters().retries, 1);
}

#[test]
fn a_retry_after_the_server_was_heard_is_ignored() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    let first = duo.client_says();
    duo.tell_server(first.clone());
    let retry = duo.server_says();
    duo.server.set_admission(Admission { retry: RetryPolicy::Never, ..Admission::default() });
    duo.tell_server(first);
    let flight = duo.server_says();
    duo.tell_client(flight.into_iter().chain(retry));
    assert_eq!(duo.connection().counters().retries, 0);
    duo.wait(ms(100));
    assert!(duo.is_connected());
}

#[test]
fn packet_numbers_go_on_after_a_retry_and_every_initial_repeats_the_token() {
    let (mut duo, second) = sent_around();
    let token_at = 1 + 4 + 1 + 8 + 1 + 8;
    assert_ne!(second[0].bytes[token_at], 0, "no token");
    // Lost, the Initial is sent again and has its token again.
    duo.wait_alone(ms(1100));
    let third = duo.client_says();
    assert_eq!(third[0].bytes[token_at..token_at + 40], second[0].bytes[token_at..token_at + 40]);
    duo.tell_server(third);
    duo.wait(ms(100));
    assert!(duo.is_connected());
}

#[test]
fn a_retry_token_from_another_port_is_refused_with_invalid_token() {
    let (mut duo, mut second) = sent_around();
    second.iter_mut().for_each(|p| p.tuple.local.set_port(4001));
    duo.tell_server(second);
    let refusal = duo.server_says();
    assert!(duo.server.is_empty());
    duo.tell_client(refusal);
    assert!(is_invalid_token(duo.client_ended()), "{:?}", duo.client_ended());
}

#[test]
fn a_retry_token_from_another_host_is_refused() {
    let (mut duo, mut second) = sent_around();
    second.iter_mut().for_each(|p| p.tuple.local.set_ip("203.0.113.9".parse().unwrap()));
    duo.tell_server(second);
    assert_eq!((duo.server.counters().invalid_tokens, duo.server.len()), (1, 0));
}

#[test]
fn a_retry_token_lasts_for_thirty_seconds() {
    for (age, taken) in [(29_000, 1), (31_000, 0)] {
        let (mut duo, second) = sent_around();
        duo.now += ms(age);
        duo.tell_server(second);
        assert_eq!(duo.server.counters().accepted, taken, "after {age} ms");
        assert_eq!(duo.server.counters().invalid_tokens, 1 - taken);
    }
}

#[test]
fn a_retry_token_is_bound_to_the_connection_id_of_its_retry() {
    let (mut duo, mut second) = sent_around();
    second[0].bytes[6] ^= 1;
    duo.tell_server(second);
    assert_eq!((duo.server.counters().invalid_tokens, duo.server.len()), (1, 0));
}

#[test]
fn under_load_means_handshakes_in_progress() {
    let mut duo = Duo::retrying(RetryPolicy::UnderLoad { handshakes: 3 });
    for n in 0..5u64 {
        let first = duo.client_says();
        duo.tell_server(first);
        assert_eq!(duo.server.counters().retries, n.saturating_sub(2));
        duo.connect_from(client_address());
    }
    duo.wait(ms(500));
    assert_eq!(duo.server.counters().accepted, 6);
    // All are done: nobody is sent around any more.
    let before = duo.server.counters().retries;
    duo.connect_from(client_address());
    duo.wait(ms(100));
    assert_eq!(duo.server.counters().retries, before);
}

#[test]
fn handshakes_of_one_host_are_bounded_and_others_still_get_in() {
    let admission = Admission {
        retry: RetryPolicy::Never,
        handshakes_per_host: 4,
        handshakes_max: 6,
        ..Admission::default()
    };
    let mut duo = Duo::with(TransportConfig::default(), admission);
    let mut begin = |host: &str, times: u32| {
        for _ in 0..times {
            duo.connect_from(host.parse().unwrap());
        }
        let first = duo.client_says();
        duo.tell_server(first);
        duo.server.len()
    };
    assert_eq!(begin("198.51.100.7:4000", 9), 4);
    assert_eq!(begin("198.51.100.8:4000", 9), 6, "the total is bounded as well");
}

#[test]
fn a_token_of_the_last_visit_spares_the_retry_once() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    duo.wait(ms(100));
    assert!(duo.client_events.iter().any(|e| matches!(e, Event::TokenReceived(_))));
    // Another port is fine: only the host counts.
    duo.connect_from("198.51.100.7:5555".parse().unwrap());
    let first = duo.client_says();
    duo.tell_server(first.clone());
    duo.wait(ms(100));
    assert!(duo.is_connected());
    assert_eq!(duo.server.counters().retries, 1, "only the first visit");
    // A copy of that Initial with a fresh connection ID would be a replay of the token.
    let mut replay = first;
    replay[0].bytes[6] ^= 0x55;
    duo.tell_server(replay);
    assert_eq!(duo.server.counters().retries, 2);
}

#[test]
fn a_token_from_another_host_or_too_old_counts_for_nothing() {
    for (host, days) in [("198.51.100.8:4000", 0), ("198.51.100.7:4000", 2)] {
        let mut duo = Duo::retrying(RetryPolicy::Always);
        duo.wait(ms(100));
        let id = duo.id;
        duo.connection().close(mpquic_base::Time::ZERO, 0, b"");
        duo.wait(ms(10_000));
        assert!(duo.client.peek(id).is_none());
        duo.now += ms(days * 86_400_000);
        duo.connect_from(host.parse().unwrap());
        duo.wait(ms(100));
        assert!(duo.is_connected());
        assert_eq!((duo.server.counters().retries, duo.server.counters().invalid_tokens), (2, 0));
    }
}

#[test]
fn a_token_is_good_for_every_host_that_the_connection_was_validated_at() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    duo.wait(ms(100));
    let (now, second) = (duo.now, "203.0.113.5:4000".parse().unwrap());
    let tuple = mpquic_base::FourTuple { local: second, peer: crate::rig::server_address() };
    duo.connection().open_path(now, tuple, false).unwrap();
    duo.wait(ms(500));
    for from in ["203.0.113.5:4444", "198.51.100.7:4444"] {
        let token = duo.client_events.iter().rev().find_map(|e| match e {
            Event::TokenReceived(token) => Some(token.clone()),
            _ => None,
        });
        let mut later = Duo::retrying(RetryPolicy::Always);
        later.now = duo.now;
        later.client.remember_token("server", mpquic_wire::header::VERSION_1, token.unwrap());
        later.connect_from(from.parse().unwrap());
        let first: Vec<_> =
            later.client_says().into_iter().filter(|p| p.tuple.local.port() == 4444).collect();
        later.tell_server(first);
        assert_eq!(later.server.counters().accepted, 1, "from {from}");
    }
}

#[test]
fn a_token_of_another_server_counts_for_nothing() {
    let mut duo = Duo::retrying(RetryPolicy::Always);
    duo.client.remember_token("server", mpquic_wire::header::VERSION_1, vec![0x42; 80]);
    duo.connect_from(client_address());
    duo.wait(ms(200));
    assert!(duo.is_connected());
    assert_eq!(duo.server.counters().retries, 2, "one for each connection");
}

#[test]
fn new_token_from_a_client_is_a_violation() {
    let mut duo = Duo::new();
    duo.wait(ms(100));
    let id = duo.connection().open(mpquic_base::Dir::Bi).unwrap();
    duo.connection().write(id, b"x").unwrap();
    let real = duo.client_says().pop().unwrap();
    duo.tell_server([Duo::forge(
        &real,
        Role::Client,
        PathId::ZERO,
        5000,
        &[Frame::NewToken { token: b"t" }],
    )]);
    assert!(matches!(
        duo.server_ended(),
        Some(CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, .. })
    ));
}

#[test]
fn a_client_that_proved_its_address_is_not_held_to_three_times_its_bytes() {
    let (mut duo, second) = sent_around();
    let received: usize = second.iter().map(|p| p.bytes.len()).sum();
    duo.tell_server(second);
    // The simulated certificate alone takes less, so the flight is repeated by timeouts.
    let mut sent: usize = duo.server_says().iter().map(|p| p.bytes.len()).sum();
    for _ in 0..4 {
        duo.wait_alone(ms(1500));
        sent += duo.server_says().iter().map(|p| p.bytes.len()).sum::<usize>();
    }
    assert!(sent > 3 * received, "{sent} of {received}");
}
