//! What the options ask for, with everything checked and filled in.

use super::args::{LabArgs, Mode, wrong_value};
use crate::list::DEFAULT_PROFILE;
use mpquic_base::Duration;
use mpquic_sim::link::Schedule;
use mpquic_sim::profile::{Cut, Moment, NamedLink, Profile};
use std::ffi::OsString;
use std::path::PathBuf;

/// Linux: IFNAMSIZ is 16, the final zero included.
const LONGEST_NAME: usize = 15;
/// Devices that exist on the hosts at both ends of the links besides the links.
const TAKEN: [&str; 4] = ["lo", "lan", "to-target", "all"];
/// The link of `--unshaped`.
pub(super) const WIRE: &str = "wire";

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) wires: Wires,
    pub(super) tunnel: bool,
    pub(super) mode: Mode,
    pub(super) json: bool,
    pub(super) logs: Option<PathBuf>,
    pub(super) command: Vec<OsString>,
}

/// What lies between the router and the Internet.
#[derive(Clone, Debug)]
pub(super) enum Wires {
    Plain,
    Emulated(Box<Emulated>),
}

#[derive(Clone, Debug)]
pub(super) struct Emulated {
    pub(super) profile: Profile,
    pub(super) seed: u64,
    /// Per link, the name of its device.
    pub(super) devices: Vec<String>,
    /// Plugged in from the beginning.
    pub(super) first: Vec<usize>,
    /// Later, in the order of time.
    pub(super) events: Vec<(Duration, Event)>,
    /// The link that traffic takes without a tunnel.
    pub(super) favourite: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Plug(usize),
    Unplug(usize),
}

impl Plan {
    pub(super) fn new(args: &LabArgs) -> Result<Self, clap::Error> {
        let wires =
            if args.unshaped { Wires::Plain } else { Wires::Emulated(Box::new(Emulated::new(args)?)) };
        Ok(Self {
            wires,
            tunnel: !args.no_tunnel,
            mode: args.mode,
            json: args.json,
            logs: args.keep_logs.clone(),
            command: args.command.clone(),
        })
    }
}

impl Emulated {
    fn new(args: &LabArgs) -> Result<Self, clap::Error> {
        let mut profile = match (&args.profile, &args.links) {
            (Some(profile), _) => profile.clone(),
            (None, Some(links)) => custom(links.0.clone()),
            (None, None) => Profile::find(DEFAULT_PROFILE).unwrap_or_else(|| custom(Vec::new())),
        };
        for text in &args.cut {
            let cut = Cut::parse(text, &profile.links)
                .map_err(|e| wrong_value("--cut <LINK@FROM-TO>", text, &e.to_string()))?;
            profile.schedule = cut.on(profile.schedule);
        }
        let plugs = moments("--plug <LINK@TIME>", &args.plug, &profile.links)?;
        let unplugs = moments("--unplug <LINK@TIME>", &args.unplug, &profile.links)?;
        let mut first: Vec<usize> =
            (0..profile.links.len()).filter(|i| plugs.iter().all(|plug| plug.link != *i)).collect();
        let mut favourite = fastest(&profile.links);
        if let Some(name) = &args.single {
            favourite = NamedLink::find(name, &profile.links)
                .map_err(|e| wrong_value("--single <LINK>", name, &e.to_string()))?;
            first = vec![favourite];
        }
        let mut events: Vec<(Duration, Event)> = plugs.iter().map(|m| (m.at, Event::Plug(m.link))).collect();
        events.extend(unplugs.iter().map(|m| (m.at, Event::Unplug(m.link))));
        events.sort_by_key(|&(at, _)| at);
        let devices = devices(&profile.links)?;
        Ok(Self { profile, seed: args.seed, devices, first, events, favourite })
    }
}

fn custom(links: Vec<NamedLink>) -> Profile {
    Profile { name: "custom", about: "", links, neck: None, schedule: Schedule::new() }
}

fn moments(option: &str, texts: &[String], links: &[NamedLink]) -> Result<Vec<Moment>, clap::Error> {
    let read =
        |text: &String| Moment::parse(text, links).map_err(|e| wrong_value(option, text, &e.to_string()));
    texts.iter().map(read).collect()
}

/// The link with the highest rate; of equal ones that with the lowest delay, of those the first.
fn fastest(links: &[NamedLink]) -> usize {
    let rank = |&i: &usize| (links[i].spec.down.rate, core::cmp::Reverse(links[i].spec.down.delay));
    (0..links.len()).rev().max_by_key(rank).unwrap_or(0)
}

/// A device per link, called like it as far as Linux allows.
fn devices(links: &[NamedLink]) -> Result<Vec<String>, clap::Error> {
    let mut names: Vec<String> = Vec::new();
    for link in links {
        let name: String = link.name.chars().take(LONGEST_NAME).collect();
        if TAKEN.contains(&name.as_str()) || names.contains(&name) {
            let why = format!(
                "no device can be called {name:?}, because another one is; give the link another name"
            );
            return Err(wrong_value("--links <LINKS>", &link.name, &why));
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
