use super::{Alone, LinkReport, Report, Verdict, json};
use crate::demo::payload::Hasher;
use crate::demo::plan::Direction;
use mpquic_base::{Duration, Rate};
use serde_json::{Value, json as value};

fn link(name: &str, mbit: u64, share: f64) -> LinkReport {
    LinkReport {
        name: name.to_owned(),
        rate: Rate::from_bits_per_second(mbit * 1_000_000),
        bytes: (share * 1e8) as u64,
        share,
        srtt: Duration::from_micros(16_400),
        lost: 12,
        packets: 1200,
        mtu: 1452,
        state: "up",
    }
}

fn report() -> Report {
    Report {
        direction: Direction::Down,
        bytes: 100_000_000,
        time: Duration::from_secs(10),
        capacity: Rate::from_bits_per_second(100_000_000),
        longest_gap: Duration::from_micros(23_456),
        verdict: Verdict::Verified(Hasher::new().finish()),
        links: vec![link("fibre", 60, 0.6), link("lte", 40, 0.4)],
        best: None,
        notes: Vec::new(),
    }
}

#[test]
fn the_json_is_one_line_and_has_exactly_the_promised_shape() {
    let line = json("three_wan", &[report()]);
    assert_eq!(line.matches('\n').count(), 1);
    let expected = value!({
        "profile": "three_wan",
        "runs": [{
            "direction": "down", "bytes": 100_000_000, "seconds": 10.0, "goodput_mbps": 80.0, "capacity_mbps": 100.0,
            "efficiency": 0.8, "best_link_mbps": null, "longest_gap_ms": 23.456, "sha256_ok": true,
            "links": [
                {"name": "fibre", "bytes": 60_000_000, "share": 0.6, "srtt_ms": 16.4, "lost_packets": 12,
                 "mtu": 1452, "state": "up"},
                {"name": "lte", "bytes": 40_000_000, "share": 0.4, "srtt_ms": 16.4, "lost_packets": 12,
                 "mtu": 1452, "state": "up"},
            ],
        }],
    });
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
}

#[test]
fn only_a_verified_digest_counts_as_right() {
    let mut report = report();
    let (sent, mut other) = (Hasher::new().finish(), Hasher::new());
    other.update(b"x");
    for verdict in [
        Verdict::Stopped,
        Verdict::Failed("lost".to_owned()),
        Verdict::Wrong { sent, received: other.finish() },
    ] {
        report.verdict = verdict;
        let json: Value = serde_json::from_str(&json("custom", &[report.clone()])).unwrap();
        assert_eq!(json["runs"][0]["sha256_ok"], false);
    }
    assert!(report.table().contains("WRONG: sent e3b0c442"));
}

#[test]
fn the_table_says_everything() {
    let mut report = report();
    report.best = Some(Alone {
        name: "fibre".to_owned(),
        bytes: 25_000_000,
        whole: 100_000_000,
        time: Duration::from_secs(4),
        stopped: true,
    });
    report.notes.push("look out".to_owned());
    let table = report.table();
    for part in [
        "down: 100.0 MB in 10.00 s",
        "fibre  60.0 Mbit/s  60.0 MB  60.0 %  16.4 ms  12 (1.0 %)  1452  up",
        "goodput            80.0 Mbit/s",
        "sum of capacities  100.0 Mbit/s",
        "efficiency         80.0 %   (packet headers leave at most 95.6 %",
        "longest gap        23 ms",
        "SHA-256            verified, e3b0c44298fc1c14...",
        "best link alone    50.0 Mbit/s   (fibre, undisturbed, 25.0 MB of 100.0 MB in 4.0 s, then stopped): together 1.60 times that",
        "note: look out",
    ] {
        assert!(table.contains(part), "{part:?} is not in:\n{table}");
    }
}

#[test]
fn a_transfer_that_never_began_has_a_table_too() {
    let nothing = Report { bytes: 0, time: Duration::ZERO, capacity: Rate::ZERO, ..report() };
    assert!(nothing.table().contains("0 B in 0.00 s"));
    let json: Value = serde_json::from_str(&json("custom", &[nothing])).unwrap();
    assert_eq!(
        (&json["runs"][0]["goodput_mbps"], &json["runs"][0]["efficiency"]),
        (&value!(0.0), &value!(0.0))
    );
}
