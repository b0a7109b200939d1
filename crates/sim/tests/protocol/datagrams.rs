//! Unreliable datagrams (RFC 9221).

use crate::rig::{Duo, ms};
use mpquic_proto::{Event, Refused, TransportConfig};

fn connected() -> Duo {
    let mut duo = Duo::new();
    duo.wait(ms(300));
    duo
}

#[test]
fn an_empty_datagram_is_sent_even_if_it_is_all_there_is() {
    let mut duo = connected();
    duo.connection().send_datagram(b"").unwrap();
    duo.wait(ms(10));
    assert_eq!(duo.server_connection().read_datagram(), Some(Vec::new()));
    assert_eq!(duo.server_connection().read_datagram(), None);
}

#[test]
fn a_lost_datagram_is_not_sent_again_and_is_counted() {
    let mut duo = connected();
    duo.connection().send_datagram(b"gone").unwrap();
    assert!(!duo.client_says().is_empty(), "and nobody gets it");
    for n in 0..5u8 {
        duo.connection().send_datagram(&[n]).unwrap();
        duo.wait(ms(50));
    }
    duo.wait(ms(3000));
    let read: Vec<_> = core::iter::from_fn(|| duo.server_connection().read_datagram()).collect();
    assert_eq!(read, (0..5u8).map(|n| vec![n]).collect::<Vec<_>>());
    assert_eq!(duo.connection().datagram_stats().lost, 1);
}

#[test]
fn what_fits_no_packet_or_no_peer_is_refused_at_once() {
    let mut duo = connected();
    let most = duo.connection().max_datagram_size().unwrap();
    assert_eq!(duo.connection().send_datagram(&vec![1; most + 1]), Err(Refused::DatagramSize));
    duo.connection().send_datagram(&vec![1; most]).unwrap();
    duo.wait(ms(10));
    assert_eq!(duo.server_connection().read_datagram().map(|d| d.len()), Some(most));
    let deaf = TransportConfig { max_datagram_frame: 0, ..TransportConfig::default() };
    let mut duo = Duo::unlike(TransportConfig::default(), deaf, mpquic_proto::Admission::default());
    duo.wait(ms(300));
    assert_eq!(duo.connection().max_datagram_size(), None);
    assert_eq!(duo.connection().send_datagram(b""), Err(Refused::DatagramSize));
}

#[test]
fn a_full_queue_refuses_and_tells_when_there_is_room() {
    let config = TransportConfig { datagram_queue: 8, ..TransportConfig::default() };
    let mut duo = Duo::with(config, mpquic_proto::Admission::default());
    duo.wait(ms(300));
    for _ in 0..8 {
        duo.connection().send_datagram(b"x").unwrap();
    }
    assert_eq!(duo.connection().send_datagram(b"x"), Err(Refused::Full));
    duo.wait(ms(10));
    assert!(duo.client_events.contains(&Event::DatagramWritable));
    duo.connection().send_datagram(b"x").unwrap();
}
