//! Every kind of bytes that an HTTP/3 peer sends, without a connection: what is understood must be understood alike after
//! it was written again, in pieces as in one, and nothing is larger than its limit.

use mpquic_h3::capsule::{self, Capsule, Decoder};
use mpquic_h3::connect_ip::{Configuration, LIMITS, Scope};
use mpquic_h3::{connect_udp, untrusted};

const CAPSULE_MAX: usize = 2000;
const EVEN_LARGER: u64 = 1 << 20;

pub(crate) fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 8 {
        0 => section(bytes, 1 << (kind >> 4)),
        1 => messages(bytes),
        2 => frames(bytes),
        3 => settings(bytes),
        4 => capsules(bytes, usize::from(kind >> 3)),
        5 => instructions(bytes),
        6 => datagrams(bytes),
        _ => targets(bytes),
    }
}

fn section(block: &[u8], limit: u64) {
    let Some(fields) = untrusted::fields(block, limit) else {
        // A larger limit may be all that it wants; another meaning it must not get.
        if let Some(fields) = untrusted::fields(block, EVEN_LARGER) {
            assert!(untrusted::size(&fields) > limit);
        }
        return;
    };
    assert!(untrusted::size(&fields) <= limit);
    if let Some(again) = untrusted::section(&fields) {
        assert_eq!(untrusted::fields(&again, limit), Some(fields));
    }
}

fn messages(block: &[u8]) {
    if let Some(ours) = untrusted::request(block, EVEN_LARGER) {
        assert_eq!(untrusted::request(&ours, EVEN_LARGER), Some(ours));
    }
    if let Some(ours) = untrusted::response(block, EVEN_LARGER) {
        assert_eq!(untrusted::response(&ours, EVEN_LARGER), Some(ours));
    }
    if untrusted::are_trailers(block, EVEN_LARGER) {
        assert!(untrusted::request(block, EVEN_LARGER).is_none());
        assert!(untrusted::response(block, EVEN_LARGER).is_none());
    }
}

fn frames(bytes: &[u8]) {
    let heads = untrusted::heads(bytes);
    assert!(heads.len() * 2 <= bytes.len());
    for (kind, len) in heads {
        if len < 5000 {
            let again = untrusted::frame(kind, &vec![0; usize::try_from(len).unwrap_or(0)]);
            assert_eq!(untrusted::heads(&again).first(), Some(&(kind, len)));
        }
    }
}

fn settings(payload: &[u8]) {
    if let Some(settings) = untrusted::settings(payload) {
        let again = untrusted::settings_payload(&settings);
        assert_eq!(untrusted::settings(&again), Some(settings));
    }
}

fn capsules(bytes: &[u8], piece: usize) {
    let known: Vec<(u64, usize)> = LIMITS.iter().copied().chain([(capsule::DATAGRAM, CAPSULE_MAX)]).collect();
    let whole = decode(&known, bytes, bytes.len().max(1));
    assert_eq!(decode(&known, bytes, piece.max(1)), whole);
    for one in &whole.0 {
        assert!(known.iter().any(|(kind, limit)| *kind == one.kind && one.value.len() <= *limit));
        let Ok(Some(configuration)) = Configuration::decode(one) else { continue };
        let mut again = Vec::new();
        configuration.encode(&mut again).expect("what was understood can be said");
        let (capsules, fine) = decode(&known, &again, again.len());
        assert!(fine && capsules.len() == 1);
        assert_eq!(Configuration::decode(&capsules[0]), Ok(Some(configuration)));
    }
}

/// The capsules of a stream that arrives in pieces, and whether nothing was wrong with it.
fn decode(known: &[(u64, usize)], bytes: &[u8], piece: usize) -> (Vec<Capsule>, bool) {
    let mut decoder = Decoder::new(known);
    let mut found = Vec::new();
    for mut input in bytes.chunks(piece) {
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(capsule)) => found.push(capsule),
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
        assert!(input.is_empty(), "all of a piece is taken");
    }
    (found, decoder.finish().is_ok())
}

fn instructions(bytes: &[u8]) {
    for encoder in [true, false] {
        let (whole, pieces) = untrusted::instructions(encoder, bytes);
        assert_eq!(whole, pieces);
    }
}

fn datagrams(bytes: &[u8]) {
    let (held, arrived) = untrusted::datagrams(bytes);
    assert!(held <= arrived.min(4 * 16 + 64), "{held} of {arrived}");
}

fn targets(bytes: &[u8]) {
    let Ok(path) = core::str::from_utf8(bytes) else { return };
    if let Ok(target) = connect_udp::Target::parse(path) {
        assert_eq!(target.path().map(|path| connect_udp::Target::parse(&path)), Ok(Ok(target)));
    }
    if let Ok(scope) = Scope::parse(path) {
        assert_eq!(scope.path().map(|path| Scope::parse(&path)), Ok(Ok(scope)));
    }
}
