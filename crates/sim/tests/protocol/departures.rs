//! Transmissions between connection and wheel: how many may wait, and what becomes of a batch that lost one packet.

use crate::rig::{Duo, Packet, ms, server_address};
use mpquic_base::{Dir, FourTuple, Rate, Rng, Role, StreamId};
use mpquic_policy::cc::{AckBatch, Controller, EcnBatch, LossBatch};
use mpquic_policy::{Entry, Settings};
use mpquic_proto::{Admission, Fate, Read, Tag, TransportConfig};
use mpquic_sim::crypto::PlainCrypto;

/// A controller that never stands in the way, so that only what is tested does, and knows this rate.
#[derive(Debug)]
struct Wide(Option<Rate>);

impl Controller for Wide {
    fn on_ack(&mut self, _: &AckBatch) {}
    fn on_loss(&mut self, _: &LossBatch) {}
    fn on_ecn(&mut self, _: &EcnBatch) {}
    fn on_mtu(&mut self, _: u16) {}
    fn window(&self) -> u64 {
        1 << 30
    }
    fn pacing(&self) -> Option<Rate> {
        self.0
    }
    fn in_slow_start(&self) -> bool {
        false
    }
}

static WIDE: Entry<dyn Controller> =
    Entry { name: "wide", about: "for tests", tunables: &[], build: |_: &Settings| Box::new(Wide(None)) };

fn config(limit: u32) -> TransportConfig {
    let mut config = TransportConfig { max_in_flight_transmissions: limit, ..TransportConfig::default() };
    config.pacing = false;
    // No probes and no marks among the packets that are counted.
    (config.mtu_ceiling, config.greasing, config.ecn) = (1200, false, false);
    config.set_controller(&WIDE);
    config
}

/// A connected pair whose client has written `len` bytes that nobody has asked for yet.
fn written(limit: u32, len: usize) -> (Duo, StreamId, Vec<u8>) {
    let mut duo = Duo::with(config(limit), Admission::default());
    duo.wait(ms(100));
    let mut data = vec![0; len];
    Rng::from_number(7).fill(&mut data);
    let id = duo.connection().open(Dir::Uni).unwrap();
    assert_eq!(duo.connection().write(id, &data).unwrap(), len);
    (duo, id, data)
}

#[test]
fn full_packets_of_the_usual_size_hold_whole_blocks_of_the_cipher() {
    let mut duo = Duo::with(TransportConfig { mtu_ceiling: 1452, ..config(32) }, Admission::default());
    duo.wait(ms(100));
    let id = duo.connection().open(Dir::Uni).unwrap();
    duo.connection().write(id, b"x").unwrap();
    duo.wait(ms(1000));
    duo.connection().write(id, &[7; 100_000]).unwrap();
    let keys = PlainCrypto::one_rtt(Role::Client).local;
    // The packet number follows the first byte and a connection ID of 8.
    let (pn_at, mut full, mut out) = (9, 0, vec![0; 65_536]);
    while let Some((_, transmit)) = duo.client.transmit(duo.now, &mut out) {
        for packet in out[..transmit.len].chunks_mut(transmit.segment).filter(|p| p.len() == 1452) {
            let (head, tail) = packet.split_at_mut(pn_at + 4);
            let (first, rest) = head.split_first_mut().unwrap();
            keys.header.unprotect(&tail[..keys.header.sample_len()], first, &mut rest[pn_at - 1..]);
            let pn_len = usize::from(*first & 3) + 1;
            assert_eq!((1452 - pn_at - pn_len - keys.packet.tag_len()) % 16, 0, "{pn_len}");
            full += 1;
        }
    }
    assert!(full > 60, "{full} packets were full");
}

/// Takes transmissions until there are none, although the application writes on, and leaves their fates open.
fn taken(duo: &mut Duo, stream: StreamId) -> Vec<Tag> {
    let mut out = vec![0; 65_536];
    let mut tags = Vec::new();
    while let Some((_, transmit)) = duo.client.transmit(duo.now, &mut out) {
        tags.push(transmit.tag);
        duo.connection().write(stream, &out).unwrap();
    }
    tags
}

#[test]
fn a_limit_of_five_blocks_earlier_than_one_of_twenty_and_each_fate_lets_one_more_go() {
    let mut taken_by = Vec::new();
    for limit in [5, 20] {
        let (mut duo, stream, _) = written(limit, 300_000);
        let mut waiting = taken(&mut duo, stream);
        taken_by.push(waiting.len());
        assert_eq!(waiting.len(), limit as usize);
        assert!(taken(&mut duo, stream).is_empty(), "blocked");
        for fate in [Fate::Sent(duo.now), Fate::Cancelled, Fate::Failed] {
            let (now, id, tag) = (duo.now, duo.id, waiting.remove(0));
            duo.client.settle(now, id, tag, fate);
            let more = taken(&mut duo, stream);
            assert!(more.len() <= 1, "{fate:?} gave {more:?}");
            waiting.extend(more);
        }
    }
    assert!(taken_by[0] < taken_by[1]);
}

#[test]
fn an_ack_needs_no_credit_and_is_urgent() {
    let (mut duo, stream, _) = written(5, 300_000);
    let waiting = taken(&mut duo, stream);
    let id = duo.server_connection().open(Dir::Uni).unwrap();
    duo.server_connection().write(id, &[1; 5000]).unwrap();
    let packets = duo.server_says();
    duo.tell_client(packets);
    let mut out = vec![0; 65_536];
    let mut acks = 0;
    while let Some((_, transmit)) = duo.client.transmit(duo.now, &mut out) {
        assert!(transmit.urgent && transmit.len < 100, "{transmit:?}");
        acks += 1;
    }
    assert!(acks > 0, "five packets came in, and {} transmissions wait", waiting.len());
}

#[test]
fn with_one_path_little_waits_unsent_and_with_two_as_much_as_they_can_use() {
    let (mut duo, id, _) = written(32, 1000);
    let much = vec![1; 1_500_000];
    duo.wait(ms(100));
    let alone = duo.connection().write(id, &much).unwrap();
    assert!((200_000..=512 * 1024).contains(&alone), "{alone}");
    duo.wait(ms(100));
    let (now, local) = (duo.now, "198.51.100.2:4000".parse().unwrap());
    duo.connection().open_path(now, FourTuple { local, peer: server_address() }, false).unwrap();
    duo.wait(ms(100));
    duo.connection().write(id, &[1; 5000]).unwrap();
    duo.wait(ms(100));
    assert_eq!(duo.connection().write(id, &much), Ok(much.len()));
}

#[test]
fn on_a_fast_path_a_stream_has_the_turn_for_64_kilobytes() {
    static QUICK: Entry<dyn Controller> = Entry {
        build: |_: &Settings| Box::new(Wide(Some(Rate::from_bits_per_second(1_000_000_000)))),
        ..WIDE
    };
    let mut paced = TransportConfig { pacing: true, ..config(32) };
    paced.set_controller(&QUICK);
    let mut duo = Duo::with(paced, Admission::default());
    duo.wait(ms(100));
    for byte in [0xaa, 0xbb] {
        let id = duo.connection().open(Dir::Uni).unwrap();
        duo.connection().write(id, &[byte; 100_000]).unwrap();
    }
    let packets = duo.client_says();
    let bytes_of = |p: &Packet, byte| p.bytes.iter().filter(|b| **b == byte).count();
    let turn = packets.iter().take_while(|p| bytes_of(p, 0xbb) < 100);
    let turn: usize = turn.map(|p| bytes_of(p, 0xaa)).sum();
    assert!((64 * 1024 - 1200..=64 * 1024 + 1200).contains(&turn), "{turn} of {} packets", packets.len());
}

/// Whether all of `part` is in one of the packets.
fn carried(packets: &[Packet], part: &[u8]) -> bool {
    packets.iter().any(|p| p.bytes.windows(part.len()).any(|w| w == part))
}

#[test]
fn of_a_batch_that_lost_one_packet_only_that_ones_data_is_sent_again() {
    let (mut duo, id, data) = written(32, 40_000);
    let mut batch = duo.client_says();
    assert!(batch.len() > 16, "one train of {} packets", batch.len());
    let lost = batch.remove(2);
    // The test's TLS leaves packets readable: what the third carried, but for its header.
    let inside = |p: &Packet| p.bytes[40..p.bytes.len() - 40].to_vec();
    let (part, neighbours) = (inside(&lost), [inside(&batch[1]), inside(&batch[2])]);
    assert!(data.windows(part.len()).any(|w| w == part), "stream data");
    duo.tell_server(batch);
    let mut again = Vec::new();
    // Shorter than a probe timeout: nobody acknowledges what is sent again.
    for _ in 0..10 {
        let acks = duo.server_says();
        duo.tell_client(acks);
        again.extend(duo.client_says());
        duo.now += ms(1);
        duo.wait_alone(ms(1));
    }
    assert!(carried(&again, &part), "the lost packet's data");
    assert!(!neighbours.iter().any(|n| carried(&again, n)), "and nobody else's");
    // The end of a stream may go out twice; ACKs are small.
    let large: Vec<Packet> = again.iter().filter(|p| p.bytes.len() > 100).cloned().collect();
    assert!(large.len() <= 2 && large.iter().all(|p| carried(core::slice::from_ref(p), &part)), "{large:?}");
    assert_eq!(duo.connection().path_stats().map(|p| p.packets_lost).sum::<u64>(), 1);
    duo.tell_server(again);
    let mut all: Vec<u8> = Vec::new();
    let mut room = vec![0; 50_000];
    assert_eq!(duo.server_connection().accept(Dir::Uni), Some(id));
    while let Read::Data(n) = duo.server_connection().read(id, &mut room).unwrap() {
        all.extend(&room[..n]);
    }
    assert!(all == data, "{} of {} bytes", all.len(), data.len());
}
