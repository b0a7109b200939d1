use super::{Count, Flow};
use mpquic_base::Duration;

const MS: Duration = Duration::from_millis(1);

/// Feeds counter readings, one per 5 ms.
fn fed(readings: &[(u64, u64)], headers: u64) -> Flow {
    let mut flow = Flow::default();
    for (i, &(bytes, packets)) in readings.iter().enumerate() {
        flow.sample(5 * MS * i as u32, Count { bytes, packets }, headers);
    }
    flow
}

#[test]
fn the_busy_time_goes_from_the_first_data_to_the_last() {
    let flow = fed(&[(0, 0), (60, 1), (1560, 2), (3060, 3), (3060, 3), (3120, 4)], 66);
    assert_eq!((flow.first, flow.last), (Some(5 * MS), 15 * MS));
    assert_eq!(flow.payload, 2 * (1500 - 66), "two full packets; the small ones are no data");
}

#[test]
fn a_gap_ends_with_data_and_not_with_small_talk() {
    let flow = fed(&[(0, 0), (1500, 1), (3000, 2), (3060, 3), (3120, 4), (4620, 5), (6120, 6)], 0);
    assert_eq!(flow.longest_gap, 15 * MS);
}

#[test]
fn silence_before_and_after_is_no_gap() {
    let flow = fed(&[(0, 0), (0, 0), (0, 0), (1500, 1), (1500, 1), (1500, 1)], 0);
    assert_eq!((flow.longest_gap, flow.payload), (Duration::ZERO, 1500));
}
