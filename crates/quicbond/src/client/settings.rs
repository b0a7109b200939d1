//! What a client is told: from the command line, a configuration file, or a file with a token.

use crate::cli::{ClientFiles, Socks, TokenSource, Up};
use crate::config::{self, InterfaceName};
use crate::logging;
use crate::token::Token;
use std::io::Read;
use std::path::{Path, PathBuf};

/// No token is longer.
const TOKEN_MAX: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) token: Token,
    pub(crate) config: config::Client,
    /// `None`: nobody can ask for the status.
    pub(crate) control: Option<PathBuf>,
}

impl Settings {
    /// Also starts the log.
    pub(super) fn of_up(args: &Up) -> Result<Self, String> {
        let mut settings = Self::of(&args.source, &args.links)?;
        let ClientFiles { state_dir, control } = &args.files;
        let config = &mut settings.config;
        config.tcp_lane &= !args.no_tcp_lane;
        config.ipv6 &= !args.no_ipv6;
        if let Some(folder) = state_dir {
            config.state_dir = folder.clone();
            // Whoever moves one moves the other, unless told otherwise.
            config.control = folder.join("client.sock");
        }
        if let Some(path) = control {
            config.control = path.clone();
        }
        if args.log_json {
            config.log.format = "json";
        }
        settings.control = Some(settings.config.control.clone());
        logging::start(&settings.config.log)?;
        Ok(settings)
    }

    /// Also starts the log. Users without privileges have no place for a control socket unless they name one.
    pub(super) fn of_socks(args: &Socks) -> Result<Self, String> {
        let mut settings = Self::of(&args.source, &args.links)?;
        settings.control = args.control.clone();
        logging::start(&settings.config.log)?;
        Ok(settings)
    }

    fn of(source: &TokenSource, links: &[InterfaceName]) -> Result<Self, String> {
        let mut config = match &source.config {
            Some(path) => load(path)?,
            None if source.token.is_none() && source.token_file.is_none() => load(Path::new(config::CLIENT_FILE))
                .map_err(|why| format!("there is no token, and {why}. Try: quicbond client up TOKEN"))?,
            None => config::Client::default(),
        };
        let text = match (&source.token, &source.token_file, &config.token_file) {
            (Some(token), _, _) => Some(token.clone()),
            (None, Some(path), _) | (None, None, Some(path)) => Some(read_token(path)?),
            (None, None, None) => None,
        };
        let token = match (text, config.token.take()) {
            (Some(text), _) => text.trim().parse().map_err(|error| format!("{error}"))?,
            (None, Some(token)) => token,
            (None, None) => return Err("the configuration has no token: set token or token_file".to_owned()),
        };
        if !links.is_empty() {
            config.links = links.iter().map(ToString::to_string).collect();
        }
        Ok(Self { token, config, control: None })
    }
}

fn load(path: &Path) -> Result<config::Client, String> {
    config::load::<config::Client>(path).map_err(|problems| problems.to_string())
}

fn read_token(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(TOKEN_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| format!("the token in {}: {error}", path.display()))?;
    Ok(text)
}
