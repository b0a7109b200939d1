//! Reading the frames of one packet.

use criterion::{Criterion, Throughput};
use mpquic_base::{PathId, StreamId};
use mpquic_wire::frame::{AckHeader, StreamHeader};
use mpquic_wire::{Frame, Reader, Writer};
use std::hint::black_box;

/// Payload of a packet of 1452 bytes.
const PAYLOAD: usize = 1423;
/// An ACK after some loss.
const RANGES: u64 = 16;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame parse");
    group.throughput(Throughput::Elements(1));
    let cases = [("one STREAM", stream(1)), ("ten STREAM", stream(10)), ("ACK of 16 ranges", ack())];
    for (name, payload) in cases {
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(&payload))));
    }
    group.finish();
}

fn read(payload: &[u8]) -> u64 {
    let mut reader = Reader::new(payload);
    let mut sum = 0;
    while !reader.is_empty() {
        match Frame::read(&mut reader).expect("frames that were just written") {
            Frame::Stream { data, offset, .. } => sum += offset + data.len() as u64,
            Frame::Ack(ack) => sum += ack.ranges().map(|range| range.end - range.start).sum::<u64>(),
            other => panic!("{other:?}"),
        }
    }
    sum
}

fn stream(frames: usize) -> Vec<u8> {
    let mut payload = vec![0; PAYLOAD];
    let mut out = Writer::new(&mut payload);
    for i in 0..frames {
        let header = StreamHeader {
            stream: StreamId(4 * i as u64),
            offset: 1_000_000_000 + i as u64,
            len: Some(PAYLOAD / frames - 16),
            fin: false,
        };
        header.write(&mut out);
        out.space(PAYLOAD / frames - 16);
    }
    let len = out.len();
    payload.truncate(len);
    payload
}

fn ack() -> Vec<u8> {
    let mut payload = vec![0; PAYLOAD];
    let mut out = Writer::new(&mut payload);
    let header = AckHeader { path: PathId::ZERO, multipath: true, delay: 100, ecn: None };
    header.write((0..RANGES).rev().map(|i| 100_000 + 40 * i..100_020 + 40 * i), &mut out);
    let len = out.len();
    payload.truncate(len);
    payload
}
