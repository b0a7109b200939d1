//! `quicbond perf`.

use crate::parse;
use clap::{Args, Subcommand};
use core::time::Duration;
use mpquic::Fingerprint;
use mpquic::policy::Entry;
use mpquic::policy::cc::Controller;
use mpquic::policy::sched::Scheduler;
use std::net::SocketAddr;

pub(super) const ABOUT: &str = "\
Measure what one multipath QUIC connection carries between two machines.

The server waits for tests and prints the line to start a client with. The client connects over one or more of its \
addresses, moves data over any number of streams, and prints what arrived, interval by interval, with the CPU time of \
both ends. No tunnel, no root.";

pub(super) const EXAMPLES: &str = "\
Examples:
  quicbond perf server
      wait for tests on UDP port 5210, until Ctrl-C
  quicbond perf client vps.example.org:5210 --pin HASH
      upload for ten seconds; the server has printed HASH
  quicbond perf client vps.example.org:5210 --pin HASH --reverse --path eth0 --path wwan0
      download over two links at once
  quicbond perf client vps.example.org:5210 --pin HASH --bytes 1GB --streams 16 --bidir --json | tail -n 1
      both ways at once, one line of JSON for scripts";

#[derive(Debug, Subcommand)]
pub(crate) enum PerfCommand {
    /// Wait for tests, one at a time, until Ctrl-C
    ///
    /// Whoever reaches the port can run a test: leave it running only as long as you measure.
    Server(PerfServer),
    /// Run a test against a server
    Client(Box<PerfClient>),
}

#[derive(Args, Debug)]
pub(crate) struct PerfServer {
    /// Where to wait; may be repeated [default: UDP port 5210 of all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Vec<SocketAddr>,

    /// End after one test
    #[arg(long)]
    pub(crate) once: bool,

    /// Print one JSON object per line: first where the server waits and its pin, then each test
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) choices: Choices,
}

#[derive(Args, Debug)]
pub(crate) struct PerfClient {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    pub(crate) server: String,

    /// The hash of the server's key, as the server printed it
    #[arg(long, value_name = "HASH", value_parser = parse::fingerprint)]
    pub(crate) pin: Fingerprint,

    /// Move so much each way, and end
    #[arg(long, value_name = "SIZE", value_parser = parse::size, conflicts_with = "seconds")]
    pub(crate) bytes: Option<u64>,

    /// Move data for so long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,

    /// Streams at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) streams: u16,

    /// The server sends, the client receives
    #[arg(long)]
    pub(crate) reverse: bool,

    /// Both send at once
    #[arg(long, conflicts_with = "reverse")]
    pub(crate) bidir: bool,

    /// A local address or interface to run a path over; may be repeated [default: as the routing table says]
    #[arg(long, value_name = "ADDR|IFNAME")]
    pub(crate) path: Vec<String>,

    /// Time between two lines
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse::duration)]
    pub(crate) interval: Duration,

    /// Print the result as one JSON object, the last line on stdout; the rest goes to stderr
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) choices: Choices,
}

/// What either end may choose for what it sends.
#[derive(Args, Debug)]
pub(crate) struct Choices {
    /// How packets are spread over the paths [see `quicbond list schedulers`]
    #[arg(long, value_name = "NAME", value_parser = parse::scheduler)]
    pub(crate) scheduler: Option<&'static Entry<dyn Scheduler>>,

    /// Congestion controller [see `quicbond list controllers`]
    #[arg(long, value_name = "NAME", value_parser = parse::controller)]
    pub(crate) cc: Option<&'static Entry<dyn Controller>>,
}
