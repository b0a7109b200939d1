//! How fast tunnels are at all: one unshaped veth pair, no emulation, each tunnel in turn.
//!
//! `world` is the hosts and their processes, `ways` the list of ways over the link, `load` what iperf3 and the CPU
//! counters say about one of them, `report` the medians. Needs root. Everything lives in namespaces without names, held
//! by the processes of this run only: nothing remains, whatever ends it.

#![forbid(unsafe_code)]

mod load;
mod peer;
mod report;
mod ways;
mod world;

use clap::Parser;
use load::{Direction, Load};
use report::Report;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use ways::{WAYS, Way};

/// What every function here fails with: something to print.
pub(crate) type Failure = Box<dyn core::error::Error + Send + Sync>;

/// quicbond side by side with boringtun and the bare link: throughput and CPU
#[derive(Parser, Clone, Debug)]
#[command(name = "tunnel-bench", args_override_self = true)]
pub(crate) struct Options {
    /// Rounds of which the median is shown; the ways take turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..1000))]
    rounds: u32,
    /// Length of one measurement over TCP; a rate over UDP takes half as long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..1000))]
    seconds: u32,
    /// Only these ways
    #[arg(long, value_delimiter = ',', value_parser = WAYS.map(|way| way.name))]
    ways: Vec<String>,
    /// Rates to offer over UDP, in Mbit/s; none at all leaves UDP out
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "100,200,400,800,1600")]
    udp: Vec<u32>,
    /// quicbond to measure [default: built from this tree]
    #[arg(long, value_name = "PATH")]
    quicbond: Option<PathBuf>,
    /// boringtun-cli to measure [default: in PATH, else installed from crates.io into the cache]
    #[arg(long, value_name = "PATH")]
    boringtun: Option<PathBuf>,
    /// Where to install boringtun-cli
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers"))]
    cache: PathBuf,
    /// One line of JSON at the end
    #[arg(long)]
    json: bool,
    /// The namespaces are there
    #[arg(long, hide = true)]
    inside: bool,
}

/// The programs of one run.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) quicbond: PathBuf,
    pub(crate) boringtun: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.inside { measure(&options) } else { enter(&options) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn ways(&self) -> impl Iterator<Item = &'static Way> + '_ {
        WAYS.iter().filter(|way| self.ways.is_empty() || self.ways.iter().any(|name| name == way.name))
    }
}

/// Finds or makes the programs, then becomes `unshare`, which runs this program again in namespaces of its own. The kernel
/// ends everything in them together with it.
fn enter(options: &Options) -> Result<(), Failure> {
    if fs::read_to_string("/proc/self/status")?.lines().any(|l| l.starts_with("Uid:") && !l.contains("\t0\t"))
    {
        return Err("network namespaces and TUN devices need root".into());
    }
    let programs = programs(options)?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg("--inside");
    for (name, path) in [("--quicbond", programs.quicbond), ("--boringtun", programs.boringtun)] {
        // What is not measured was not looked for.
        if path.is_file() {
            command.arg(name).arg(path);
        }
    }
    Err(format!("cannot start unshare (util-linux): {}", command.exec()).into())
}

/// Programs that nobody measures are not looked for.
fn programs(options: &Options) -> Result<Programs, Failure> {
    let wants = |peer: bool| options.ways().any(|way| way.is_tunnel && way.is_peer == peer);
    let quicbond = match &options.quicbond {
        Some(path) => path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?,
        None if wants(false) => peer::build_quicbond()?,
        None => PathBuf::new(),
    };
    let boringtun = match &options.boringtun {
        Some(path) => path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?,
        None if wants(true) => peer::boringtun(&options.cache)?,
        None => PathBuf::new(),
    };
    Ok(Programs { quicbond, boringtun })
}

fn measure(options: &Options) -> Result<(), Failure> {
    let programs = Programs {
        quicbond: options.quicbond.clone().unwrap_or_default(),
        boringtun: options.boringtun.clone().unwrap_or_default(),
    };
    // The names of network namespaces and the sockets of daemons live there.
    world::run("mount", "-t tmpfs tmpfs /run")?;
    let mut report = Report::new(load_average());
    for round in 1..=options.rounds {
        for way in options.ways() {
            eprintln!("round {round} of {}: {} (load {})", options.rounds, way.name, load_average());
            measure_way(way, options, &programs, &mut report)
                .map_err(|error| format!("{}: {error}", way.name))?;
        }
    }
    report.loads.push(load_average());
    println!("{report}");
    if options.json {
        println!("{}", report.json());
    }
    Ok(())
}

/// One way in both directions, in a world of its own.
fn measure_way(
    way: &'static Way,
    options: &Options,
    programs: &Programs,
    report: &mut Report,
) -> Result<(), Failure> {
    let running = way.start(programs)?;
    for direction in [Direction::Up, Direction::Down] {
        if way.tcp {
            let load = Load::Tcp { seconds: options.seconds };
            report.add(way, direction, load::run(&running, load, direction)?);
        }
        for &mbps in options.udp.iter().filter(|_| way.udp) {
            let load = Load::Udp { mbps, seconds: options.seconds.div_ceil(2).max(2) };
            let measured = load::run(&running, load, direction)?;
            let hopeless = measured.mbps < f64::from(mbps) / 2.0;
            report.add(way, direction, measured);
            if hopeless {
                break;
            }
        }
    }
    Ok(())
}

/// Over the last minute, as the kernel counts it.
fn load_average() -> String {
    let text = fs::read_to_string(Path::new("/proc/loadavg")).unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
