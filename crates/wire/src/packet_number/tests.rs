use super::*;
use proptest::prelude::*;

#[test]
fn lengths_agree_with_the_examples_of_rfc_9000() {
    assert_eq!(pn_len(0xac_5c02, Some(0xab_e8b3)), 2);
    assert_eq!(pn_len(0xac_e8fe, Some(0xab_e8b3)), 3);
}

#[test]
fn numbers_restore_as_in_the_example_of_rfc_9000() {
    assert_eq!(expand(Some(0xa82f_30ea), 0x9b32, 2), 0xa82f_9b32);
}

#[test]
fn the_first_packet_takes_one_byte() {
    assert_eq!(pn_len(0, None), 1);
    assert_eq!(expand(None, 0, 1), 0);
    assert_eq!(expand(None, 0xff, 1), 0xff);
}

#[test]
fn more_than_twice_the_distance_is_covered() {
    for (distance, len) in [(0x7f, 1), (0x80, 2), (0x7fff, 2), (0x8000, 3), (0x7f_ffff, 3), (0x80_0000, 4)] {
        assert_eq!(pn_len(1000 + distance, Some(1000)), len, "distance {distance}");
        assert!((1u64 << (8 * len)) > 2 * distance);
    }
}

#[test]
fn nothing_restores_to_a_number_above_the_largest() {
    for len in 1..=4 {
        let window = 1u64 << (8 * len);
        for largest in [PN_MAX, PN_MAX - 1, PN_MAX - window / 2, PN_MAX - window] {
            for truncated in [0, 1, truncate(u64::MAX, len) / 2, truncate(u64::MAX, len)] {
                let pn = expand(Some(largest), truncated, len);
                assert!(pn <= PN_MAX, "largest {largest:#x}, truncated {truncated:#x}, len {len}: {pn:#x}");
                assert_eq!(truncate(pn, len), truncated);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_number_survives_loss_of_all_since_the_last_acknowledgement(
        acked in prop::option::of(0..=PN_MAX),
        ahead in 1u64..1 << 31,
        received in 0.0f64..1.0,
    ) {
        let pn = acked.map_or(ahead - 1, |acked| acked.saturating_add(ahead)).min(PN_MAX);
        let len = pn_len(pn, acked);
        // The receiver has seen anything from what it acknowledged to just below this packet.
        let floor = acked.unwrap_or(0).min(pn);
        let seen = floor + ((pn - floor) as f64 * received) as u64;
        let largest = if pn == 0 { None } else { Some(seen.min(pn - 1)) };
        prop_assert_eq!(expand(largest, truncate(pn, len), len), pn);
    }

    #[test]
    fn what_is_written_is_read(pn in 0..=PN_MAX, len in 1usize..=4) {
        let mut bytes = [0; 4];
        write(pn, len, &mut Writer::new(&mut bytes[..len]));
        prop_assert_eq!(read(&bytes[..len]), truncate(pn, len));
    }

    #[test]
    fn any_input_restores_to_something_within_half_a_window(
        largest in prop::option::of(0..=PN_MAX), bits: u32, len in 1usize..=4,
    ) {
        let truncated = truncate(u64::from(bits), len);
        let pn = expand(largest, truncated, len);
        prop_assert!(pn <= PN_MAX);
        prop_assert_eq!(truncate(pn, len), truncated);
        let expected = largest.map_or(0, |l| l + 1);
        let (half, window) = (1u64 << (8 * len - 1), 1u64 << (8 * len));
        prop_assert!(pn.abs_diff(expected) <= half || expected < window || expected > PN_MAX - window);
    }
}
