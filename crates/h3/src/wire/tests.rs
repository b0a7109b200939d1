use super::frame::{self, DATA_HEAD_MAX, Head, PartialHead};
use super::settings::Settings;
use super::varint::{self, Partial};
use crate::code;
use mpquic_wire::VARINT_MAX;
use proptest::prelude::*;

#[test]
fn the_varints_of_rfc_9000_a_1_arrive_byte_by_byte() {
    for (bytes, value) in [
        (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
        (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
        (&[0x7b, 0xbd], 15_293),
        (&[0x25], 37),
        (&[0x40, 0x25], 37),
    ] {
        let mut partial = Partial::default();
        let (last, before) = bytes.split_last().unwrap();
        assert!(before.iter().all(|byte| partial.push(*byte).is_none()));
        assert_eq!(partial.is_open(), !before.is_empty());
        assert_eq!(partial.push(*last), Some(value));
        assert!(!partial.is_open());
    }
}

#[test]
fn a_data_head_fits_what_is_reserved_for_it() {
    let mut buf = [0; DATA_HEAD_MAX];
    assert_eq!(frame::data_head(&mut buf, 5), [0, 5]);
    assert_eq!(frame::data_head(&mut buf, 16_383), [0, 0x7f, 0xff]);
    assert_eq!(frame::data_head(&mut buf, 65_536), [0, 0x80, 1, 0, 0]);
}

#[test]
fn settings_are_written_and_read() {
    let mut payload = Vec::new();
    Settings::default().write(&mut payload);
    // QPACK 0 and 0, 65536 bytes of fields, extended CONNECT, datagrams, a reserved one.
    assert_eq!(payload, b"\x01\x00\x07\x00\x06\x80\x01\x00\x00\x08\x01\x33\x01\x44\x20\x00");
    assert_eq!(Settings::read(&payload), Ok(Settings::default()));
    let unnamed = Settings::read(&[]).unwrap();
    assert_eq!(
        unnamed,
        Settings { max_field_section_size: VARINT_MAX, extended_connect: false, datagrams: false }
    );
    for id in [0, 2, 3, 4, 5] {
        assert_eq!(Settings::read(&[id, 0]).unwrap_err().code, code::SETTINGS_ERROR, "{id}");
    }
}

proptest! {
    #[test]
    fn heads_survive_the_round_trip(kind in 0..=VARINT_MAX, len in 0..=VARINT_MAX) {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, kind);
        varint::put(&mut bytes, len);
        let mut partial = PartialHead::default();
        let (last, before) = bytes.split_last().unwrap();
        for byte in before {
            prop_assert_eq!(partial.push(*byte), None);
            prop_assert!(partial.is_open());
        }
        prop_assert_eq!(partial.push(*last), Some(Head { kind, len }));
        prop_assert!(!partial.is_open());
    }

    #[test]
    fn arbitrary_settings_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(fault) = Settings::read(&payload) {
            prop_assert!([code::SETTINGS_ERROR, code::FRAME_ERROR].contains(&fault.code));
        }
    }
}
