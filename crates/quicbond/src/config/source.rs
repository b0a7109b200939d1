//! A client's configuration from its command line: a token, a file with a token, or a configuration file.

use super::kind::Interface;
use super::{CLIENT_FILE, Client, load, text_of};
use crate::cli::{ClientFiles, Socks, TokenSource, Up};
use crate::token::Token;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// More than any token with line ends around it.
const TOKEN_FILE_MAX: u64 = 4096;

/// The name of an interface on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceName(String);

impl FromStr for InterfaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let valid = Interface::is_valid(text);
        valid.then(|| Self(text.to_owned())).ok_or_else(|| "no interface can have this name".to_owned())
    }
}

impl Up {
    /// The configuration that these words ask for, and the token in it. Words win over the file.
    pub(crate) fn config(&self) -> Result<(Client, Token), String> {
        let mut config = from(&self.source)?;
        config.tcp_lane &= !self.no_tcp_lane;
        config.ipv6 &= !self.no_ipv6;
        if self.log_json {
            config.log.format = "json";
        }
        set_links(&mut config, &self.links);
        self.files.apply(&mut config);
        with_token(config)
    }
}

impl Socks {
    /// The configuration that these words ask for, and the token in it. Words win over the file.
    pub(crate) fn config(&self) -> Result<(Client, Token), String> {
        let mut config = from(&self.source)?;
        set_links(&mut config, &self.links);
        if let Some(control) = &self.control {
            config.control.clone_from(control);
        }
        with_token(config)
    }
}

impl ClientFiles {
    fn apply(&self, config: &mut Client) {
        if let Some(folder) = &self.state_dir {
            config.state_dir.clone_from(folder);
        }
        if let Some(control) = &self.control {
            config.control.clone_from(control);
        }
    }
}

fn set_links(config: &mut Client, links: &[InterfaceName]) {
    if !links.is_empty() {
        config.links = links.iter().map(|name| name.0.clone()).collect();
        config.exclude.clear();
    }
}

fn from(source: &TokenSource) -> Result<Client, String> {
    let mut config = Client::default();
    if let Some(text) = &source.token {
        config.token = Some(text.parse().map_err(|error| format!("{error}"))?);
    } else if let Some(path) = &source.token_file {
        config.token_file = Some(path.clone());
    } else if let Some(path) = &source.config {
        config = load(path).map_err(|problems| problems.to_string())?;
    } else if Path::new(CLIENT_FILE).exists() {
        config = load(Path::new(CLIENT_FILE)).map_err(|problems| problems.to_string())?;
    } else {
        return Err(format!(
            "there is no token: give the one that the server printed, or put it into {CLIENT_FILE}"
        ));
    }
    Ok(config)
}

fn with_token(mut config: Client) -> Result<(Client, Token), String> {
    let token = match (&config.token, &config.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(path)) => token_in(path)?,
        (None, None) => return Err("the configuration has neither token nor token_file; add one".to_owned()),
    };
    config.token = Some(token.clone());
    Ok((config, token))
}

fn token_in(path: &Path) -> Result<Token, String> {
    let name = path.display();
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().lock().take(TOKEN_FILE_MAX).read_to_string(&mut text);
        read.map_err(|error| format!("the token cannot be read from the standard input: {error}"))?;
        text
    } else {
        text_of(path).map_err(|why| format!("{name}: {why}"))?
    };
    text.parse().map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests;
