//! What `quicbond lab` takes, and what its `--help` teaches.

use crate::cli::{Cli, Links};
use crate::parse;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, ValueEnum};
use mpquic_sim::profile::Profile;
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const ABOUT: &str = "\
Run a command in a little Internet of emulated links, with quicbond on both sides of them.

The lab makes four hosts out of network namespaces: a LAN host in which the command runs, a router, the Internet with a \
server, and a target. Between router and Internet lie links with rates, delays, jitter and loss like those of fibre, LTE \
and Starlink. The server runs `quicbond server`, the router `quicbond client`, and all traffic of the LAN host takes the \
tunnel over all links. It needs root, and nothing of it remains when it ends, however it ends.

The names `target`, `target4` and `target6` are the target's (198.51.100.10, 2001:db8:1::10); there are
  http://target/500MB        any size of reproducible data (also 10MiB, 1000), also as HEAD
  http://target/500MB.sha256 its SHA-256
  http://target/upload       takes PUT and POST, answers with the size and SHA-256 of what came
  port 7                     echo, TCP and UDP
  port 53                    DNS, which is the LAN host's resolver";

pub(crate) const EXAMPLES: &str = "\
Examples:
  quicbond lab --profile baseline -- curl -o /dev/null http://target/500MB
      one download over two links of 50 Mbit/s
  quicbond lab --cut fibre@3s-8s -- curl -o /dev/null http://target/200MB
      the same over fibre, LTE and Starlink, with the fibre unplugged for five seconds
  quicbond lab --no-tunnel --single lte -- ping -c 5 target
      what the LTE link alone is like, without quicbond
  quicbond lab --links a=50mbit/20ms,b=50mbit/40ms --plug b@5s
      a shell in the LAN host; the second link appears after five seconds

What is measured (--json, the last line on stdout):
  goodput_mbps     what reached the LAN host (or left it, if that was more), less 66 bytes for the headers of each packet,
                   from the first data to the last; in host mode what crossed the links, headers included
  longest_gap_ms   the longest time between the first data and the last in which no data came in that direction, sampled
                   every 5 ms; less than 128 bytes in a sample is no data
  links            what crossed each link, headers included, and what was dropped on it
All times, those of --cut, --plug and --unplug as well, count from the start of the command.

Exit codes: that of the command; 125 the lab failed, 2 the command line is wrong, 130 stopped with Ctrl-C.";

#[derive(Args, Debug)]
pub(crate) struct LabArgs {
    /// A ready-made set of links [default: three_wan; see `quicbond list profiles`]
    #[arg(long, value_name = "NAME", value_parser = parse::profile)]
    pub(crate) profile: Option<Profile>,

    /// Links to emulate: `[NAME=]RATE/DELAY[±JITTER][/LOSS]`, with commas between
    #[arg(long, value_name = "LINKS", conflicts_with = "profile", value_parser = parse::links)]
    pub(crate) links: Option<Links>,

    /// One link that is not emulated, called wire: how fast can it go at all?
    #[arg(long, conflicts_with_all = ["profile", "links", "cut", "plug", "unplug", "single"])]
    pub(crate) unshaped: bool,

    /// Cut a link for a while, such as fibre@3s-8s; may be repeated
    #[arg(long, value_name = "LINK@FROM-TO")]
    pub(crate) cut: Vec<String>,

    /// Plug in a link only then, such as lte@5s; may be repeated
    #[arg(long, value_name = "LINK@TIME")]
    pub(crate) plug: Vec<String>,

    /// Pull out a link: its device is deleted; may be repeated
    #[arg(long, value_name = "LINK@TIME")]
    pub(crate) unplug: Vec<String>,

    /// Use this link only; the others are never plugged in
    #[arg(long, value_name = "LINK", conflicts_with_all = ["plug"])]
    pub(crate) single: Option<String>,

    /// Do without quicbond: traffic takes the fastest link, or that of --single
    #[arg(long)]
    pub(crate) no_tunnel: bool,

    /// What quicbond is to the command
    #[arg(long, value_name = "MODE", default_value = "lan")]
    pub(crate) mode: Mode,

    /// Seed of everything random on the links
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Print what was measured as one JSON object, the last line on stdout
    #[arg(long)]
    pub(crate) json: bool,

    /// Write what server and client say to DIR/server.log and DIR/client.log
    #[arg(long, value_name = "DIR")]
    pub(crate) keep_logs: Option<PathBuf>,

    /// What to run in the LAN host [default: a shell]
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The command's router has the client and tunnels everything
    Lan,
    /// The command runs on the host that has the client and the links
    Host,
    /// The router offers a SOCKS proxy; ALL_PROXY and its kin are set for the command
    Socks,
}

/// A value that turned out to be wrong after the command line was read, said in clap's words.
pub(super) fn wrong_value(option: &str, value: &str, why: &str) -> clap::Error {
    let mut cli = Cli::command();
    cli.build();
    let message = format!("invalid value '{value}' for '{option}': {why}");
    match cli.find_subcommand_mut("lab") {
        Some(lab) => lab.error(ErrorKind::ValueValidation, message),
        None => cli.error(ErrorKind::ValueValidation, message),
    }
}
