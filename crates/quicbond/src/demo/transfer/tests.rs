use super::{Meter, parse_request};
use crate::demo::plan::Direction;
use mpquic_base::Duration;
use std::time::Instant;

#[test]
fn the_longest_gap_lies_between_two_deliveries() {
    let (meter, start) = (Meter::default(), Instant::now());
    // Waiting for the first byte is no gap.
    for (ms, bytes) in [(500, 10), (520, 10), (650, 10), (651, 10)] {
        meter.delivered(bytes, start + Duration::from_millis(ms));
    }
    let seen = meter.seen();
    assert_eq!((seen.bytes, seen.longest_gap), (40, Duration::from_millis(130)));
}

#[test]
fn a_request_says_which_way_and_how_much() {
    assert_eq!(parse_request(b"GET 200000000"), Some((Direction::Down, 200_000_000)));
    assert_eq!(parse_request(b"PUT 1"), Some((Direction::Up, 1)));
    for wrong in [&b""[..], b"GET", b"GET ", b"GET -1", b"get 1", b"GET 99999999999999999999", b"\xff 1"] {
        assert_eq!(parse_request(wrong), None, "{wrong:?}");
    }
}
