//! The binary `quicbond`: several Internet links as one.
//!
//! Owns the command line, files, printing and exit codes; everything that moves a packet is in the crates below.
//! Exit codes: 0 done, 1 a transfer failed, 2 the command line is wrong, 130 stopped with Ctrl-C.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "binaries read the clock: they measure")]

mod auth;
mod cli;
mod client;
mod config;
mod control;
mod daemon;
mod demo;
mod digest;
mod files;
mod flow;
mod host;
mod ip;
mod lab;
mod list;
mod lock;
mod logging;
mod meter;
mod output;
mod parse;
mod pattern;
mod perf;
mod relay;
#[cfg(test)]
mod scratch;
mod server;
mod setup;
mod tenants;
mod text;
mod token;
mod units;

use clap::Parser;
use cli::{Cli, ClientCommand, Command, ServerCommand};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Wrong arguments end here, on stderr and with exit code 2.
    match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Server { command: ServerCommand::Run(args) } => server::run(&args),
        Command::Server { command: ServerCommand::Init(args) } => setup::init(&args),
        Command::Server { command: ServerCommand::Tenant { command } } => setup::tenant(&command),
        Command::Client { command: ClientCommand::Up(args) } => client::up(&args),
        Command::Client { command: ClientCommand::Down(args) } => client::down(&args),
        Command::Client { command: ClientCommand::Socks(args) } => client::socks(&args),
        Command::Status(args) => control::run(&args),
        Command::Config { command } => config::run(&command),
        Command::Units { role } => units::run(role),
        Command::Lab(args) => lab::run(&args),
        Command::Perf { command } => perf::run(&command),
        Command::List { what } => list::run(what),
        Command::Guard(args) => lab::guard::run(&args),
    }
}
