//! What must be refused, and with which code.

use super::{super::*, read_all, written};
use crate::{
    Code,
    cursor::{VARINT_MAX, Writer},
};

/// The bytes of varints in a row.
fn varints(values: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; 8 * values.len()];
    let mut out = Writer::new(&mut bytes);
    values.iter().for_each(|v| out.put_varint(*v));
    let len = out.len();
    bytes.truncate(len);
    bytes
}

#[track_caller]
fn refused(bytes: &[u8], code: Code, frame_type: u64) {
    let error = read_all(bytes).expect_err("accepted");
    assert_eq!((error.code, error.frame_type), (code, frame_type), "{error}");
}

#[test]
fn a_type_in_more_bytes_than_needed_is_a_violation() {
    refused(&[0x40, 0x01], Code::PROTOCOL_VIOLATION, 0x01);
    refused(&[0x80, 0, 0x3e, 0x7a, 0], Code::PROTOCOL_VIOLATION, 0x3e7a);
    refused(&[0x40, 0x00], Code::PROTOCOL_VIOLATION, 0x00);
}

#[test]
fn unknown_types_are_encoding_errors() {
    for frame_type in [0x20, 0x23, 0x25, 0x2f, 0x32, 0x3d, 0x40, 0xae, 0xb0, 0x3e74, 0x3e7d, VARINT_MAX] {
        refused(&varints(&[frame_type, 0, 0, 0]), Code::FRAME_ENCODING_ERROR, frame_type);
    }
}

#[test]
fn nothing_may_end_beyond_the_largest_offset() {
    for frame_type in [0x06, 0x0e] {
        let mut head = if frame_type == 0x06 { varints(&[0x06]) } else { varints(&[0x0e, 4]) };
        head.extend(varints(&[VARINT_MAX - 1]));
        assert!(read_all(&[&head[..], &[1, 0]].concat()).is_ok());
        refused(&[&head[..], &[2, 0, 0]].concat(), Code::FRAME_ENCODING_ERROR, frame_type);
    }
    let implicit = [varints(&[0x0c, 4, VARINT_MAX]), vec![0]].concat();
    refused(&implicit, Code::FRAME_ENCODING_ERROR, 0x0c);
}

#[test]
fn more_streams_than_can_be_numbered_are_refused() {
    for frame_type in [0x12, 0x13, 0x16, 0x17] {
        assert!(read_all(&varints(&[frame_type, 1 << 60])).is_ok());
        refused(&varints(&[frame_type, (1 << 60) + 1]), Code::FRAME_ENCODING_ERROR, frame_type);
    }
}

#[test]
fn no_more_is_reliable_than_the_stream_has() {
    assert!(read_all(&varints(&[0x24, 4, 1, 9, 9])).is_ok());
    refused(&varints(&[0x24, 4, 1, 9, 10]), Code::FRAME_ENCODING_ERROR, 0x24);
}

#[test]
fn path_ids_have_32_bits() {
    let over = 1u64 << 32;
    let bodies: [&[u64]; 9] = [
        &[0x3e, over, 0, 0, 0, 0],
        &[0x3f, over, 0, 0, 0, 0, 0, 0, 0],
        &[0x3e75, over, 0],
        &[0x3e76, over, 0],
        &[0x3e77, over, 0],
        &[0x3e78, over, 0, 0],
        &[0x3e79, over, 0],
        &[0x3e7b, over],
        &[0x3e7c, over, 0],
    ];
    for body in bodies {
        refused(&varints(body), Code::FRAME_ENCODING_ERROR, body[0]);
    }
    refused(&varints(&[0x3e7a, over]), Code::PROTOCOL_VIOLATION, 0x3e7a);
    assert_eq!(read_all(&varints(&[0x3e7a, over - 1])), Ok(vec![Frame::MaxPathId(PathId(u32::MAX))]));
}

#[test]
fn an_empty_token_is_refused() {
    refused(&[0x07, 0], Code::FRAME_ENCODING_ERROR, 0x07);
}

#[test]
fn new_connection_ids_have_1_to_20_bytes_and_do_not_retire_themselves() {
    for head in [&[0x18u64][..], &[0x3e78, 9]] {
        let frame = |retire: u64, len: u8| {
            let mut bytes = varints(head);
            bytes.extend(varints(&[5, retire]));
            bytes.push(len);
            bytes.extend(vec![1; usize::from(len) + 16]);
            bytes
        };
        for len in [1, 8, 20] {
            assert!(read_all(&frame(5, len)).is_ok(), "{len} bytes");
        }
        for len in [0, 21, 255] {
            refused(&frame(0, len), Code::FRAME_ENCODING_ERROR, head[0]);
        }
        refused(&frame(6, 8), Code::FRAME_ENCODING_ERROR, head[0]);
    }
}

#[test]
fn both_datagram_forms_read_alike() {
    assert_eq!(read_all(&[0x30, 1, 2]), Ok(vec![Frame::Datagram { data: &[1, 2] }]));
    assert_eq!(read_all(&[0x31, 2, 1, 2, 1]), Ok(vec![Frame::Datagram { data: &[1, 2] }, Frame::Ping]));
    assert_eq!(read_all(&[0x30]), Ok(vec![Frame::Datagram { data: &[] }]));
    refused(&[0x31, 3, 1, 2], Code::FRAME_ENCODING_ERROR, 0x31);
}

#[test]
fn every_stream_form_reads_alike() {
    let expected = |offset, fin| Ok(vec![Frame::Stream { stream: StreamId(4), offset, data: &[9], fin }]);
    assert_eq!(read_all(&[0x08, 4, 9]), expected(0, false));
    assert_eq!(read_all(&[0x09, 4, 9]), expected(0, true));
    assert_eq!(read_all(&[0x0a, 4, 1, 9]), expected(0, false));
    assert_eq!(read_all(&[0x0b, 4, 1, 9]), expected(0, true));
    assert_eq!(read_all(&[0x0c, 4, 7, 9]), expected(7, false));
    assert_eq!(read_all(&[0x0d, 4, 7, 9]), expected(7, true));
    assert_eq!(read_all(&[0x0e, 4, 7, 1, 9]), expected(7, false));
    assert_eq!(read_all(&[0x0f, 4, 7, 1, 9]), expected(7, true));
}

#[test]
fn a_run_of_padding_is_one_frame() {
    assert_eq!(read_all(&[0, 0, 0, 1, 0]), Ok(vec![Frame::Padding(3), Frame::Ping, Frame::Padding(1)]));
}

#[test]
fn multipath_types_take_two_bytes_as_registered() {
    assert_eq!(written(&Frame::MaxPathId(PathId(3))), [0x7e, 0x7a, 3]);
    assert_eq!(written(&Frame::PathAbandon { path: PathId(1), code: 0x3e }), [0x7e, 0x75, 1, 0x3e]);
}
