use super::{controller, duration, links, profile, scheduler, size};
use core::time::Duration;

#[test]
fn sizes_are_read_in_every_spelling() {
    for (text, bytes) in [
        ("1", 1),
        ("1000B", 1000),
        ("500kB", 500_000),
        ("200MB", 200_000_000),
        ("200mb", 200_000_000),
        ("200 MB", 200_000_000),
        ("1.5GB", 1_500_000_000),
        ("2M", 2_000_000),
        ("64KiB", 65_536),
        ("1MiB", 1_048_576),
        ("1GiB", 1_073_741_824),
        ("1000GB", 1_000_000_000_000),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn a_wrong_size_is_told_what_would_be_right() {
    for text in ["", "MB", "-5MB", "20mbit", "1e9", "1.2.3MB", "200MB/s"] {
        assert!(size(text).unwrap_err().contains("such as 200MB"), "{text}");
    }
    for text in ["0", "0.1B", "1001GB"] {
        assert!(size(text).unwrap_err().contains("at least 1B and at most 1000GB"), "{text}");
    }
}

#[test]
fn times_are_read_in_every_unit() {
    for (text, ms) in [
        ("0s", 0),
        ("300ms", 300),
        ("10s", 10_000),
        ("1.5m", 90_000),
        ("2 min", 120_000),
        ("1h", 3_600_000),
        ("365d", 31_536_000_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "10", "s", "-1s", "1e3s", "1y", "10 S"] {
        assert!(duration(text).unwrap_err().contains("such as 10s"), "{text}");
    }
    assert!(duration("366d").unwrap_err().contains("at most 365d"));
}

#[test]
fn names_that_do_not_exist_are_answered_with_those_that_do() {
    assert!(profile("three_wann").unwrap_err().contains("three_wan,"));
    assert!(scheduler("best").unwrap_err().contains("minrtt"));
    assert!(controller("vegas").unwrap_err().contains("cubic"));
    assert_eq!(scheduler("roundrobin").unwrap().name, "roundrobin");
    assert_eq!(controller("newreno").unwrap().name, "newreno");
    assert_eq!(profile("lte_geo").unwrap().links.len(), 2);
}

#[test]
fn more_links_than_a_connection_has_paths_are_refused() {
    let many = |n| vec!["1mbit/1ms"; n].join(",");
    assert_eq!(links(&many(16)).unwrap().0.len(), 16);
    assert!(links(&many(17)).unwrap_err().contains("at most 16"));
    assert!(links("50mbt/20ms").unwrap_err().contains("such as 50mbit"));
}
