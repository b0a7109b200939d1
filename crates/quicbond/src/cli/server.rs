//! `quicbond server`.

use crate::config;
use crate::token::{ServerAddress, TenantName};
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  quicbond server init --address vpn.example.org:443
      make key, configuration and a first token
  quicbond server run
      serve, until Ctrl-C
  quicbond server tenant add alice
      a token for somebody else";

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Make the server's key, its configuration and the token of a first tenant
    Init(Init),
    /// Serve, until Ctrl-C
    Run(Run),
    /// Add, remove or list those who may connect
    Tenant {
        #[command(subcommand)]
        command: TenantCommand,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Where clients find this server [default: this host's own address, port 443]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Option<ServerAddress>,

    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = config::CONFIG_DIR)]
    pub(crate) dir: PathBuf,

    /// Name of the first tenant
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) name: TenantName,

    /// Write a new configuration and new tenants over old ones; the key stays, so old pins still fit
    #[arg(long)]
    pub(crate) force: bool,

    /// Show the token as a QR code even if the output is no terminal
    #[arg(long, conflicts_with = "json")]
    pub(crate) qr: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = config::SERVER_FILE)]
    pub(crate) config: PathBuf,

    /// Log one JSON object per line, whatever the file says
    #[arg(long)]
    pub(crate) log_json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Let somebody in: prints the token
    Add {
        #[command(flatten)]
        tenant: Tenant,

        /// Where clients find this server [default: as the last token said]
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<ServerAddress>,

        /// Show the token as a QR code even if the output is no terminal
        #[arg(long, conflicts_with = "json")]
        qr: bool,

        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let somebody in no more
    Remove {
        #[command(flatten)]
        tenant: Tenant,
    },
    /// Show who may connect
    List {
        /// Configuration file of the server
        #[arg(long, value_name = "FILE", default_value = config::SERVER_FILE)]
        config: PathBuf,

        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Tenant {
    /// Configuration file of the server
    #[arg(long, value_name = "FILE", default_value = config::SERVER_FILE)]
    pub(crate) config: PathBuf,

    /// Name of the tenant
    pub(crate) name: TenantName,
}
