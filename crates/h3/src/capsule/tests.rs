use super::*;
use proptest::prelude::*;

const KNOWN: &[(u64, usize)] = &[(DATAGRAM, 1500), (0x01, 10), (0x2843, 300)];

/// Everything that `bytes` hold, given in pieces of `step`.
fn decoded(bytes: &[u8], step: usize) -> (Result<Vec<Capsule>, CapsuleError>, Decoder) {
    let mut decoder = Decoder::new(KNOWN);
    let mut all = Vec::new();
    for piece in bytes.chunks(step) {
        let mut input = piece;
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(capsule)) => all.push(capsule),
                Ok(None) => break,
                Err(error) => return (Err(error), decoder),
            }
        }
        assert!(input.is_empty());
    }
    (Ok(all), decoder)
}

fn capsule(kind: u64, value: &[u8]) -> Capsule {
    Capsule { kind, value: Bytes::copy_from_slice(value) }
}

#[test]
fn a_capsule_is_type_length_value() {
    let mut out = Vec::new();
    write(&mut out, DATAGRAM, b"\0abc");
    write(&mut out, 0x2843, b"");
    assert_eq!(out, b"\x00\x04\x00abc\x68\x43\x00");
    for step in 1..=out.len() {
        let (all, decoder) = decoded(&out, step);
        assert_eq!(all.unwrap(), [capsule(DATAGRAM, b"\0abc"), capsule(0x2843, b"")], "in pieces of {step}");
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn unknown_types_are_skipped_however_long() {
    let mut out = Vec::new();
    write(&mut out, 0x29, &[7; 100_000]);
    write(&mut out, 0x01, b"x");
    let (all, decoder) = decoded(&out, 1000);
    assert_eq!(all.unwrap(), [capsule(0x01, b"x")]);
    assert_eq!((decoder.skipped(), decoder.finish()), (1, Ok(())));
    // A length that never ends holds nothing back.
    let endless = b"\x29\xff\xff\xff\xff\xff\xff\xff\xff____";
    assert_eq!(decoded(endless, 3).1.finish(), Err(CapsuleError::Truncated));
}

#[test]
fn known_types_have_their_limit() {
    let mut out = Vec::new();
    write(&mut out, 0x01, &[0; 10]);
    assert_eq!(decoded(&out, 5).0.unwrap().len(), 1);
    out.clear();
    write(&mut out, 0x01, &[0; 11]);
    assert_eq!(decoded(&out, 5).0, Err(CapsuleError::TooLong { kind: 1, len: 11 }));
    // A datagram that is too large is lost, as datagrams may be.
    out.clear();
    write(&mut out, DATAGRAM, &[0; 1501]);
    write(&mut out, 0x01, b"x");
    let (all, decoder) = decoded(&out, 100);
    assert_eq!((all.unwrap().len(), decoder.skipped()), (1, 1));
}

#[test]
fn a_stream_may_not_end_within_a_capsule() {
    let mut out = Vec::new();
    write(&mut out, 0x2843, b"value");
    for len in 1..out.len() {
        assert_eq!(decoded(&out[..len], 1).1.finish(), Err(CapsuleError::Truncated), "{len}");
    }
    assert_eq!(CapsuleError::Truncated.fault().code, code::MESSAGE_ERROR);
}

proptest! {
    #[test]
    fn capsules_survive_the_round_trip_in_any_pieces(
        capsules in prop::collection::vec((0usize..3, prop::collection::vec(any::<u8>(), 0..10)), 0..20),
        step in 1usize..50,
    ) {
        let capsules: Vec<_> = capsules.iter().map(|(at, value)| capsule(KNOWN[*at].0, value)).collect();
        let mut out = Vec::new();
        capsules.iter().for_each(|one| write(&mut out, one.kind, &one.value));
        let (all, decoder) = decoded(&out, step);
        prop_assert_eq!(all.unwrap(), capsules);
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn arbitrary_bytes_mean_the_same_in_any_pieces(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        step in 1usize..50,
    ) {
        prop_assert_eq!(decoded(&bytes, step).0, decoded(&bytes, 1000).0);
    }
}
