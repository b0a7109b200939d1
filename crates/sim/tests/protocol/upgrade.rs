//! A server that goes on in another version than the client began with (RFC 9368 §2.3, RFC 9369 §4).

use crate::rig::{Duo, Packet, client_address, ms};
use mpquic_base::{Dir, Rng, Role, StreamId, Time};
use mpquic_proto::{Admission, CloseReason, Event, Read, RetryPolicy, TransportConfig};
use mpquic_sim::crypto::PlainTickets;
use mpquic_wire::header::{VERSION_1, VERSION_2};
use mpquic_wire::{Code, TransportParameters};
use std::sync::Arc;

const BOTH_WAYS: [[u32; 2]; 2] = [[VERSION_1, VERSION_2], [VERSION_2, VERSION_1]];

fn speaking(versions: &[u32]) -> TransportConfig {
    TransportConfig { versions: versions.to_vec(), ..TransportConfig::default() }
}

/// A client that begins in the first of `versions` and offers the second, which the server prefers.
fn unlike(versions: [u32; 2], retry: RetryPolicy) -> Duo {
    let [first, second] = versions;
    let admission = Admission { retry, ..Admission::default() };
    Duo::unlike(speaking(&versions), speaking(&[second, first]), admission)
}

fn duo() -> Duo {
    unlike([VERSION_1, VERSION_2], RetryPolicy::Never)
}

/// The versions of all packets with a long header.
fn versions(packets: &[Packet]) -> Vec<u32> {
    packets.iter().filter(|p| !p.is_short()).map(Packet::version).collect()
}

fn assert_agreed(duo: &mut Duo, version: u32) {
    assert!(duo.is_connected(), "{:?} {:?}", duo.client_ended(), duo.server_ended());
    assert_eq!((duo.connection().version(), duo.server_connection().version()), (version, version));
    assert_eq!(duo.server.counters().version_negotiations, 0);
}

#[test]
fn a_server_goes_on_in_the_version_that_it_prefers_and_nobody_waits_for_that() {
    for [first, second] in BOTH_WAYS {
        let mut duo = unlike([first, second], RetryPolicy::Never);
        let hello = duo.client_says();
        assert_eq!(versions(&hello), [first]);
        duo.tell_server(hello);
        let answer = duo.server_says();
        assert!(versions(&answer).iter().all(|v| *v == second), "{:x?}", versions(&answer));
        duo.tell_client(answer);
        let reply = duo.client_says();
        assert!(versions(&reply).iter().all(|v| *v == second), "{:x?}", versions(&reply));
        duo.tell_server(reply);
        duo.wait(ms(100));
        assert_agreed(&mut duo, second);
    }
}

#[test]
fn a_retry_stays_in_the_version_of_the_hello_and_so_does_its_answer() {
    for [first, second] in BOTH_WAYS {
        let mut duo = unlike([first, second], RetryPolicy::Always);
        let hello = duo.client_says();
        duo.tell_server(hello);
        let retry = duo.server_says();
        assert_eq!(versions(&retry), [first]);
        duo.tell_client(retry);
        let again = duo.client_says();
        assert_eq!(versions(&again), [first]);
        duo.tell_server(again);
        duo.wait(ms(100));
        assert_agreed(&mut duo, second);
        assert_eq!(duo.server.counters().retries, 1);
    }
}

#[test]
fn a_retry_token_is_of_use_in_its_own_version_alone() {
    let mut duo = unlike([VERSION_1, VERSION_2], RetryPolicy::Always);
    let hello = duo.client_says();
    duo.tell_server(hello);
    let retry = duo.server_says();
    duo.tell_client(retry);
    let mut again = duo.client_says();
    again[0].bytes[1..5].copy_from_slice(&VERSION_2.to_be_bytes());
    // RFC 9369 §3.2: an Initial packet of version 2.
    again[0].bytes[0] = again[0].bytes[0] & 0xcf | 0x10;
    duo.tell_server(again);
    assert_eq!((duo.server.counters().invalid_tokens, duo.server.len()), (1, 0));
}

#[test]
fn a_client_that_offers_one_version_is_answered_in_that() {
    for version in [VERSION_1, VERSION_2] {
        let server = speaking(&[VERSION_1 ^ VERSION_2 ^ version, version]);
        let mut duo = Duo::unlike(speaking(&[version]), server, Admission::default());
        duo.wait(ms(200));
        assert_agreed(&mut duo, version);
    }
}

#[test]
fn a_client_without_version_information_is_answered_in_its_version() {
    let server = speaking(&[VERSION_2, VERSION_1]);
    let strip = |p: &mut TransportParameters| p.version_information = None;
    let mut duo = Duo::meddling(TransportConfig::default(), server, Role::Client, strip);
    duo.wait(ms(200));
    assert_agreed(&mut duo, VERSION_1);
}

#[test]
fn left_alone_both_ends_speak_version_1() {
    let mut duo = Duo::new();
    duo.wait(ms(200));
    assert_agreed(&mut duo, VERSION_1);
}

#[test]
fn a_change_survives_the_loss_of_any_two_datagrams() {
    for [one, other] in (0..14).flat_map(|one| [[one, one], [one, one + 1], [one, one + 3]]) {
        let (mut duo, mut count) = (duo(), 0);
        let mut kept = |packets: Vec<Packet>| {
            packets
                .into_iter()
                .filter(|_| {
                    count += 1;
                    ![one, other].contains(&(count - 1))
                })
                .collect::<Vec<_>>()
        };
        for _ in 0..1500 {
            let (up, down) = (duo.client_says(), duo.server_says());
            let (up, down) = (kept(up), kept(down));
            duo.tell_server(up);
            duo.tell_client(down);
            duo.wait_alone(ms(5));
        }
        assert!(duo.is_connected(), "without {one} and {other}: {:?}", duo.client_ended());
        assert_agreed(&mut duo, VERSION_2);
    }
}

#[test]
fn a_flight_that_arrives_backwards_is_understood() {
    let mut duo = duo();
    let hello = duo.client_says();
    duo.tell_server(hello);
    let answer = duo.server_says();
    assert!(answer.len() > 1);
    duo.tell_client(answer.into_iter().rev());
    let reply = duo.client_says();
    assert!(versions(&reply).iter().all(|v| *v == VERSION_2));
    duo.tell_server(reply);
    assert!(duo.server_events.contains(&Event::Connected));
}

#[test]
fn what_only_looks_like_another_version_changes_nothing() {
    // Both ends prefer version 1.
    let mut duo = Duo::new();
    let hello = duo.client_says();
    duo.tell_server(hello);
    let answer = duo.server_says();
    let mut forged = answer.clone();
    forged[0].bytes[1..5].copy_from_slice(&VERSION_2.to_be_bytes());
    forged[0].bytes[0] = forged[0].bytes[0] & 0xcf | 0x10;
    duo.tell_client(forged);
    assert_eq!(duo.connection().version(), VERSION_1);
    duo.tell_client(answer);
    duo.wait(ms(100));
    assert_agreed(&mut duo, VERSION_1);
}

#[test]
fn a_change_that_the_server_did_not_sign_is_found_out() {
    let forgeries: [fn(&mut TransportParameters); 2] =
        [|p| p.version_information = None, |p| p.version_information.as_mut().unwrap().chosen = VERSION_1];
    for forge in forgeries {
        let server = speaking(&[VERSION_2, VERSION_1]);
        let mut duo = Duo::meddling(TransportConfig::default(), server, Role::Server, forge);
        duo.wait(ms(200));
        let ended = duo.client_ended();
        assert!(
            matches!(ended, Some(CloseReason::Violation { code: Code::VERSION_NEGOTIATION_ERROR, .. })),
            "{ended:?}"
        );
    }
}

#[test]
fn a_client_that_signs_another_version_than_it_began_with_is_found_out() {
    let server = speaking(&[VERSION_2, VERSION_1]);
    let mut duo = Duo::meddling(TransportConfig::default(), server, Role::Client, |p| {
        p.version_information.as_mut().unwrap().chosen = VERSION_2;
    });
    duo.wait(ms(200));
    let ended = duo.server_ended();
    assert!(
        matches!(ended, Some(CloseReason::Violation { code: Code::VERSION_NEGOTIATION_ERROR, .. })),
        "{ended:?}"
    );
}

#[test]
fn negotiation_and_a_change_of_version_can_follow_one_another() {
    // The server has version 2 switched off when the client calls, and back on when it calls again.
    let mut duo =
        Duo::unlike(speaking(&[VERSION_2, VERSION_1]), speaking(&[VERSION_1]), Admission::default());
    duo.wait(ms(200));
    assert!(duo.is_connected());
    assert_eq!(duo.connection().version(), VERSION_1);
    duo.config = speaking(&[VERSION_2, VERSION_1]);
    duo.connect_from(client_address());
    assert_eq!(versions(&duo.client_says()), [VERSION_1], "what was spoken last is tried first");
}

#[test]
fn a_client_comes_back_in_the_version_that_was_spoken_last_and_its_token_counts() {
    let mut duo = unlike([VERSION_1, VERSION_2], RetryPolicy::Always);
    duo.wait(ms(200));
    assert_agreed(&mut duo, VERSION_2);
    duo.connect_from(client_address());
    let hello = duo.client_says();
    assert!(versions(&hello).contains(&VERSION_2));
    duo.tell_server(hello);
    duo.wait(ms(200));
    assert_agreed(&mut duo, VERSION_2);
    assert_eq!(duo.server.counters().retries, 1, "only the first visit");
}

/// A client with a ticket that said something early.
fn returning(accepts: bool) -> Duo {
    returning_in([VERSION_1, VERSION_2], accepts)
}

fn returning_in([first, second]: [u32; 2], accepts: bool) -> Duo {
    let remembered = TransportParameters {
        initial_max_data: 100_000,
        initial_max_stream_data_uni: 50_000,
        initial_max_streams_uni: 4,
        ..TransportParameters::default()
    };
    let ticket = PlainTickets { remembered: Some(remembered.encode(Role::Server, None)), accepts: false };
    let client = (speaking(&[first, second]), Arc::new(ticket) as _);
    let server = (speaking(&[second, first]), Arc::new(PlainTickets { remembered: None, accepts }) as _);
    let mut duo = Duo::with_crypto(client, server);
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, &[7; 3000]).unwrap();
    duo.connection().finish(id).unwrap();
    duo
}

fn heard(duo: &mut Duo) -> usize {
    let Some(id) = duo.server_connection().accept(Dir::Uni) else { return 0 };
    let (mut all, mut chunk) = (0, [0; 4096]);
    while let Ok(Read::Data(n)) = duo.server_connection().read(id, &mut chunk) {
        all += n;
    }
    all
}

#[test]
fn early_data_stays_in_the_version_that_the_client_began_with() {
    let mut duo = returning(true);
    let first = duo.client_says();
    assert!(first.len() > 2 && versions(&first).iter().all(|v| *v == VERSION_1));
    duo.tell_server(first);
    assert_eq!(heard(&mut duo), 3000);
    let answer = duo.server_says();
    assert!(versions(&answer).iter().all(|v| *v == VERSION_2));
    duo.tell_client(answer);
    duo.wait(ms(200));
    assert_agreed(&mut duo, VERSION_2);
    assert!(duo.client_events.contains(&Event::EarlyData { accepted: true }));
}

#[test]
fn early_data_that_is_written_after_the_change_stays_in_the_first_version_too() {
    let mut duo = returning(true);
    let first = duo.client_says();
    duo.tell_server(first);
    // The server's first packet alone: the client knows the version, and the handshake goes on.
    let initial = duo.server_says().swap_remove(0);
    duo.tell_client([initial]);
    assert_eq!(duo.connection().version(), VERSION_2);
    assert!(duo.connection().can_send_early());
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, &[8; 1000]).unwrap();
    let more = duo.client_says();
    let early = |p: &&Packet| !p.is_short() && p.version() == VERSION_1 && p.bytes[0] & 0x30 == 0x10;
    assert_eq!(more.iter().filter(early).count(), 1, "{:x?}", versions(&more));
    duo.tell_server(more);
    assert_eq!((heard(&mut duo), heard(&mut duo)), (3000, 1000));
}

#[test]
fn early_data_that_is_refused_is_said_again_in_the_new_version() {
    let mut duo = returning(false);
    duo.wait(ms(300));
    assert_agreed(&mut duo, VERSION_2);
    assert_eq!(heard(&mut duo), 3000);
    assert!(duo.client_events.contains(&Event::EarlyData { accepted: false }));
}

/// Loses, repeats and delays, up to a time.
struct Weather {
    rng: Rng,
    bad_until: Time,
    held: Vec<(Time, Packet)>,
}

impl Weather {
    /// What arrives now, of what was sent now and before.
    fn pass(&mut self, now: Time, sent: Vec<Packet>) -> Vec<Packet> {
        for packet in sent {
            let bad = now < self.bad_until;
            let copies = if bad && self.rng.chance(0.25) { 0 } else { 1 + u64::from(self.rng.chance(0.1)) };
            for _ in 0..copies {
                let late = ms(if bad { self.rng.below(60) } else { 10 });
                self.held.push((now + late, packet.clone()));
            }
        }
        let (due, held) = self.held.drain(..).partition(|(at, _)| *at <= now);
        self.held = held;
        due.into_iter().map(|(_, packet)| packet).collect()
    }
}

#[test]
fn in_any_weather_both_ends_agree_and_what_was_said_early_arrives_once() {
    for seed in 0..60 {
        let mut rng = Rng::from_number(seed);
        let (mut duo, second) = any_returning(&mut rng);
        let calm_at = duo.now + ms(2000);
        let weather = |rng: Rng| Weather { rng, bad_until: calm_at, held: Vec::new() };
        let (mut up, mut down) = (weather(rng.fork()), weather(rng.fork()));
        let mut heard: Vec<u8> = Vec::new();
        for _ in 0..1600 {
            let (from_client, from_server) = (duo.client_says(), duo.server_says());
            let (to_server, to_client) = (up.pass(duo.now, from_client), down.pass(duo.now, from_server));
            duo.tell_server(to_server);
            duo.tell_client(to_client);
            duo.wait_alone(ms(5));
            if duo.accepted.is_some_and(|id| duo.server.peek(id).is_some()) {
                duo.server_connection().accept(Dir::Uni);
                let (id, mut chunk) = (StreamId::new(Role::Client, Dir::Uni, 0), [0; 4096]);
                while let Ok(Read::Data(n)) = duo.server_connection().read(id, &mut chunk) {
                    heard.extend(&chunk[..n]);
                }
            }
        }
        assert!(duo.is_connected(), "seed {seed}: {:?} {:?}", duo.client_ended(), duo.server_ended());
        assert_eq!(duo.connection().version(), second, "seed {seed}");
        assert_eq!(duo.server_connection().version(), second, "seed {seed}");
        assert_eq!(heard, [7; 3000], "seed {seed}");
    }
}

/// A client with a ticket, in either version, before a server that prefers the other; and that version.
fn any_returning(rng: &mut Rng) -> (Duo, u32) {
    let [first, second] = BOTH_WAYS[usize::from(rng.chance(0.5))];
    let mut duo = returning_in([first, second], rng.chance(0.5));
    if rng.chance(0.3) {
        duo.server.set_admission(Admission { retry: RetryPolicy::Always, ..Admission::default() });
    }
    (duo, second)
}
