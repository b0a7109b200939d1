use super::*;
use crate::code;
use proptest::prelude::*;

type Fields = Vec<(String, Vec<u8>, bool)>;

fn decoded(block: &[u8], limit: u64) -> Result<Fields, Stopped<()>> {
    let mut fields = Vec::new();
    decode(block, limit, |name, value, never| {
        fields.push((String::from_utf8_lossy(name).into_owned(), value.to_vec(), never));
        Ok(())
    })?;
    Ok(fields)
}

fn encoded(fields: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut block = Vec::new();
    begin(&mut block);
    fields.iter().for_each(|(name, value, never)| put_field(&mut block, name, value, *never));
    block
}

fn field(name: &str, value: &str) -> (String, Vec<u8>, bool) {
    (name.to_owned(), value.as_bytes().to_vec(), false)
}

#[test]
fn the_example_of_rfc_9204_b_1_is_understood() {
    let block = b"\x00\x00\x51\x0b\x2f\x69\x6e\x64\x65\x78\x2e\x68\x74\x6d\x6c";
    assert_eq!(decoded(block, 1000).unwrap(), [field(":path", "/index.html")]);
}

#[test]
fn the_examples_with_a_dynamic_table_are_refused() {
    // RFC 9204 B.2 and B.4.
    for block in [&b"\x03\x81\x10\x11"[..], b"\x05\x00\x80\xc1\x81"] {
        assert!(matches!(decoded(block, 1000), Err(Stopped::Qpack(QpackError::Decompression(_)))));
    }
    let mut encoder = Instructions::new(Side::Encoder);
    assert_eq!(encoder.push(b"\x3f\xbd\x01").unwrap_err().code, code::QPACK_ENCODER_STREAM_ERROR);
    let mut encoder = Instructions::new(Side::Encoder);
    assert_eq!(encoder.push(b"\x4a\x63").unwrap_err().code, code::QPACK_ENCODER_STREAM_ERROR);
    for instruction in [0x84, 0x01] {
        let mut decoder = Instructions::new(Side::Decoder);
        let code = decoder.push(&[instruction]).unwrap_err().code;
        assert_eq!(code, code::QPACK_DECODER_STREAM_ERROR);
    }
    // B.4's Stream Cancellation needs no table.
    Instructions::new(Side::Decoder).push(&[0x48]).unwrap();
}

#[test]
fn fields_of_the_static_table_take_one_index() {
    assert_eq!(encoded(&[(":method", b"GET", false)]), [0, 0, 0xc0 | 17]);
    assert_eq!(encoded(&[(":status", b"200", false)]), [0, 0, 0xc0 | 25]);
    // Index 63 and above need a second byte.
    assert_eq!(encoded(&[(":status", b"100", false)]), [0, 0, 0xff, 0x00]);
    assert_eq!(encoded(&[("x-frame-options", b"sameorigin", false)]), [0, 0, 0xff, 35]);
}

#[test]
fn sensitive_values_are_literals_that_say_so() {
    let block = encoded(&[(":method", b"GET", true), ("secret", b"x", true)]);
    assert_eq!(block[2], 0b0111_0000 | 15);
    assert_eq!(
        decoded(&block, 1000).unwrap(),
        [(":method".to_owned(), b"GET".to_vec(), true), ("secret".to_owned(), b"x".to_vec(), true)]
    );
}

#[test]
fn huffman_is_used_where_it_is_shorter() {
    assert_eq!(encoded(&[(":path", b"/index.html", false)])[..4], [0, 0, 0x51, 0x80 | 8]);
    assert_eq!(encoded(&[(":path", b"\x01\x02", false)]), [0, 0, 0x51, 2, 1, 2]);
}

#[test]
fn nothing_beyond_the_static_table_can_be_referred_to() {
    for block in [
        &[0, 0, 0xff, 36][..],  // indexed 99
        &[0, 0, 0x80],          // indexed, dynamic
        &[0, 0, 0x10],          // indexed, post-base
        &[0, 0, 0x40, 0],       // name reference, dynamic
        &[0, 0, 0x00, 0],       // name reference, post-base
        &[0, 0x80],             // a negative base
        &[1, 0],                // a required insert count
        &[0],                   // no base
        &[],                    // no prefix
        &[0, 0, 0x51, 5, 1],    // a string beyond the end
        &[0, 0, 0x5f],          // an integer beyond the end
        &[0, 0, 0x51, 0x81, 6], // Huffman code with bad padding
        &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ] {
        let refused = decoded(block, 1000);
        assert!(
            matches!(refused, Err(Stopped::Qpack(QpackError::Decompression(_)))),
            "{block:?}: {refused:?}"
        );
    }
}

#[test]
fn the_limit_counts_names_values_and_32_bytes_a_line() {
    let block = encoded(&[("abc", b"defg", false), (":method", b"GET", false)]);
    let size = (3 + 4 + 32) + (7 + 3 + 32);
    assert_eq!(decoded(&block, size).unwrap().len(), 2);
    assert_eq!(decoded(&block, size - 1), Err(Stopped::Qpack(QpackError::TooLarge)));
    // Many lines of one byte each.
    let block = [&[0, 0][..], &[0xc0 | 17; 2000]].concat();
    assert_eq!(decoded(&block, 64 * 1024), Err(Stopped::Qpack(QpackError::TooLarge)));
}

#[test]
fn the_taker_ends_the_decoding() {
    let block = encoded(&[("a", b"", false), ("b", b"", false)]);
    let mut taken = 0;
    let stopped = decode(&block, 1000, |_, _, _| {
        taken += 1;
        Err("enough")
    });
    assert_eq!((stopped, taken), (Err(Stopped::Taker("enough")), 1));
}

proptest! {
    #[test]
    fn every_section_survives_the_round_trip(
        fields in prop::collection::vec(
            ("[a-z:-]{1,20}", prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..20),
    ) {
        let mut block = Vec::new();
        begin(&mut block);
        for (name, value, never) in &fields {
            put_field(&mut block, name, value, *never);
        }
        prop_assert_eq!(decoded(&block, 1 << 20).unwrap(), fields);
    }

    #[test]
    fn arbitrary_sections_are_decoded_or_refused(block in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut total = 0;
        decode(&block, 4096, |name, value, _| {
            total += line_size(name.len(), value.len());
            Ok::<(), ()>(())
        }).ok();
        prop_assert!(total <= 4096);
        decode(&[&[0, 0], &block[..]].concat(), 4096, |_, _, _| Ok::<(), ()>(())).ok();
    }

    #[test]
    fn arbitrary_instructions_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        for side in [Side::Encoder, Side::Decoder] {
            let whole = Instructions::new(side).push(&bytes);
            let mut in_pieces = Instructions::new(side);
            let pieces = bytes.iter().try_for_each(|byte| in_pieces.push(&[*byte]));
            prop_assert_eq!(whole, pieces);
        }
    }
}
