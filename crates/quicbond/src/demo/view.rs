//! The view while a transfer runs: redrawn in place on a terminal, a plain line per second anywhere else.
//!
//! Knows text and terminals; what it shows comes as [`Moment`]s.

use crate::output::Output;
use crate::text;
use core::fmt::Write as _;
use mpquic_base::Duration;
use std::collections::VecDeque;

/// Shown rates are averages over this long.
const WINDOW: Duration = Duration::from_secs(1);
const LIVE_PERIOD: Duration = Duration::from_millis(100);
const PLAIN_PERIOD: Duration = Duration::from_secs(1);
/// Characters of the bars.
const PROGRESS_BAR: usize = 32;
const LINK_BAR: usize = 24;

/// A transfer at one instant.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// Since the transfer began.
    pub(crate) at: Duration,
    /// Delivered to the receiving application.
    pub(crate) received: u64,
    pub(crate) links: Vec<LinkMoment>,
}

#[derive(Clone, Debug)]
pub(crate) struct LinkMoment {
    /// Arrived over this link, headers included.
    pub(crate) bytes: u64,
    pub(crate) state: &'static str,
}

/// One transfer on the screen.
#[derive(Debug)]
pub(crate) struct View {
    to: Output,
    live: bool,
    title: String,
    names: Vec<String>,
    total: u64,
    recent: VecDeque<Moment>,
    /// Lines on the screen that the next drawing replaces.
    drawn: usize,
}

impl View {
    pub(crate) fn new(to: Output, title: &str, names: Vec<String>, total: u64) -> Self {
        let (title, live) = (title.to_owned(), to.is_terminal());
        Self { to, live, title, names, total, recent: VecDeque::new(), drawn: 0 }
    }

    /// How often to draw.
    pub(crate) fn period(&self) -> Duration {
        if self.live { LIVE_PERIOD } else { PLAIN_PERIOD }
    }

    pub(crate) fn draw(&mut self, now: Moment) {
        let text = self.render(now);
        self.to.write(&text);
    }

    /// Takes the live lines away again: the table replaces them.
    pub(crate) fn clear(&mut self) {
        if self.drawn > 0 {
            self.to.write(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn render(&mut self, now: Moment) -> String {
        while self.recent.len() > 1 && self.recent[1].at + WINDOW <= now.at {
            self.recent.pop_front();
        }
        let text = if self.live { self.block(&now) } else { self.line(&now) };
        self.recent.push_back(now);
        text
    }

    /// What is drawn over its predecessor.
    fn block(&mut self, now: &Moment) -> String {
        let (rate, links) = self.rates(now);
        let sum: f64 = links.iter().sum();
        let done = share(now.received as f64, self.total as f64);
        let mut lines = vec![format!(
            "{}  {}  {:>3.0} %  {} of {}  {}  {:.1} s",
            self.title,
            bar(done, PROGRESS_BAR),
            done * 100.0,
            text::bytes(now.received),
            text::bytes(self.total),
            text::mbps(rate),
            now.at.as_secs_f64()
        )];
        let width = self.names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
        for ((name, link), rate) in self.names.iter().zip(&now.links).zip(links) {
            let part = share(rate, sum);
            lines.push(format!(
                "  {name:<width$}  {:>13}  {:>3.0} %  {}  {}",
                text::mbps(rate),
                part * 100.0,
                bar(part, LINK_BAR),
                link.state
            ));
        }
        let mut out = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        for line in &lines {
            // Writing to a String cannot fail.
            writeln!(out, "\x1b[2K{line}").ok();
        }
        self.drawn = lines.len();
        out
    }

    fn line(&self, now: &Moment) -> String {
        let (rate, links) = self.rates(now);
        let sum: f64 = links.iter().sum();
        let done = share(now.received as f64, self.total as f64);
        let mut out = format!(
            "{} {:.1} s: {:.0} %, {}",
            self.title,
            now.at.as_secs_f64(),
            done * 100.0,
            text::mbps(rate)
        );
        for ((name, link), rate) in self.names.iter().zip(&now.links).zip(links) {
            let state = if link.state == "up" { String::new() } else { format!(", {}", link.state) };
            write!(out, " | {name} {rate:.1} ({:.0} %{state})", share(rate, sum) * 100.0).ok();
        }
        out.push('\n');
        out
    }

    /// Megabits per second within the window: of the application's data, and of each link.
    fn rates(&self, now: &Moment) -> (f64, Vec<f64>) {
        let Some(before) = self.recent.front() else {
            let rate = |bytes| text::mbps_of(bytes, now.at);
            return (rate(now.received), now.links.iter().map(|link| rate(link.bytes)).collect());
        };
        let time = now.at.saturating_sub(before.at);
        let rate = |new: u64, old: u64| text::mbps_of(new.saturating_sub(old), time);
        let links = now.links.iter().zip(&before.links).map(|(new, old)| rate(new.bytes, old.bytes));
        (rate(now.received, before.received), links.collect())
    }
}

/// `part` of `whole`, from 0 to 1; nothing of nothing is 0.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

fn bar(share: f64, width: usize) -> String {
    let full = ((share * width as f64).round() as usize).min(width);
    format!("{}{}", "█".repeat(full), "·".repeat(width - full))
}

#[cfg(test)]
mod tests;
