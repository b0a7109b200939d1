//! What the command line looks like and what `--help` teaches: one file per command.
//!
//! Values that need nothing but themselves are read here, by the functions of `parse`; what depends on another option
//! (a cut's link) or on the disk (the file) is checked by the command.

mod client;
mod demo;
mod operate;
mod perf;
mod server;

pub(crate) use client::{ClientCommand, ClientFiles, Down, Socks, TokenSource, Up};
pub(crate) use demo::{DemoArgs, Links, Ways, wrong_cut, wrong_value};
pub(crate) use operate::{ConfigCommand, Role, StatusArgs};
pub(crate) use perf::{Choices, PerfClient, PerfCommand, PerfServer};
pub(crate) use server::{Init, Run, ServerCommand, Tenant, TenantCommand};

use crate::lab;
use clap::{Parser, Subcommand, ValueEnum};

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
    #[command(long_about = demo::ABOUT, after_long_help = demo::EXAMPLES, after_help = "--help says more and has examples.")]
    Demo(Box<DemoArgs>),
    /// Be the other end of bonded links: set up, run, let tenants in
    #[command(after_help = server::EXAMPLES)]
    Server {
        #[command(subcommand)]
        command: ServerCommand,
    },
    /// Bond this machine's links to a server
    #[command(after_help = client::EXAMPLES)]
    Client {
        #[command(subcommand)]
        command: ClientCommand,
    },
    /// Show what the running client or server is doing
    Status(StatusArgs),
    /// Check a configuration file, or print one with every key at its default
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the systemd unit of a role
    Units {
        /// Whose unit; without it, both
        role: Option<Role>,
    },
    /// Run a command in a little Internet of emulated links, with quicbond on both sides of them
    #[command(long_about = lab::ABOUT, after_long_help = lab::EXAMPLES, after_help = "--help says more and has examples.")]
    Lab(Box<lab::LabArgs>),
    /// Measure what a connection carries between two machines
    #[command(long_about = perf::ABOUT, after_help = perf::EXAMPLES)]
    Perf {
        #[command(subcommand)]
        command: PerfCommand,
    },
    /// Show what --scheduler, --cc and --profile accept
    List {
        /// Which list
        what: What,
    },
    /// What the lab's children are started through
    #[command(name = "__guard", hide = true)]
    Guard(lab::guard::GuardArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Schedulers,
    Controllers,
    Profiles,
}
