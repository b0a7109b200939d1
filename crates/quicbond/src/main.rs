//! The binary `quicbond`: several Internet links as one.
//!
//! Owns the command line, files, printing and exit codes; everything that moves a packet is in the crates below.
//! Exit codes: 0 done, 1 a transfer failed, 2 the command line is wrong, 130 stopped with Ctrl-C.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "binaries read the clock: they measure")]

mod cli;
#[cfg_attr(not(test), expect(dead_code, reason = "the client does not run yet"))]
mod client;
mod demo;
mod list;
mod output;
mod parse;
mod relay;
mod text;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Wrong arguments end here, on stderr and with exit code 2.
    match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::List { what } => list::run(what),
    }
}
