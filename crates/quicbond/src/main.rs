//! The binary `quicbond`: several Internet links as one.
//!
//! Owns the command line, files, printing and exit codes; everything that moves a packet is in the crates below.
//! Exit codes: 0 done, 1 a transfer failed, 2 the command line is wrong, 130 stopped with Ctrl-C.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "binaries read the clock: they measure")]

mod cli;
mod demo;
mod digest;
mod lab;
mod list;
mod output;
mod parse;
mod pattern;
mod text;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Wrong arguments end here, on stderr and with exit code 2.
    match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::List { what } => list::run(what),
        Command::Guard(args) => lab::guard::run(&args),
    }
}
