use super::{LinkMoment, Moment, View};
use crate::output::Output;
use mpquic_base::Duration;
use std::collections::VecDeque;

fn view(live: bool) -> View {
    View {
        to: Output::Stderr,
        live,
        title: "down".to_owned(),
        names: vec!["fibre".to_owned(), "lte".to_owned()],
        total: 10_000_000,
        recent: VecDeque::new(),
        drawn: 0,
    }
}

/// Bytes over two links by a time in milliseconds, all of it delivered.
fn moment(ms: u64, fibre: u64, lte: u64) -> Moment {
    let link = |bytes| LinkMoment { bytes, state: if bytes == 0 { "silent" } else { "up" } };
    Moment { at: Duration::from_millis(ms), received: fibre + lte, links: vec![link(fibre), link(lte)] }
}

#[test]
fn without_a_terminal_each_moment_is_one_plain_line() {
    let mut view = view(false);
    let first = view.render(moment(1000, 750_000, 250_000));
    assert_eq!(first, "down 1.0 s: 10 %, 8.0 Mbit/s | fibre 6.0 (75 %) | lte 2.0 (25 %)\n");
    let second = view.render(moment(2000, 2_750_000, 250_000));
    assert_eq!(second, "down 2.0 s: 30 %, 16.0 Mbit/s | fibre 16.0 (100 %) | lte 0.0 (0 %)\n");
}

#[test]
fn a_link_that_is_not_up_says_so() {
    let line = view(false).render(moment(1000, 1000, 0));
    assert!(line.contains("lte 0.0 (0 %, silent)"), "{line}");
}

#[test]
fn rates_are_averages_over_the_last_second() {
    let mut view = view(false);
    let mut line = String::new();
    // 1 MB in the first two seconds, 100 kB in each tenth of a second after that.
    for i in 0..=30u64 {
        let bytes = 1_000_000 + i.saturating_sub(20) * 100_000;
        line = view.render(moment(i * 100, bytes, 1));
    }
    assert!(line.contains("8.0 Mbit/s"), "{line}");
    assert!(view.recent.len() <= 12, "old moments are forgotten");
}

#[test]
fn on_a_terminal_the_lines_are_drawn_over_their_predecessors() {
    let mut view = view(true);
    let first = view.render(moment(100, 5_000_000, 0));
    assert_eq!(first.matches('\n').count(), 3, "a title and two links");
    assert!(!first.contains("\x1b[3A"));
    let second = view.render(moment(200, 6_000_000, 0));
    assert!(second.starts_with("\x1b[3A\x1b[2Kdown"), "{second:?}");
    assert!(second.contains("60 %"), "{second:?}");
    assert!(second.contains("100 %  ████████████████████████  up"), "{second:?}");
}

#[test]
fn the_first_instant_divides_by_nothing() {
    let line = view(false).render(moment(0, 0, 0));
    assert_eq!(line, "down 0.0 s: 0 %, 0.0 Mbit/s | fibre 0.0 (0 %, silent) | lte 0.0 (0 %, silent)\n");
}
