mod ack;
mod arbitrary;
mod strict;

use super::*;
use crate::{
    Code,
    cursor::{Reader, Writer},
};
use arbitrary::{KINDS, Raw};
use proptest::prelude::*;

pub(super) fn written(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0xee; frame.len()];
    let mut out = Writer::new(&mut bytes);
    frame.write(&mut out);
    assert_eq!(out.remaining(), 0, "len() of {frame:?} is more than it writes");
    bytes
}

pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<Frame<'_>>, FrameError> {
    let mut reader = Reader::new(bytes);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        frames.push(Frame::read(&mut reader)?);
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn every_frame_survives_the_round_trip(raw in Raw::any()) {
        for kind in 0..KINDS {
            let frame = raw.frame(kind);
            let bytes = written(&frame);
            prop_assert_eq!(read_all(&bytes), Ok(vec![frame]));
            prop_assert_eq!(Reader::new(&bytes).varint(), Ok(frame.type_of()));
        }
    }

    #[test]
    fn frames_in_a_row_are_told_apart(raws in prop::collection::vec((0..KINDS, Raw::any()), 1..8)) {
        let mut frames: Vec<_> = raws.iter().map(|(kind, raw)| raw.frame(*kind)).collect();
        // Padding next to padding reads as one run.
        frames.dedup_by(|a, b| matches!((a, b), (Frame::Padding(_), Frame::Padding(_))));
        let bytes: Vec<u8> = frames.iter().flat_map(written).collect();
        prop_assert_eq!(read_all(&bytes), Ok(frames));
    }

    #[test]
    fn a_cut_frame_is_an_encoding_error(raw in Raw::any()) {
        for kind in (0..KINDS).filter(|kind| !matches!(raw.frame(*kind), Frame::Padding(_))) {
            let bytes = written(&raw.frame(kind));
            for cut in 1..bytes.len() {
                let error = read_all(&bytes[..cut]).unwrap_err();
                prop_assert_eq!(error.code, Code::FRAME_ENCODING_ERROR, "kind {} cut at {}", kind, cut);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for frame in read_all(&bytes).into_iter().flatten() {
            if let Frame::Ack(ack) = frame {
                prop_assert!(ack.ranges().count() <= bytes.len());
            }
        }
    }

    #[test]
    fn arbitrary_bodies_behind_every_type_never_panic(body in prop::collection::vec(any::<u8>(), 0..80)) {
        for kind in (0..0x40).chain([0x40af]).chain(0x7e75..=0x7e7c_u32) {
            let mut bytes = kind.to_be_bytes().to_vec();
            bytes.drain(..if kind < 0x40 { 3 } else { 2 });
            bytes.extend(&body);
            if let Ok(frame) = Frame::read(&mut Reader::new(&bytes)) {
                let rewritten = written(&frame);
                prop_assert_eq!(read_all(&rewritten), Ok(vec![frame]));
            }
        }
    }

    #[test]
    fn a_stream_header_and_its_data_make_a_stream_frame(raw in Raw::any(), explicit: bool) {
        let (stream, offset, fin) = (StreamId(raw.a), raw.b >> 8, raw.flag);
        let len = explicit.then_some(raw.data.len());
        let header = StreamHeader { stream, offset, len, fin };
        let mut bytes = vec![0; header.len() + raw.data.len()];
        let mut out = Writer::new(&mut bytes);
        header.write(&mut out);
        prop_assert_eq!(out.len(), header.len());
        out.put(&raw.data);
        prop_assert_eq!(read_all(&bytes), Ok(vec![Frame::Stream { stream, offset, data: &raw.data, fin }]));
    }
}

#[test]
fn only_ack_padding_and_close_elicit_nothing() {
    let raw = Raw::sample();
    let silent: Vec<u64> = (0..KINDS)
        .map(|kind| raw.frame(kind))
        .filter(|frame| !frame.is_ack_eliciting())
        .map(|frame| frame.type_of())
        .collect();
    assert_eq!(silent, [0x00, 0x02, 0x3e, 0x03, 0x3f, 0x1c, 0x1d]);
}

#[test]
fn every_type_of_the_documents_is_covered() {
    let raw = Raw::sample();
    let mut types: Vec<u64> = (0..KINDS).map(|kind| raw.frame(kind).type_of()).collect();
    types.sort_unstable();
    types.dedup();
    // The other STREAM types and 0x30 are encodings of the same values.
    let expected: Vec<u64> = (0x00..=0x07)
        .chain([0x0b, 0x0f])
        .chain(0x10..=0x1f)
        .chain([0x24, 0x31, 0x3e, 0x3f, 0xaf])
        .chain(0x3e75..=0x3e7c)
        .chain([0x009f_81a6, 0x009f_81a7])
        .collect();
    assert_eq!(types, expected);
}
