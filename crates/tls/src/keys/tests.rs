use super::*;
use crate::provider::initial_keys;
use crate::rig::{V1, V2, unhex};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use mpquic_base::{Cid, Role};
use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{SupportedCipherSuite, quic::Algorithm};

/// RFC 9001 §A.2: the CRYPTO frame that PADDING fills up to 1162 bytes.
const CLIENT_FRAMES: &str = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868
    04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a
    00080006001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fba
    baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408
    050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff08011001048000
    75300901100f088394c8f03e51570806048000ffff";
/// RFC 9001 §A.3: an ACK frame and a CRYPTO frame.
const SERVER_FRAMES: &str = "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf739
    88cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d10
    81287c834d5311bcf32bb9da1a002b00020304";

fn sample_cid() -> Cid {
    Cid::new(&unhex("8394c8f03e515708")).unwrap()
}

fn client_frames() -> Vec<u8> {
    let mut frames = unhex(CLIENT_FRAMES);
    frames.resize(1162, 0);
    frames
}

/// Seals `frames` behind `header` and protects the header, whose last `pn_len` bytes are the packet number.
fn build(keys: &DirectionKeys, header: &[u8], pn: u64, pn_len: usize, frames: &[u8]) -> Vec<u8> {
    let mut packet = [header, frames, &vec![0; keys.packet.tag_len()]].concat();
    let (head, body) = packet.split_at_mut(header.len());
    keys.packet.seal(PathId::ZERO, pn, head, body);
    let pn_at = header.len() - pn_len;
    let sample = packet[pn_at + 4..][..keys.header.sample_len()].to_vec();
    let (first, rest) = packet.split_first_mut().unwrap();
    keys.header.protect(&sample, first, &mut rest[pn_at - 1..][..pn_len]);
    packet
}

/// The reverse of `build`; the packet number starts at `pn_at`.
fn parse(keys: &DirectionKeys, packet: &[u8], pn: u64, pn_at: usize) -> Result<(Vec<u8>, Vec<u8>), Forged> {
    let mut packet = packet.to_vec();
    let sample = packet[pn_at + 4..][..keys.header.sample_len()].to_vec();
    let (first, rest) = packet.split_first_mut().unwrap();
    keys.header.unprotect(&sample, first, &mut rest[pn_at - 1..][..4]);
    let pn_len = usize::from(packet[0] & 3) + 1;
    let (header, body) = packet.split_at_mut(pn_at + pn_len);
    let len = keys.packet.open(PathId::ZERO, pn, header, body)?;
    Ok((header.to_vec(), body[..len].to_vec()))
}

fn assert_published(version: u32, sender: Role, header: &str, pn: u64, frames: &[u8], published: &str) {
    let (header, published) = (unhex(header), unhex(published));
    let pn_len = usize::from(header[0] & 3) + 1;
    let ours = initial_keys(version, &sample_cid(), sender);
    assert!(build(&ours.local, &header, pn, pn_len, frames) == published, "sealed differently");
    let theirs = initial_keys(version, &sample_cid(), sender.peer());
    let opened = parse(&theirs.peer, &published, pn, header.len() - pn_len).unwrap();
    assert_eq!(opened, (header, frames.to_vec()));
}

#[test]
fn initial_packets_of_version_1_are_the_published_ones() {
    // RFC 9001 §A.2 and §A.3.
    let client = include_str!("vectors/rfc9001-client-initial.hex");
    let header = "c300000001088394c8f03e5157080000449e00000002";
    assert_published(V1, Role::Client, header, 2, &client_frames(), client);
    let server = include_str!("vectors/rfc9001-server-initial.hex");
    let header = "c1000000010008f067a5502a4262b50040750001";
    assert_published(V1, Role::Server, header, 1, &unhex(SERVER_FRAMES), server);
}

#[test]
fn initial_packets_of_version_2_are_the_published_ones() {
    // RFC 9369 §A.2 and §A.3.
    let client = include_str!("vectors/rfc9369-client-initial.hex");
    let header = "d36b3343cf088394c8f03e5157080000449e00000002";
    assert_published(V2, Role::Client, header, 2, &client_frames(), client);
    let server = include_str!("vectors/rfc9369-server-initial.hex");
    let header = "d16b3343cf0008f067a5502a4262b50040750001";
    assert_published(V2, Role::Server, header, 1, &unhex(SERVER_FRAMES), server);
}

#[test]
fn the_header_mask_is_the_published_one() {
    // RFC 9001 §A.2: sample and mask; only the low four bits of a long header's first byte are masked.
    let keys = initial_keys(V1, &sample_cid(), Role::Client);
    let sample = unhex("d1b1c98dd7689fb8ec11d242b123dc9b");
    let (mut first, mut pn) = (0xc3, [0; 4]);
    keys.local.header.protect(&sample, &mut first, &mut pn);
    assert_eq!((first, pn.to_vec()), (0xc3 ^ (0x43 & 0x0f), unhex("7b9aec36")));
}

#[test]
fn only_as_many_bytes_are_unmasked_as_the_first_byte_announces() {
    let keys = initial_keys(V1, &sample_cid(), Role::Client);
    let sample = [0x11; 16];
    let (mut first, mut pn) = (0x40, [9, 0xaa, 0xbb, 0xcc]);
    keys.local.header.protect(&sample, &mut first, &mut pn[..1]);
    keys.local.header.unprotect(&sample, &mut first, &mut pn);
    assert_eq!((first, pn), (0x40, [9, 0xaa, 0xbb, 0xcc]));
}

fn algorithm(suite: SupportedCipherSuite) -> &'static dyn Algorithm {
    suite.tls13().and_then(rustls::Tls13CipherSuite::quic_suite).unwrap().quic
}

fn known_key(suite: SupportedCipherSuite, key: &str, iv: &str) -> Packet {
    let key = AeadKey::from(<[u8; 32]>::try_from(unhex(key)).unwrap());
    Packet(algorithm(suite).packet_key(key, Iv::from(<[u8; 12]>::try_from(unhex(iv)).unwrap())))
}

#[test]
fn a_chacha20_short_header_packet_is_the_published_one() {
    // RFC 9001 §A.5.
    let key = "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8";
    let hp = unhex("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
    let hp = AeadKey::from(<[u8; 32]>::try_from(hp).unwrap());
    let keys = DirectionKeys {
        packet: Box::new(known_key(TLS13_CHACHA20_POLY1305_SHA256, key, "e0459b3474bdd0e44a41c144")),
        header: Box::new(Header(algorithm(TLS13_CHACHA20_POLY1305_SHA256).header_protection_key(hp))),
    };
    let packet = build(&keys, &unhex("4200bff4"), 654_360_564, 3, &[1]);
    assert_eq!(packet, unhex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb"));
    assert_eq!(parse(&keys, &packet, 654_360_564, 1), Ok((unhex("4200bff4"), vec![1])));
}

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// draft-ietf-quic-multipath-21 §2.4: the example's IV.
const IV: &str = "6b26114b9cba2b63a9e8dd4f";

fn sealed(key: &Packet, path: u32, pn: u64) -> Vec<u8> {
    let mut payload = [&b"payload"[..], &[0; 16]].concat();
    key.seal(PathId(path), pn, b"header", &mut payload);
    payload
}

/// What AES-256-GCM itself makes of the nonce.
fn reference(nonce: &str) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&aead::AES_256_GCM, &unhex(KEY)).unwrap());
    let nonce = Nonce::assume_unique_for_key(unhex(nonce).try_into().unwrap());
    let mut payload = b"payload".to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(b"header"), &mut payload).unwrap();
    payload
}

#[test]
fn the_nonce_holds_the_path_id_above_the_packet_number() {
    let key = known_key(TLS13_AES_256_GCM_SHA384, KEY, IV);
    // draft-ietf-quic-multipath-21 §2.4: the example.
    assert_eq!(sealed(&key, 3, 54321), reference("6b2611489cba2b63a9e8097e"));
    // The extremes of both numbers, each exclusive-or done by hand.
    assert_eq!(sealed(&key, 0, 0), reference(IV));
    assert_eq!(sealed(&key, u32::MAX, 0), reference("94d9eeb49cba2b63a9e8dd4f"));
    assert_eq!(sealed(&key, 0, (1 << 62) - 1), reference("6b26114ba345d49c561722b0"));
}

#[test]
fn path_zero_seals_as_quic_without_multipath() {
    let key = known_key(TLS13_AES_256_GCM_SHA384, KEY, IV);
    let mut plain = b"payload".to_vec();
    let tag = key.0.encrypt_in_place(54321, b"header", &mut plain).unwrap();
    assert_eq!(sealed(&key, 0, 54321), [&plain, tag.as_ref()].concat());
}

#[test]
fn a_packet_opens_only_with_its_own_path_number_header_and_bytes() {
    let key = known_key(TLS13_AES_256_GCM_SHA384, KEY, IV);
    let packet = sealed(&key, 3, 54321);
    let open = |path, pn, header: &[u8], bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        key.open(PathId(path), pn, header, &mut bytes).map(|len| bytes[..len].to_vec())
    };
    assert_eq!(open(3, 54321, b"header", &packet), Ok(b"payload".to_vec()));
    assert_eq!(open(0, 54321, b"header", &packet), Err(Forged));
    assert_eq!(open(2, 54321, b"header", &packet), Err(Forged));
    assert_eq!(open(3, 54322, b"header", &packet), Err(Forged));
    assert_eq!(open(3, 54321, b"Header", &packet), Err(Forged));
    for at in 0..packet.len() {
        let mut bent = packet.clone();
        bent[at] ^= 1;
        assert_eq!(open(3, 54321, b"header", &bent), Err(Forged), "byte {at}");
        assert_eq!(open(3, 54321, b"header", &packet[..at]), Err(Forged), "cut to {at} bytes");
    }
}

#[test]
fn an_empty_payload_is_a_tag_alone() {
    let key = known_key(TLS13_AES_256_GCM_SHA384, KEY, IV);
    let mut payload = [0; 16];
    key.seal(PathId(1), 1, b"h", &mut payload);
    assert_eq!(key.open(PathId(1), 1, b"h", &mut payload), Ok(0));
}

#[test]
fn the_limits_are_those_of_the_specification() {
    // RFC 9001 §6.6: 2^23 and 2^52 packets for AES-GCM, 2^36 forgeries for ChaCha20-Poly1305.
    let aes_128 = initial_keys(V1, &sample_cid(), Role::Client).local.packet;
    let aes_256: Box<dyn PacketKey> = Box::new(known_key(TLS13_AES_256_GCM_SHA384, KEY, IV));
    for key in [aes_128, aes_256] {
        assert_eq!(
            (key.confidentiality_limit(), key.integrity_limit(), key.tag_len()),
            (1 << 23, 1 << 52, 16)
        );
    }
    let chacha = known_key(TLS13_CHACHA20_POLY1305_SHA256, KEY, IV);
    // §6.6: more than the 2^62 packet numbers there are.
    assert!(chacha.confidentiality_limit() > 1 << 62);
    assert_eq!(chacha.integrity_limit(), 1 << 36);
}

#[test]
fn an_unknown_version_gets_keys_that_open_nothing_of_version_2() {
    let unknown = initial_keys(0x1a2a_3a4a, &sample_cid(), Role::Server);
    let v2 = include_str!("vectors/rfc9369-client-initial.hex");
    assert_eq!(parse(&unknown.peer, &unhex(v2), 2, 18), Err(Forged));
}
