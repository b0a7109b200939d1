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
    let mut failed = 0u32;
    for seed in seeds.clone() {
        match std::panic::catch_unwind(|| mpquic_sim::random::run(seed)) {
            Ok(report) if seeds.end - seeds.start == 1 => println!("{report:?}"),
            Ok(_) => {}
            Err(_) => {
                failed += 1;
                println!(
                    "seed {seed} FAILED; replay: cargo run -p mpquic-sim --example worlds -- --seed {seed}"
                );
            }
        }
    }
    println!("{} worlds, {failed} failed", seeds.end - seeds.start);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
