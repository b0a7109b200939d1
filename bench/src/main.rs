//! mpquic side by side with other QUIC stacks: same machine, same run, same job.
//!
//! A stack is one file in `stacks/` and one entry in its list; a test is one file in `tests/` and one entry in its list.
//! `rounds` runs every test with every stack in turn, client and server in processes of their own (this binary
//! again, in a hidden `role`), and `report` shows the medians. Loopback, no emulated links.

#![forbid(unsafe_code)]

mod apart;
mod host;
mod report;
mod role;
mod rounds;
mod stack;
mod stacks;
mod tests;

use apart::Executables;
use clap::{Args, Parser, Subcommand};
use report::Report;
use stack::Stack;
use std::process::ExitCode;
use tests::Test;

/// What every function here fails with: something to print.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser, Debug)]
#[command(name = "mpquic-bench", about = "mpquic side by side with other QUIC stacks")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// One connection, one stream, each direction.
    Bulk(Options),
    /// One connection, 100 streams at once, each direction.
    Streams(Options),
    /// One byte there and back, again and again.
    Latency(Options),
    /// Full handshakes, eight at a time.
    Handshakes(Options),
    /// Idle connections, and what each of them costs.
    Memory(Options),
    /// Every test.
    All(Options),
    /// One end of one round, for the parent process.
    #[command(hide = true)]
    Role(role::Job),
}

/// What a user may choose. Each test takes what concerns it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Bytes that a round of bulk or streams moves: a number, with kB, MB or GB behind it if you like (powers of ten).
    #[arg(long, default_value = "1GB", value_parser = parse_bytes)]
    bytes: u64,
    /// Round trips of a round of latency.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(10..))]
    trips: u64,
    /// Handshakes of a round of handshakes.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(8..))]
    handshakes: u64,
    /// Connections of a round of memory. A stack that cannot is tried once more with a tenth.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..))]
    connections: u64,
    /// Rounds of which the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..1000))]
    rounds: u32,
    /// Only these stacks.
    #[arg(long, value_delimiter = ',', value_parser = stacks::names())]
    stacks: Vec<String>,
    /// tquic too. It cannot be in one executable with the others, so one for it is built first, by cargo; that takes
    /// cmake, a C++ compiler and some minutes. `--stacks ...,tquic` does the same.
    #[arg(long)]
    with_tquic: bool,
    /// One line of JSON at the end.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// What stands apart takes part only if it is asked for.
    fn want(&self, stack: &Stack) -> bool {
        let named = self.stacks.iter().any(|name| name == stack.name);
        let all = self.stacks.is_empty() && !stacks::is_apart(stack.name);
        named || all || (self.with_tquic && stack.name == stacks::TQUIC)
    }
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Bulk(options) => compare(tests::BULK, &options),
        Command::Streams(options) => compare(tests::STREAMS, &options),
        Command::Latency(options) => compare(tests::LATENCY, &options),
        Command::Handshakes(options) => compare(tests::HANDSHAKES, &options),
        Command::Memory(options) => compare(tests::MEMORY, &options),
        Command::All(options) => compare(&tests::all().collect::<Vec<_>>(), &options),
        Command::Role(job) => role::run(&job),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Fails only if not one round of all worked.
fn compare(tests: &[&'static Test], options: &Options) -> Result<(), Failure> {
    let executables = Executables::ready(options)?;
    let mut report = Report::begin();
    rounds::run(tests, options, &executables, &mut report);
    report.end();
    print!("{report}");
    if options.json {
        println!("{}", report.json());
    }
    if report.is_empty() { Err("nothing could be measured".into()) } else { Ok(()) }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("unknown unit {other:?}")),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{digits:?}: {error}"))?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "not a size".to_owned())
}

#[cfg(test)]
#[test]
fn tquic_takes_part_when_it_is_built_in_or_asked_for() {
    let wanted = |arguments: &[&str]| {
        let cli = Cli::parse_from(["mpquic-bench", "bulk"].iter().chain(arguments));
        let Command::Bulk(options) = cli.command else { unreachable!("bulk was asked for") };
        let names = stacks::ALL.iter().filter(|stack| options.want(stack)).map(|stack| stack.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(wanted(&[]).contains(&"tquic"), cfg!(feature = "tquic"));
    assert!(wanted(&[]).contains(&"mpquic"));
    assert_eq!(wanted(&["--with-tquic"]), stacks::names());
    assert_eq!(wanted(&["--stacks", "mpquic"]), ["mpquic"]);
    assert_eq!(wanted(&["--stacks", "mpquic,tquic"]), ["mpquic", "tquic"]);
    assert_eq!(wanted(&["--stacks", "limit", "--with-tquic"]), ["tquic", "limit"]);
}

#[cfg(test)]
#[test]
fn sizes_are_read_with_and_without_units() {
    assert_eq!(parse_bytes("1500"), Ok(1500));
    assert_eq!(parse_bytes("2GB"), Ok(2_000_000_000));
    assert!(parse_bytes("3 parsecs").is_err());
    assert!(parse_bytes("0").is_err());
}
