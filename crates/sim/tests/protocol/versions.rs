//! Versions 1 and 2 and how they are agreed on (RFC 9000 §6, RFC 9368, RFC 9369).

use crate::rig::{Duo, Packet, ms};
use mpquic_base::{Ecn, FourTuple, Role};
use mpquic_proto::{Admission, CloseReason, RetryPolicy, TransportConfig};
use mpquic_wire::header::{PartialHeader, VERSION_1, VERSION_2, VersionNegotiationHeader};
use mpquic_wire::{Code, Writer};

fn speaking(versions: &[u32]) -> TransportConfig {
    TransportConfig { versions: versions.to_vec(), ..TransportConfig::default() }
}

fn duo(client: &[u32], server: &[u32]) -> Duo {
    Duo::unlike(speaking(client), speaking(server), Admission::default())
}

/// A Version Negotiation packet in answer to `first`, made by whoever saw that packet.
fn negotiation(first: &Packet, versions: &[u32]) -> Packet {
    let (PartialHeader::Long(long), _) = PartialHeader::read(&first.bytes, 8).unwrap() else { panic!() };
    let (dcid, scid) = (long.scid, long.dcid);
    let header =
        VersionNegotiationHeader { unused: 0, dcid: dcid.as_slice(), scid: scid.as_slice(), versions };
    let mut bytes = vec![0; header.len()];
    header.write(&mut Writer::new(&mut bytes));
    let tuple = FourTuple { local: first.tuple.peer, peer: first.tuple.local };
    Packet { tuple, ecn: Ecn::NotEct, bytes }
}

fn listed(packet: &Packet) -> Vec<u32> {
    match PartialHeader::read(&packet.bytes, 8).unwrap().0 {
        PartialHeader::VersionNegotiation { versions, .. } => versions.collect(),
        other => panic!("{other:?}"),
    }
}

fn is_negotiation_error(reason: Option<&CloseReason>) -> bool {
    matches!(reason, Some(CloseReason::Violation { code: Code::VERSION_NEGOTIATION_ERROR, .. }))
}

#[test]
fn both_versions_connect_with_and_without_a_retry() {
    for version in [VERSION_1, VERSION_2] {
        for retry in [RetryPolicy::Never, RetryPolicy::Always] {
            let admission = Admission { retry, ..Admission::default() };
            let mut duo = Duo::unlike(speaking(&[version]), TransportConfig::default(), admission);
            let first = duo.client_says();
            assert_eq!(first[0].version(), version);
            duo.tell_server(first);
            duo.wait(ms(200));
            assert!(duo.is_connected(), "{version:#x} {retry:?}");
        }
    }
}

#[test]
fn a_server_that_speaks_another_version_is_reached_by_negotiation() {
    for (ours, theirs) in [(VERSION_1, VERSION_2), (VERSION_2, VERSION_1)] {
        let mut duo = duo(&[ours, theirs], &[theirs]);
        duo.wait(ms(200));
        assert!(duo.is_connected(), "{:?}", duo.client_ended());
        assert_eq!(duo.server.counters().version_negotiations, 1);
    }
}

#[test]
fn without_a_common_version_the_attempt_ends() {
    let mut duo = duo(&[VERSION_1], &[VERSION_2]);
    duo.wait(ms(200));
    assert_eq!(duo.client_ended(), Some(&CloseReason::VersionMismatch));
}

#[test]
fn negotiation_lists_what_the_server_speaks_and_a_reserved_version() {
    let mut duo = duo(&[VERSION_1], &[VERSION_2]);
    let first = duo.client_says();
    duo.tell_server(first);
    let list = listed(&duo.server_says()[0]);
    assert_eq!((list.len(), list[0]), (2, VERSION_2));
    assert_eq!(list[1] & 0x0f0f_0f0f, 0x0a0a_0a0a);
}

#[test]
fn small_datagrams_draw_no_negotiation_and_large_ones_a_limited_number() {
    let mut duo = duo(&[VERSION_1], &[VERSION_2]);
    let first = duo.client_says().remove(0);
    let mut small = first.clone();
    small.bytes[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]);
    small.bytes.truncate(1199);
    duo.tell_server([small]);
    assert!(duo.server_says().is_empty());
    let mut answers = 0;
    for _ in 0..2000 {
        duo.tell_server([first.clone()]);
        answers += duo.server_says().len();
    }
    assert!((100..=300).contains(&answers), "{answers}");
}

#[test]
fn negotiation_is_never_answered_with_negotiation() {
    let mut duo = duo(&[VERSION_1], &[VERSION_1]);
    let first = duo.client_says().remove(0);
    let mut packet = negotiation(&first, &[VERSION_2; 400]);
    packet.tuple = first.tuple;
    duo.tell_server([packet]);
    assert!(duo.server_says().is_empty());
}

#[test]
fn a_negotiation_that_lists_the_version_in_use_is_ignored() {
    let mut duo = duo(&[VERSION_1, VERSION_2], &[VERSION_1, VERSION_2]);
    let first = duo.client_says();
    duo.tell_client([negotiation(&first[0], &[VERSION_2, VERSION_1])]);
    assert!(duo.client_says().is_empty());
    duo.tell_server(first);
    duo.wait(ms(200));
    assert!(duo.is_connected());
}

#[test]
fn a_negotiation_for_another_connection_id_is_ignored() {
    let mut duo = duo(&[VERSION_1, VERSION_2], &[VERSION_1, VERSION_2]);
    let first = duo.client_says();
    let mut forged = negotiation(&first[0], &[VERSION_2]);
    let scid_at = forged.bytes.len() - 5;
    forged.bytes[scid_at] ^= 1;
    duo.tell_client([forged]);
    assert!(duo.client_says().is_empty());
}

#[test]
fn a_negotiation_after_the_server_was_heard_is_ignored() {
    let mut duo = duo(&[VERSION_1, VERSION_2], &[VERSION_1, VERSION_2]);
    let first = duo.client_says();
    let forged = negotiation(&first[0], &[VERSION_2]);
    duo.tell_server(first);
    let answer = duo.server_says();
    duo.tell_client(answer);
    duo.tell_client([forged]);
    duo.wait(ms(200));
    assert!(duo.is_connected());
}

#[test]
fn a_forged_negotiation_is_found_out_by_what_the_server_signed() {
    let mut duo = duo(&[VERSION_1, VERSION_2], &[VERSION_1, VERSION_2]);
    let first = duo.client_says();
    duo.tell_client([negotiation(&first[0], &[VERSION_2])]);
    duo.wait(ms(200));
    assert!(is_negotiation_error(duo.client_ended()), "{:?}", duo.client_ended());
}

#[test]
fn a_second_negotiation_ends_the_attempt() {
    let mut duo = duo(&[VERSION_1, VERSION_2], &[VERSION_1, VERSION_2]);
    let first = duo.client_says();
    duo.tell_client([negotiation(&first[0], &[VERSION_2])]);
    let second = duo.client_says();
    assert_eq!(second[0].version(), VERSION_2);
    assert_ne!(second[0].bytes[6..14], first[0].bytes[6..14], "another version is another connection");
    duo.tell_client([negotiation(&second[0], &[VERSION_1])]);
    assert_eq!(duo.client_ended(), Some(&CloseReason::VersionMismatch));
}

#[test]
fn a_negotiated_version_must_be_signed() {
    let strip = |p: &mut mpquic_wire::TransportParameters| p.version_information = None;
    let versions = [VERSION_1, VERSION_2];
    let mut duo = Duo::meddling(speaking(&versions), speaking(&[VERSION_2]), Role::Server, strip);
    duo.wait(ms(200));
    assert!(is_negotiation_error(duo.client_ended()), "{:?}", duo.client_ended());
    // Without negotiation an old server may leave it out.
    let mut duo = Duo::meddling(speaking(&versions), speaking(&versions), Role::Server, strip);
    duo.wait(ms(200));
    assert!(duo.is_connected());
}

#[test]
fn a_signed_version_other_than_the_one_in_use_is_an_error_on_either_side() {
    for who in [Role::Client, Role::Server] {
        let mut duo = Duo::meddling(TransportConfig::default(), TransportConfig::default(), who, |p| {
            p.version_information.as_mut().unwrap().chosen = VERSION_2;
        });
        duo.wait(ms(200));
        let ended = if who == Role::Client { duo.server_ended() } else { duo.client_ended() };
        assert!(is_negotiation_error(ended), "{ended:?}");
    }
}

#[test]
fn a_client_offers_every_version_that_its_first_packets_could_have_had() {
    let listed: fn(&mut mpquic_wire::TransportParameters) = |p| {
        let info = p.version_information.as_ref().unwrap();
        let real: Vec<_> = info.available.iter().filter(|v| **v & 0x0f0f_0f0f != 0x0a0a_0a0a).collect();
        assert_eq!((info.chosen, real), (VERSION_1, vec![&VERSION_1, &VERSION_2]));
    };
    let mut duo = Duo::meddling(TransportConfig::default(), TransportConfig::default(), Role::Client, listed);
    duo.wait(ms(200));
    assert!(duo.is_connected());
}

#[test]
fn a_client_that_does_not_list_the_version_it_chose_is_refused() {
    let mut duo = Duo::meddling(TransportConfig::default(), TransportConfig::default(), Role::Client, |p| {
        p.version_information.as_mut().unwrap().available = vec![VERSION_2];
    });
    duo.wait(ms(200));
    assert!(matches!(
        duo.server_ended(),
        Some(CloseReason::Violation { code: Code::TRANSPORT_PARAMETER_ERROR, .. })
    ));
}
