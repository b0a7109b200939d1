//! `quicbond client`.

use crate::config;
use crate::config::InterfaceName;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  quicbond client up qb1...
      route everything through the server, over every link with a default route
  quicbond client up --token-file /etc/quicbond/token --link eth0 --link wwan0
      over these two links only; the token does not show in `ps`
  quicbond client socks --listen 127.0.0.1:1080 qb1...
      a SOCKS5 proxy instead: no root, no routes";

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Route this machine's traffic through the server, until Ctrl-C
    Up(Up),
    /// Stop a client, and put back what one that crashed has left behind
    Down(Down),
    /// Offer a SOCKS5 proxy whose connections use all links
    Socks(Socks),
}

/// Which server: three ways to say it.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct TokenSource {
    /// The token that the server printed; other users of this machine can see it in `ps`
    #[arg(value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    /// Configuration file [default: /etc/quicbond/client.toml, if it exists and there is no token]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// File that holds the token; `-` is the standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ClientFiles {
    /// Folder for what has to be put back after a crash [default: /run/quicbond]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Socket on which `quicbond status` asks [default: /run/quicbond/client.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) source: TokenSource,

    /// Interface to use; may be repeated [default: every interface with a default route]
    #[arg(long = "link", value_name = "IFNAME")]
    pub(crate) links: Vec<InterfaceName>,

    #[command(flatten)]
    pub(crate) files: ClientFiles,

    /// Carry TCP packet by packet instead of as streams
    #[arg(long)]
    pub(crate) no_tcp_lane: bool,

    /// Leave IPv6 as it is
    #[arg(long)]
    pub(crate) no_ipv6: bool,

    /// Log one JSON object per line, whatever the file says
    #[arg(long)]
    pub(crate) log_json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Down {
    /// Folder that the client was told to use
    #[arg(long, value_name = "DIR", default_value = config::STATE_DIR)]
    pub(crate) state_dir: PathBuf,

    /// Socket of the client
    #[arg(long, value_name = "PATH", default_value = config::CLIENT_CONTROL)]
    pub(crate) control: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Socks {
    /// Address and port of the proxy; it asks for no password, so keep it on this machine
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:1080")]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) source: TokenSource,

    /// Interface to use; may be repeated [default: every interface with a default route]
    #[arg(long = "link", value_name = "IFNAME")]
    pub(crate) links: Vec<InterfaceName>,

    /// Socket on which `quicbond status` asks [default: /run/quicbond/client.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}
