//! The token: everything that a client needs to know about its server, in one line to copy.
//!
//! `qb1` and base64url (no padding) of: layout version, length and text of the host, port, SHA-256 of the server's public
//! key, length and text of the tenant's name, the tenant's secret, and the first four bytes of the SHA-256 of all that, so
//! that a slip in copying is told as such. Owns names of tenants and secrets too; knows neither files nor connections.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use core::fmt;
use mpquic::Fingerprint;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// In front of every token of this layout.
const PREFIX: &str = "qb1";
/// What tokens of every layout begin with.
const FAMILY: &str = "qb";
const VERSION: u8 = 1;
const CHECK_LEN: usize = 4;
/// RFC 1035 §2.3.4: a name has at most 255 octets, 253 characters in print.
const HOST_MAX: usize = 253;
const TENANT_MAX: usize = 64;
/// The port of a server that did not say otherwise: that of HTTPS.
pub(crate) const DEFAULT_PORT: u16 = 443;
/// A token with the longest host and tenant has less than 600 characters; more is something else.
const TEXT_MAX: usize = 1024;

/// What a client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) server: ServerAddress,
    /// Of the server's public key.
    pub(crate) pin: Fingerprint,
    pub(crate) tenant: TenantName,
    pub(crate) secret: Secret,
}

impl Token {
    /// The text to copy. It holds the secret, so there is no `Display` that a log could call by accident.
    pub(crate) fn encoded(&self) -> String {
        let mut bytes = vec![VERSION];
        put_text(&mut bytes, &self.server.host);
        bytes.extend(self.server.port.to_be_bytes());
        bytes.extend(self.pin.0);
        put_text(&mut bytes, self.tenant.as_str());
        bytes.extend(self.secret.expose());
        let check = check(&bytes);
        bytes.extend(check);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Blanks and line ends within the text are ignored: terminals and mails wrap.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > TEXT_MAX {
            return Err(TokenError::NotAToken);
        }
        let text: String = text.split_whitespace().collect();
        let Some(body) = text.strip_prefix(PREFIX) else {
            let newer =
                text.strip_prefix(FAMILY).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            return Err(if newer { TokenError::Newer } else { TokenError::NotAToken });
        };
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Damaged)?;
        let (content, sum) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(TokenError::Damaged)?;
        if check(content) != *sum {
            return Err(TokenError::Damaged);
        }
        let mut rest = Bytes(content);
        if rest.array::<1>()? != [VERSION] {
            return Err(TokenError::Newer);
        }
        let host = rest.text()?.to_owned();
        let port = u16::from_be_bytes(rest.array()?);
        let pin = Fingerprint(rest.array()?);
        let tenant = rest.text()?.parse().map_err(|_| TokenError::Senseless)?;
        let secret = Secret(rest.array()?);
        let server = ServerAddress::new(host, port).map_err(|_| TokenError::Senseless)?;
        if rest.0.is_empty() { Ok(Self { server, pin, tenant, secret }) } else { Err(TokenError::Senseless) }
    }
}

/// A text that is no token, in words for the person who pasted it. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenError {
    NotAToken,
    Damaged,
    Newer,
    /// The sum is right and the content is not: no program of ours has written it.
    Senseless,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAToken => {
                "this is no token: it has to begin with qb1; `quicbond server init` and `quicbond \
                                server tenant add` print one"
            }
            Self::Damaged => "the token is damaged or a part of it is missing: copy the whole line again",
            Self::Newer => "the token was made by a newer quicbond: update this one",
            Self::Senseless => "the token is complete but makes no sense: have the server make a new one",
        })
    }
}

impl core::error::Error for TokenError {}

/// The host, a DNS name or an address, and the UDP port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// `host` may be an IPv6 address without brackets.
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Result<Self, String> {
        let host = host.into();
        if port == 0 {
            return Err("port 0 cannot be connected to; write 1 to 65535".to_owned());
        }
        if host.parse::<IpAddr>().is_err() && !is_dns_name(&host) {
            return Err(format!("{host:?} is neither an address nor the name of a host"));
        }
        Ok(Self { host, port })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is not a name.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    /// `HOST`, `HOST:PORT`, `[V6]:PORT` or `V6`; the port is 443 if there is none.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write HOST or HOST:PORT, such as vpn.example.org:443 or [2001:db8::1]:443".to_owned();
        if text.parse::<Ipv6Addr>().is_ok() {
            return Self::new(text, DEFAULT_PORT);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| wrong()))?;
        Self::new(host, port).map_err(|error| format!("{error}; {}", wrong()))
    }
}

fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // All digits in the last label would be an address with a slip in it.
    let last_is_number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= HOST_MAX && host.split('.').all(label) && !last_is_number
}

/// The name of a tenant: 1 to 64 letters, digits, `.`, `_` and `-`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TenantName(String);

impl TenantName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if first && text.len() <= TENANT_MAX && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "a name has 1 to {TENANT_MAX} letters, digits, dots, underscores or hyphens and begins with a letter or digit"
        ))
    }
}

/// What only a tenant and the server know. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// A new one from the operating system's randomness.
    pub(crate) fn random() -> Result<Self, String> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes".to_owned())?;
        Ok(Self(bytes))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// As the file of tenants keeps it.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        Some(Self(STANDARD.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    // Hosts and tenants were checked to be shorter than 256.
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend(text.as_bytes());
}

fn check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let hash = digest::digest(&digest::SHA256, bytes);
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&hash.as_ref()[..CHECK_LEN]);
    check
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(TokenError::Senseless)?;
        self.0 = rest;
        Ok(*array)
    }

    fn text(&mut self) -> Result<&'a str, TokenError> {
        let [len] = self.array::<1>()?;
        let (text, rest) = self.0.split_at_checked(usize::from(len)).ok_or(TokenError::Senseless)?;
        self.0 = rest;
        core::str::from_utf8(text).map_err(|_| TokenError::Senseless)
    }
}

#[cfg(test)]
pub(crate) mod tests;
