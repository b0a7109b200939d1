//! What the command line looks like and what `--help` teaches.
//!
//! Values that need nothing but themselves are read here, by the functions of `parse`; what depends on another option
//! (a cut's link) or on the disk (the file) is checked by the command.

use crate::{lab, parse};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use mpquic::policy::Entry;
use mpquic::policy::cc::Controller;
use mpquic::policy::sched::Scheduler;
use mpquic_sim::profile::{NamedLink, Profile};
use std::path::PathBuf;

/// Several Internet links as one, over multipath QUIC
#[derive(Debug, Parser)]
#[command(name = "quicbond", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start with: quicbond demo")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch one transfer use several links at once, on this machine alone
    #[command(long_about = DEMO_ABOUT, after_long_help = DEMO_EXAMPLES, after_help = "--help says more and has examples.")]
    Demo(Box<DemoArgs>),
    /// Run a command in a little Internet of emulated links, with quicbond on both sides of them
    #[command(long_about = lab::ABOUT, after_long_help = lab::EXAMPLES, after_help = "--help says more and has examples.")]
    Lab(Box<lab::LabArgs>),
    /// Show what --scheduler, --cc and --profile accept
    List {
        /// Which list
        what: What,
    },
    /// What the lab's children are started through
    #[command(name = "__guard", hide = true)]
    Guard(lab::guard::GuardArgs),
}

const DEMO_ABOUT: &str = "\
Watch one transfer use several links at once, on this machine alone.

A client and a server run in this process. Between them lie emulated links with rates, delays, jitter and loss like \
those of fibre, LTE and Starlink. One connection with one stream sends data over all of them, down and then up; the \
receiver checks the SHA-256. At the end there is a table, and the same transfer over the best link alone to compare \
with. It needs no root, no configuration and no second machine, and nothing leaves the loopback interface.";

const DEMO_EXAMPLES: &str = "\
Examples:
  quicbond demo
      fibre, LTE and Starlink, 200 MB each way: about 15 seconds
  quicbond demo --cut fibre@1s-3s --direction down
      unplug the fibre after one second, plug it in again two seconds later
  quicbond demo --links 50mbit/20ms,50mbit/40ms/0.5% --size 50MB
      two links of your own: rate, one-way delay, loss
  quicbond demo --links dsl=16mbit/15ms,lte=40mbit/35±8ms/0.5% --size 20MB
      with names, and with jitter of 8 ms
  quicbond demo --file video.mp4 --direction up
      send a real file and check that it arrives unharmed
  quicbond demo --profile lte_geo --scheduler roundrobin --json | tail -n 1
      one line of JSON for scripts; `quicbond list profiles` shows the profiles

Exit codes: 0 all data arrived and is right, 1 it did not, 2 the command line is wrong, 130 stopped with Ctrl-C.";

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Send this file instead of generated data; the receiver only hashes it
    #[arg(long, value_name = "PATH", conflicts_with = "size")]
    pub(crate) file: Option<PathBuf>,

    /// How much data to send each way, such as 500kB, 200MB or 1GiB
    #[arg(long, value_name = "SIZE", default_value = "200MB", value_parser = parse::size)]
    pub(crate) size: u64,

    /// Links to emulate: `[NAME=]RATE/DELAY[±JITTER][/LOSS]`, with commas between
    ///
    /// The delay is one-way, and both directions of a link are alike. `+-` does for `±`.
    /// Links without a name are called a, b, c and so on.
    #[arg(long, value_name = "LINKS", conflicts_with = "profile", value_parser = parse::links)]
    pub(crate) links: Option<Links>,

    /// A ready-made set of links [default: three_wan; see `quicbond list profiles`]
    #[arg(long, value_name = "NAME", value_parser = parse::profile)]
    pub(crate) profile: Option<Profile>,

    /// Which way the data goes: down is from the server to the client
    #[arg(long, value_name = "WAY", default_value = "both")]
    pub(crate) direction: Ways,

    /// How packets are spread over the links [see `quicbond list schedulers`]
    #[arg(long, value_name = "NAME", value_parser = parse::scheduler)]
    pub(crate) scheduler: Option<&'static Entry<dyn Scheduler>>,

    /// Congestion controller [see `quicbond list controllers`]
    #[arg(long, value_name = "NAME", value_parser = parse::controller)]
    pub(crate) cc: Option<&'static Entry<dyn Controller>>,

    /// Cut a link for a while, counted from the start of each transfer, such as fibre@3s-8s; may be repeated
    ///
    /// LINK is the name of a link or its number, from 1.
    #[arg(long, value_name = CUT_VALUE)]
    pub(crate) cut: Vec<String>,

    /// Seed of the generated data and of everything random on the links
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Print the result as one JSON object, the last line on stdout; the rest goes to stderr
    #[arg(long)]
    pub(crate) json: bool,

    /// Leave out the transfer over the best link alone
    #[arg(long)]
    pub(crate) no_compare: bool,
}

/// The links of `--links`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Links(pub(crate) Vec<NamedLink>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ways {
    Up,
    Down,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Schedulers,
    Controllers,
    Profiles,
}

const CUT_VALUE: &str = "LINK@FROM-TO";

/// A value that turned out to be wrong after the command line was read, said in clap's words.
pub(crate) fn wrong_value(option: &str, value: &str, why: &str) -> clap::Error {
    let mut cli = Cli::command();
    cli.build();
    let message = format!("invalid value '{value}' for '{option}': {why}");
    match cli.find_subcommand_mut("demo") {
        Some(demo) => demo.error(ErrorKind::ValueValidation, message),
        None => cli.error(ErrorKind::ValueValidation, message),
    }
}

pub(crate) fn wrong_cut(value: &str, why: &str) -> clap::Error {
    wrong_value(&format!("--cut <{CUT_VALUE}>"), value, why)
}
