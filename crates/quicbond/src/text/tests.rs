use super::{bytes, columns, link, mbps_of};
use mpquic_base::Duration;
use mpquic_sim::link::LinkSpec;

#[test]
fn a_link_is_written_as_the_option_takes_it() {
    for text in ["300mbit/8ms", "40mbit/35±8ms/0.5%", "1gbit/2ms", "2.5gbit/600ms/1%"] {
        assert_eq!(link(&LinkSpec::parse(text).unwrap()), text);
    }
}

#[test]
fn amounts_carry_the_unit_that_suits_them() {
    assert_eq!(bytes(999), "999 B");
    assert_eq!(bytes(1500), "1.5 kB");
    assert_eq!(bytes(200_000_000), "200.0 MB");
    assert_eq!(bytes(1_250_000_000), "1.25 GB");
    assert!((mbps_of(1_250_000, Duration::from_secs(2)) - 5.0).abs() < 1e-9);
    assert!(mbps_of(1, Duration::ZERO).abs() < 1e-9);
}

#[test]
fn columns_are_aligned_and_lines_end_without_blanks() {
    let rows: Vec<Vec<String>> =
        [["fibre", "1.0", "up"], ["l", "200.0", ""]].map(|r| r.map(str::to_owned).to_vec()).to_vec();
    assert_eq!(columns(&rows, &[false, true, false], "  "), "  fibre    1.0  up\n  l      200.0\n");
}
