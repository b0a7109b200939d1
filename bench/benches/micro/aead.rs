//! Packet protection, through the trait objects that the machine uses.

use criterion::{BatchSize, Criterion, Throughput};
use mpquic_base::{Cid, PathId, Role};
use mpquic_proto::crypto::InitialCrypto;
use mpquic_tls::{ClientConfig, Fingerprint, Pin};

/// A short header: first byte, connection ID, packet number of 4 bytes.
const HEADER: [u8; 13] = [0x43; 13];
const PACKET: usize = 1452 - HEADER.len();
const TAG: usize = 16;

pub(crate) fn bench(criterion: &mut Criterion) {
    let pin = Pin::Certificate(Fingerprint::of_certificate(b"nobody's"));
    let client = ClientConfig::pinned(&[pin]).expect("a pin").build(&[b"bench"]).expect("a protocol");
    let dcid = Cid::new(&[7; 8]).expect("eight bytes");
    // Keys of the Initial level are AES-128-GCM, as the others mostly are, and need no handshake.
    let keys = client.initial_keys(1, &dcid, Role::Client);
    let peer = client.initial_keys(1, &dcid, Role::Server);
    let mut group = criterion.benchmark_group("AES-128-GCM");
    group.throughput(Throughput::Bytes((PACKET - TAG) as u64));
    let mut packet = vec![0x5a; PACKET];
    group.bench_function("seal 1452", |bencher| {
        let mut pn = 0;
        bencher.iter(|| {
            pn += 1;
            keys.local.packet.seal(PathId::ZERO, pn, &HEADER, &mut packet);
        });
    });
    let mut sealed = vec![0x5a; PACKET];
    keys.local.packet.seal(PathId::ZERO, 1, &HEADER, &mut sealed);
    group.bench_function("open 1452", |bencher| {
        bencher.iter_batched_ref(
            || sealed.clone(),
            |packet| peer.peer.packet.open(PathId::ZERO, 1, &HEADER, packet).expect("our own packet"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    criterion.bench_function("header protection mask", |bencher| {
        let (mut first, mut pn) = (0x43, [1, 2, 3, 4]);
        bencher.iter(|| keys.local.header.protect(&sealed[..16], &mut first, &mut pn));
    });
}
