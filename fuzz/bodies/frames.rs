//! Parses a packet's payload, writes the frames again, and parses that.

use mpquic_wire::{
    Frame, FrameError, Reader, Writer,
    frame::{Ack, AckHeader},
};

pub(crate) fn run(data: &[u8]) {
    let (frames, _) = read_all(data);
    let len: usize = frames.iter().map(Frame::len).sum();
    let mut bytes = vec![0; len];
    let mut out = Writer::new(&mut bytes);
    for frame in &frames {
        let before = out.len();
        frame.write(&mut out);
        assert_eq!(out.len() - before, frame.len(), "{frame:?}");
        assert_eq!(Reader::new(&out.written()[before..]).varint(), Ok(frame.type_of()), "{frame:?}");
        if let Frame::Ack(ack) = frame {
            rewrite_ranges(ack, data.len());
        }
    }
    let (again, error) = read_all(&bytes);
    assert_eq!((again, error), (frames, None));
}

/// The frames in front of the first error, if there is one.
fn read_all(bytes: &[u8]) -> (Vec<Frame<'_>>, Option<FrameError>) {
    let mut reader = Reader::new(bytes);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        match Frame::read(&mut reader) {
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

/// Ranges are descending, disjoint and apart, and an ACK made of them says the same.
fn rewrite_ranges(ack: &Ack<'_>, packet_len: usize) {
    let ranges: Vec<_> = ack.ranges().collect();
    assert!(ranges.len() <= packet_len);
    assert_eq!(ranges.first().map(|newest| newest.end - 1), Some(ack.largest));
    assert!(ranges.iter().all(|range| range.start < range.end));
    assert!(ranges.windows(2).all(|pair| pair[1].end < pair[0].start));
    let header = AckHeader { path: ack.path, multipath: ack.multipath, delay: ack.delay, ecn: ack.ecn };
    let mut bytes = vec![0; packet_len + 16];
    let mut out = Writer::new(&mut bytes);
    let kept = header.write(ranges.iter().cloned(), &mut out);
    assert_eq!(kept, ranges.len().min(0x3fff));
    let len = out.len();
    let (again, error) = read_all(&bytes[..len]);
    let [Frame::Ack(again)] = again[..] else { panic!("{again:?} {error:?}") };
    assert_eq!(again.ranges().collect::<Vec<_>>(), ranges[..kept]);
}
