use super::*;
use proptest::prelude::*;

/// RFC 9000 appendix A.1.
const VECTORS: [(&[u8], u64); 5] = [
    (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
    (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
    (&[0x7b, 0xbd], 15_293),
    (&[0x25], 37),
    (&[0x40, 0x25], 37),
];

#[test]
fn varints_read_as_in_the_examples_of_rfc_9000() {
    for (bytes, value) in VECTORS {
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.varint(), Ok(value));
        assert!(reader.is_empty());
    }
}

#[test]
fn varints_are_written_in_their_shortest_form() {
    for (bytes, value) in &VECTORS[..4] {
        let mut out = [0; 8];
        let mut writer = Writer::new(&mut out);
        writer.put_varint(*value);
        assert_eq!(writer.written(), *bytes);
    }
    let edges =
        [(0x3f, 1), (0x40, 2), (0x3fff, 2), (0x4000, 4), (0x3fff_ffff, 4), (0x4000_0000, 8), (VARINT_MAX, 8)];
    for (value, len) in edges {
        assert_eq!(varint_len(value), len, "{value:#x}");
    }
}

#[test]
fn a_cut_varint_is_malformed_and_takes_nothing() {
    for (bytes, _) in VECTORS {
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]);
            assert_eq!(reader.varint(), Err(Malformed));
            assert_eq!(reader.remaining(), cut);
        }
    }
}

#[test]
fn a_length_beyond_the_end_is_malformed() {
    assert_eq!(Reader::new(&[2, 0]).length(), Err(Malformed));
    assert_eq!(Reader::new(&[1, 0]).length(), Ok(1));
    assert_eq!(Reader::new(&[0xff; 8]).length(), Err(Malformed));
}

#[test]
fn a_cid_of_21_bytes_is_malformed() {
    let bytes: Vec<u8> = core::iter::once(21).chain([7; 21]).collect();
    assert_eq!(Reader::new(&bytes).cid(), Err(Malformed));
    let bytes: Vec<u8> = core::iter::once(20).chain([7; 20]).collect();
    assert_eq!(Reader::new(&bytes).cid().unwrap().as_slice(), [7; 20]);
}

#[test]
fn zeros_stop_at_the_first_other_byte() {
    let mut reader = Reader::new(&[0, 0, 3, 0]);
    assert_eq!((reader.zeros(), reader.remaining()), (2, 2));
    assert_eq!((reader.zeros(), reader.remaining()), (0, 2));
    assert_eq!(Reader::new(&[0; 5]).zeros(), 5);
}

proptest! {
    #[test]
    fn any_varint_survives_the_round_trip(value in 0..=VARINT_MAX, shift in 0u32..62) {
        let value = value >> shift;
        let mut out = [0; 8];
        let mut writer = Writer::new(&mut out);
        writer.put_varint(value);
        prop_assert_eq!(writer.len(), varint_len(value));
        prop_assert_eq!(Reader::new(writer.written()).varint(), Ok(value));
    }

    #[test]
    fn a_two_byte_varint_reads_as_its_value(value in 0usize..0x4000) {
        let mut out = [0; 2];
        Writer::new(&mut out).put_varint2(value);
        prop_assert_eq!(Reader::new(&out).varint(), Ok(value as u64));
    }
}
