//! What the options ask for, with everything checked and filled in.

use super::payload::{Payload, Source};
use crate::cli::{self, DemoArgs, Ways};
use crate::list::DEFAULT_PROFILE;
use crate::parse::MAX_LINKS;
use crate::text;
use core::fmt;
use mpquic::TransportConfig;
use mpquic_base::{Duration, Rate};
use mpquic_sim::link::{Effect, LinkSpec, Schedule, Way, When};
use mpquic_sim::profile::{Cut, Profile};

/// What a set of links given by `--links` is called.
const CUSTOM: &str = "custom";
/// A comparison that would take no longer than this sends all of the data.
const SHORT: Duration = Duration::from_secs(3);
/// A comparison is stopped after this long.
pub(crate) const COMPARE_LIMIT: Duration = Duration::from_secs(8);

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The links, the bottleneck they may share, and everything that happens to them.
    pub(crate) profile: Profile,
    pub(crate) directions: Vec<Direction>,
    pub(crate) payload: Payload,
    pub(crate) transport: TransportConfig,
    pub(crate) seed: u64,
    pub(crate) json: bool,
    pub(crate) compare: bool,
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Plan {
    pub(crate) fn new(args: &DemoArgs) -> Result<Self, clap::Error> {
        let mut profile = chosen_profile(args)?;
        for text in &args.cut {
            let cut = Cut::parse(text, &profile.links).map_err(|e| cli::wrong_cut(text, &e.to_string()))?;
            profile.schedule = cut.on(profile.schedule);
        }
        let mut transport = TransportConfig {
            max_paths: u8::try_from(profile.links.len().clamp(2, MAX_LINKS)).unwrap_or(u8::MAX),
            ..TransportConfig::default()
        };
        if let Some(scheduler) = args.scheduler {
            transport.set_scheduler(scheduler);
        }
        if let Some(controller) = args.cc {
            transport.set_controller(controller);
        }
        let directions = match args.direction {
            Ways::Up => vec![Direction::Up],
            Ways::Down => vec![Direction::Down],
            Ways::Both => vec![Direction::Down, Direction::Up],
        };
        Ok(Self {
            compare: !args.no_compare && profile.links.len() > 1,
            profile,
            directions,
            payload: chosen_payload(args)?,
            transport,
            seed: args.seed,
            json: args.json,
        })
    }

    /// What the links carry together at the most, headers included.
    pub(crate) fn capacity(&self, direction: Direction) -> Rate {
        let rate = |i: usize| self.rate(i, direction).bytes_per_second();
        let count = self.profile.links.len();
        let Some(neck) = &self.profile.neck else {
            return Rate::from_bytes_per_second((0..count).map(rate).sum());
        };
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..count).partition(|i| neck.links.contains(i));
        let neck_rate = rate_of(&neck.spec, direction).bytes_per_second();
        let inside = inside.into_iter().map(rate).sum::<u64>().min(neck_rate);
        Rate::from_bytes_per_second(inside + outside.into_iter().map(rate).sum::<u64>())
    }

    pub(crate) fn rate(&self, link: usize, direction: Direction) -> Rate {
        rate_of(&self.profile.links[link].spec, direction)
    }

    /// The link with the highest rate; of equal ones the one with the lowest delay.
    pub(crate) fn best_link(&self, direction: Direction) -> usize {
        let rank = |&i: &usize| (self.rate(i, direction), core::cmp::Reverse(self.delay(i)));
        // `max_by_key` takes the last of equals, and the first link is the natural one.
        (0..self.profile.links.len()).rev().max_by_key(rank).unwrap_or(0)
    }

    pub(crate) fn delay(&self, link: usize) -> Duration {
        let spec = &self.profile.links[link].spec;
        spec.up.delay + spec.down.delay
    }

    /// How much of the data the comparison over `link` alone sends: all of it if that is quick, else a quarter or
    /// three seconds' worth, whichever is more, and never more than the time limit allows.
    pub(crate) fn compare_bytes(&self, link: usize, direction: Direction) -> u64 {
        let rate = self.rate(link, direction);
        let all = self.payload.bytes;
        (all / 4).max(rate.bytes_in(SHORT)).min(rate.bytes_in(COMPARE_LIMIT)).clamp(1, all)
    }

    /// The same links with only `link` left, and nothing happening to it.
    pub(crate) fn alone(&self, link: usize) -> Profile {
        let mut profile = self.profile.clone();
        profile.links = vec![profile.links.swap_remove(link)];
        profile.schedule = Schedule::new();
        profile.neck = profile.neck.filter(|neck| neck.links.contains(&link)).map(|mut neck| {
            neck.links = vec![0];
            neck
        });
        profile
    }

    /// Cuts that would have begun after `end`: what a reader of the table should know.
    pub(crate) fn cuts_after(&self, end: Duration) -> Vec<String> {
        let late =
            self.profile.schedule.faults.iter().filter_map(|fault| match (fault.when, &fault.effect) {
                (When::Between(from, _), Effect::Cut) if from >= end => Some((fault.link, from)),
                _ => None,
            });
        late.map(|(link, from)| {
            let name = &self.profile.links[link].name;
            format!("the cut of {name} at {} s never came: the data was through before", from.as_secs_f64())
        })
        .collect()
    }
}

impl Direction {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    pub(crate) const fn way(self) -> Way {
        match self {
            Self::Up => Way::Up,
            Self::Down => Way::Down,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.profile.name, self.profile.about)?;
        let row = |(i, link): (usize, &mpquic_sim::profile::NamedLink)| {
            vec![(i + 1).to_string(), link.name.clone(), text::link(&link.spec)]
        };
        let rows: Vec<Vec<String>> = self.profile.links.iter().enumerate().map(row).collect();
        f.write_str(&text::columns(&rows, &[true], "  "))?;
        if let Some(neck) = &self.profile.neck {
            let rate = text::mbps(text::mbps_of_rate(neck.spec.down.rate));
            writeln!(f, "  behind them one bottleneck of {rate}")?;
        }
        writeln!(
            f,
            "Controller {}, scheduler {}, seed {}. Emulated on this machine; nothing leaves it.",
            self.transport.controller.name, self.transport.scheduler.name, self.seed
        )
    }
}

fn rate_of(spec: &LinkSpec, direction: Direction) -> Rate {
    spec.direction(direction.way()).rate
}

fn chosen_profile(args: &DemoArgs) -> Result<Profile, clap::Error> {
    if let Some(links) = &args.links {
        let (links, schedule) = (links.0.clone(), Schedule::new());
        return Ok(Profile { name: CUSTOM, about: "links of your own", links, neck: None, schedule });
    }
    if let Some(profile) = &args.profile {
        return Ok(profile.clone());
    }
    Profile::find(DEFAULT_PROFILE).ok_or_else(|| {
        cli::wrong_value("--profile <NAME>", DEFAULT_PROFILE, "the default profile is missing")
    })
}

fn chosen_payload(args: &DemoArgs) -> Result<Payload, clap::Error> {
    let Some(path) = &args.file else {
        return Ok(Payload { source: Source::Generated { seed: args.seed }, bytes: args.size });
    };
    let wrong = |why: &str| cli::wrong_value("--file <PATH>", &path.display().to_string(), why);
    let about = std::fs::metadata(path)
        .and_then(|about| std::fs::File::open(path).map(|_| about))
        .map_err(|e| wrong(&format!("{e}; name a file that can be read")))?;
    if !about.is_file() {
        return Err(wrong("this is no regular file; name a file that can be read"));
    }
    if about.len() == 0 {
        return Err(wrong("the file is empty; name a file with something in it"));
    }
    Ok(Payload { source: Source::File(path.clone()), bytes: about.len() })
}

#[cfg(test)]
mod tests;
