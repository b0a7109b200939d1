//! `quicbond status`, `quicbond config` and `quicbond units`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Ask again every second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,

    /// Print JSON: one object per answer and line
    #[arg(long)]
    pub(crate) json: bool,

    /// Socket to ask on [default: those of client and server in /run/quicbond]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Name every wrong line of a configuration file, and what would be right
    Check {
        /// The file
        file: PathBuf,

        /// Whose file it is [default: what its contents look like]
        #[arg(long, value_name = "ROLE")]
        role: Option<Role>,
    },
    /// Print a configuration file with every key at its default, explained
    Defaults {
        /// Whose file; without it, both
        role: Option<Role>,

        /// Print the reference page of both files instead
        #[arg(long, hide = true)]
        markdown: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Server,
    Client,
}
