use super::{pem, rfc3339};

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (1_735_689_600, "2025-01-01T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(rfc3339(seconds), text);
    }
}

#[test]
fn pem_has_short_lines_between_its_marks() {
    let text = pem("THING", &[0xff; 100]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("-----BEGIN THING-----", "-----END THING-----"));
    assert!(lines.iter().all(|line| line.len() <= 64), "{text}");
    assert_eq!(lines[1..lines.len() - 1].concat().len(), 136);
}
