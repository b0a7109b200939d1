//! What an endpoint is told: the runner's environment variables, as values.

use crate::Failure;
use crate::case::Case;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Where the runner puts things and expects things.
const CERTS: &str = "/certs";
const WWW: &str = "/www";
const DOWNLOADS: &str = "/downloads";
/// Where the runner expects the server.
const PORT: u16 = 443;

/// What one run of an endpoint is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub case: Case,
    /// The folder with `cert.pem` and `priv.key`.
    pub certs: PathBuf,
    /// The server's files.
    pub www: PathBuf,
    /// Where the client puts what it got.
    pub downloads: PathBuf,
    /// What the client is to get.
    pub requests: Vec<Url>,
    /// A server: where it listens, all of these. A client: where it finds the server, whatever the URLs say.
    pub addresses: Vec<SocketAddr>,
    /// Where the secrets of handshakes go.
    pub key_log: Option<PathBuf>,
}

/// One file to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub host: String,
    pub port: u16,
    /// With its leading slash.
    pub path: String,
}

impl Options {
    /// For `case`, with the runner's folders and ports and nothing to get.
    #[must_use]
    pub fn new(case: Case) -> Self {
        Self {
            case,
            certs: CERTS.into(),
            www: WWW.into(),
            downloads: DOWNLOADS.into(),
            requests: Vec::new(),
            addresses: Vec::new(),
            key_log: None,
        }
    }

    /// As the runner means them: `variable` looks up `REQUESTS`, `CERTS`, `WWW`, `DOWNLOADS`, `SSLKEYLOGFILE`, and `IP`
    /// and `PORT`, which the runner does not set.
    ///
    /// # Errors
    /// If one cannot be understood.
    pub fn from_environment(case: Case, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let mut options = Self::new(case);
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        for (name, folder) in
            [("CERTS", &mut options.certs), ("WWW", &mut options.www), ("DOWNLOADS", &mut options.downloads)]
        {
            if let Some(value) = set(name) {
                *folder = value.into();
            }
        }
        options.key_log = set("SSLKEYLOGFILE").map(PathBuf::from);
        let requests = set("REQUESTS").unwrap_or_default();
        options.requests = requests.split_whitespace().map(Url::parse).collect::<Result<_, _>>()?;
        let wrong = |name, value: &str| Failure::new(name, format_args!("{value:?} is no such thing"));
        let port = match set("PORT") {
            Some(text) => Some(text.parse::<u16>().map_err(|_| wrong("PORT", &text))?),
            None => None,
        };
        if let Some(text) = set("IP") {
            let ip: IpAddr = text.parse().map_err(|_| wrong("IP", &text))?;
            options.addresses = vec![SocketAddr::new(ip, port.unwrap_or(PORT))];
        } else if let Some(port) = port {
            options.addresses = everywhere(port);
        }
        Ok(options)
    }

    /// Where a server listens that was not told.
    pub(crate) fn listen(&self) -> Vec<SocketAddr> {
        if self.addresses.is_empty() { everywhere(PORT) } else { self.addresses.clone() }
    }
}

/// Both families: the server of one case is to be reached at its IPv6 address.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

impl Url {
    /// Reads `https://HOST[:PORT]/PATH`.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::new("request", format_args!("{text:?} is not https://HOST[:PORT]/PATH"));
        let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
        let slash = rest.find('/').ok_or_else(wrong)?;
        let (authority, path) = rest.split_at(slash);
        // The colons of an IPv6 address are in brackets.
        let after = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after..].find(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after + colon);
                (host, port[1..].parse().map_err(|_| wrong())?)
            }
            None => (authority, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests;
