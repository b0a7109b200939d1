//! Runs random worlds: `cargo run -p mpquic-sim --example worlds -- --seed 17`, or `--seeds 0..2000`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seeds = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--seed", seed] => seed.parse::<u64>().ok().map(|s| s..s + 1),
        ["--seeds", range] => {
            range.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?))
        }
        _ => None,
    };
    let Some(seeds) = seeds else {
        eprintln!("usage: worlds --seed N | --seeds FROM..TO");
        return ExitCode::from(2);
    };
    let count = seeds.end - seeds.start;
    if count == 1 {
        println!("{:?}", mpquic_sim::random::run(seeds.start));
        return ExitCode::SUCCESS;
    }
    let failed = mpquic_sim::random::run_all(seeds);
    failed.iter().for_each(|replay| println!("FAILED; replay: {replay}"));
    println!("{count} worlds, {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
