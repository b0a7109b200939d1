//! What keeps peers and middleboxes honest: meaningless bits, skipped numbers, fresh keys.

use crate::rig::{Duo, Packet, ms};
use mpquic_base::{Dir, PathId, Role};
use mpquic_proto::{Admission, CloseReason, TransportConfig};
use mpquic_wire::Code;

/// The client sends something `rounds` times; all its short packets.
fn talk(duo: &mut Duo, rounds: usize) -> Vec<Packet> {
    let mut seen = Vec::new();
    for _ in 0..rounds {
        let id = duo.connection().open(Dir::Uni).unwrap();
        duo.connection().write(id, &[1; 2000]).unwrap();
        duo.connection().finish(id).unwrap();
        for _ in 0..3 {
            let up = duo.client_says();
            seen.extend(up.iter().filter(|p| p.is_short()).cloned());
            duo.tell_server(up);
            let down = duo.server_says();
            duo.tell_client(down);
            duo.wait_alone(ms(10));
        }
        while let Some(id) = duo.server_connection().accept(Dir::Uni) {
            while matches!(duo.server_connection().read(id, &mut [0; 4096]), Ok(mpquic_proto::Read::Data(_)))
            {
            }
        }
    }
    seen
}

fn connected(client: TransportConfig, server: TransportConfig) -> Duo {
    let mut duo = Duo::unlike(client, server, Admission::default());
    duo.wait(ms(100));
    assert!(duo.is_connected());
    duo
}

fn plain() -> TransportConfig {
    TransportConfig { greasing: false, ..TransportConfig::default() }
}

fn is_violation(reason: Option<&CloseReason>) -> bool {
    matches!(reason, Some(CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, .. }))
}

#[test]
fn the_quic_bit_is_greased_only_if_the_peer_allows_it() {
    let cleared = |client, server| {
        let mut duo = connected(client, server);
        let packets = talk(&mut duo, 20);
        assert!(duo.is_connected() && duo.server_ended().is_none());
        packets.iter().filter(|p| p.bytes[0] & 0x40 == 0).count()
    };
    let both = cleared(TransportConfig::default(), TransportConfig::default());
    assert!(both > 5, "{both}");
    assert_eq!(cleared(TransportConfig::default(), plain()), 0);
    assert_eq!(cleared(plain(), TransportConfig::default()), 0);
}

#[test]
fn the_spin_bit_turns_while_both_ends_talk_and_rests_if_not_wanted() {
    let turns = |spin| {
        let config = TransportConfig { spin, ..TransportConfig::default() };
        let mut duo = connected(config.clone(), config);
        let packets = talk(&mut duo, 20);
        packets.windows(2).filter(|w| (w[0].bytes[0] ^ w[1].bytes[0]) & 0x20 != 0).count()
    };
    assert!(turns(true) >= 10, "{}", turns(true));
    assert_eq!(turns(false), 0);
}

/// An ACK frame of `first..=largest` in path 0's or the multipath form.
fn ack(multipath: bool, first: u64, largest: u64) -> Vec<u8> {
    let mut body = if multipath { vec![0x3e, 0] } else { vec![0x02] };
    let mut put = |value: u64| body.extend((value | 0x8000_0000).to_be_bytes()[4..].to_vec());
    put(largest);
    put(0);
    put(0);
    put(largest - first);
    body
}

#[test]
fn an_ack_of_a_number_never_sent_closes_the_connection() {
    for multipath in [false, true] {
        let mut duo = connected(TransportConfig::default(), TransportConfig::default());
        let like = talk(&mut duo, 1).pop().unwrap();
        let forged = Duo::forge_bytes(&like, Role::Client, PathId::ZERO, 9000, &ack(multipath, 4000, 4000));
        duo.tell_server([forged]);
        assert!(is_violation(duo.server_ended()), "{:?}", duo.server_ended());
    }
}

#[test]
fn an_ack_of_a_skipped_number_closes_the_connection() {
    let mut hasty = TransportConfig { pacing: false, ..TransportConfig::default() };
    hasty.set_controller(mpquic_policy::Entry::find(mpquic_policy::cc::ALL, "newreno").unwrap());
    let mut duo = connected(hasty.clone(), hasty);
    talk(&mut duo, 1);
    let id = duo.server_connection().open(Dir::Uni).unwrap();
    // Numbers are skipped now and then among many; an optimist acknowledges them before they can have arrived.
    let (mut sent, mut newest) = (0, None);
    loop {
        duo.server_connection().write(id, &[1; 600_000]).unwrap();
        let down = duo.server_says();
        sent += down.len() as u64;
        if down.len() > 270 {
            break;
        }
        duo.tell_client(down);
        let up = duo.client_says();
        newest = up.iter().rfind(|p| p.is_short()).cloned().or(newest);
        duo.tell_server(up);
        duo.wait_alone(ms(10));
    }
    assert_eq!(duo.server_ended(), None);
    let all = ack(false, 0, sent - 5);
    duo.tell_server([Duo::forge_bytes(&newest.unwrap(), Role::Client, PathId::ZERO, 90_000, &all)]);
    assert!(is_violation(duo.server_ended()), "{:?}", duo.server_ended());
}

#[test]
fn keys_are_replaced_after_the_configured_number_of_packets_by_either_end() {
    let often = TransportConfig { key_update_packets: 30, ..TransportConfig::default() };
    for (client, server) in [(often.clone(), TransportConfig::default()), (TransportConfig::default(), often)]
    {
        let mut duo = connected(client, server);
        for _ in 0..8 {
            talk(&mut duo, 40);
            duo.wait(ms(3000));
        }
        assert!(duo.client_ended().is_none() && duo.server_ended().is_none(), "{:?}", duo.server_ended());
        let (near, far) =
            (duo.connection().counters().key_updates, duo.server_connection().counters().key_updates);
        assert!(near >= 3 && near.abs_diff(far) <= 1, "{near} and {far}");
    }
}
