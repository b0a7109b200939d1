use super::{super::*, read_all, written};
use crate::{
    Code,
    cursor::{Writer, varint_len},
};
use proptest::prelude::*;

type Ranges = Vec<core::ops::Range<u64>>;

/// Descending, disjoint, apart.
fn ranges() -> impl Strategy<Value = Ranges> {
    let pairs = prop::collection::vec((1u64..5000, 1u64..5000), 1..60);
    (0u64..1 << 50, pairs).prop_map(|(mut at, pairs)| {
        let mut ranges: Ranges = pairs
            .into_iter()
            .map(|(gap, len)| {
                let range = at..at + len;
                at += len + gap;
                range
            })
            .collect();
        ranges.reverse();
        ranges
    })
}

fn header(multipath: bool, ecn: bool) -> AckHeader {
    AckHeader {
        path: PathId(if multipath { 70_000 } else { 0 }),
        multipath,
        delay: 1234,
        ecn: ecn.then_some(EcnCounts { ect0: 100_000, ect1: 0, ce: 64 }),
    }
}

proptest! {
    #[test]
    fn limited_room_keeps_the_newest_ranges(
        ranges in ranges(), room in 0usize..500, multipath: bool, ecn: bool,
    ) {
        let header = header(multipath, ecn);
        let mut bytes = vec![0; room];
        let mut out = Writer::new(&mut bytes);
        let kept = header.write(ranges.iter().cloned(), &mut out);
        let len = out.len();
        if kept == 0 {
            prop_assert_eq!(len, 0);
            prop_assert!(room < 40, "{} bytes are enough for one range", room);
            return Ok(());
        }
        let frames = read_all(&bytes[..len]).unwrap();
        let [Frame::Ack(ack)] = frames[..] else { panic!("{frames:?}") };
        prop_assert_eq!(ack.ranges().collect::<Ranges>(), &ranges[..kept]);
        prop_assert_eq!(
            (ack.largest, ack.path, ack.multipath, ack.delay, ack.ecn),
            (ranges[0].end - 1, header.path, multipath, header.delay, header.ecn)
        );
        if let [.., last] = &ranges[..kept] && let Some(next) = ranges.get(kept) {
            let size = varint_len(last.start - next.end - 1) + varint_len(next.end - 1 - next.start);
            prop_assert!(size > room - len, "{next:?} would have fit");
        }
        prop_assert_eq!(written(&Frame::Ack(ack)), &bytes[..len]);
    }
}

fn read_ack(bytes: &[u8]) -> Result<Ranges, FrameError> {
    let frames = read_all(bytes)?;
    let [Frame::Ack(ack)] = frames[..] else { panic!("{frames:?}") };
    Ok(ack.ranges().collect())
}

#[test]
fn ranges_run_from_the_newest_to_packet_zero() {
    // Largest 10, delay 0, one more range: 9..=10, then 6..=8 missing, then 0..=5.
    assert_eq!(read_ack(&[0x02, 10, 0, 1, 1, 2, 5]).unwrap(), [9..11, 0..6]);
    assert_eq!(read_ack(&[0x02, 0, 0, 0, 0]).unwrap().first(), Some(&(0..1)));
}

#[test]
fn ranges_below_packet_zero_are_refused() {
    let cases: [&[u8]; 4] =
        [&[10, 0, 0, 11], &[10, 0, 1, 1, 2, 6], &[10, 0, 1, 1, 8, 0], &[10, 0, 1, 10, 0, 0]];
    for body in cases {
        for kind in [&[0x02][..], &[0x3e, 7]] {
            let error = read_ack(&[kind, body].concat()).unwrap_err();
            assert_eq!((error.code, error.frame_type), (Code::FRAME_ENCODING_ERROR, u64::from(kind[0])));
            assert!(error.why.contains("below packet number 0"), "{body:?}: {error}");
        }
    }
}

#[test]
fn a_range_count_beyond_the_packet_is_refused_without_work() {
    let mut bytes = vec![0x02, 10, 0];
    bytes.extend([0xff; 8]);
    bytes.push(0);
    assert_eq!(read_ack(&bytes).unwrap_err().why, "truncated");
}

#[test]
fn the_largest_packet_number_can_be_acknowledged() {
    let mut bytes = vec![0x02];
    bytes.extend([0xff; 8]);
    bytes.extend([0, 0, 0]);
    let max = crate::cursor::VARINT_MAX;
    assert_eq!(read_ack(&bytes).unwrap().first(), Some(&(max..max + 1)));
}
