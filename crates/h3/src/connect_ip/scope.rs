//! What a tunnel is asked for: the variables of the URI template (RFC 9484 §4.6).

use super::{Invalid, PROTOCOL, Prefix};
use crate::connect_udp::connect_request;
use crate::percent;
use http::Request;
use std::net::IpAddr;

/// RFC 9484 §3: the default template's path.
const PREFIX: &str = "/.well-known/masque/ip/";
const ANY: &str = "*";

/// Which hosts a tunnel is to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Any,
    Prefix(Prefix),
    /// The proxy resolves it.
    Name(String),
}

/// What a tunnel is to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub target: Target,
    /// One protocol number only; ICMP is always allowed.
    pub protocol: Option<u8>,
}

impl Scope {
    /// Everything, to everywhere.
    pub const ANY: Self = Self { target: Target::Any, protocol: None };

    /// The path of the default template, filled in.
    ///
    /// # Errors
    /// If the name is none.
    pub fn path(&self) -> Result<String, Invalid> {
        let mut path = String::from(PREFIX);
        match &self.target {
            Target::Any => path.push_str(ANY),
            Target::Prefix(prefix) => {
                percent::encode(&prefix.address().to_string(), &mut path);
                if !prefix.is_host() {
                    percent::encode(&format!("/{}", prefix.len()), &mut path);
                }
            }
            Target::Name(name) if percent::is_name(name) && name != ANY => percent::encode(name, &mut path),
            Target::Name(_) => return Err(Invalid("not a host name")),
        }
        let protocol = self.protocol.map_or_else(|| ANY.to_owned(), |protocol| protocol.to_string());
        path.push_str(&format!("/{protocol}/"));
        Ok(path)
    }

    /// Understands a path of the default template.
    ///
    /// # Errors
    /// If its variables are not as they have to be, or it is of another template.
    pub fn parse(path: &str) -> Result<Self, Invalid> {
        let rest = path.strip_prefix(PREFIX).ok_or(Invalid("not the path of the default template"))?;
        let mut parts = rest.split('/');
        let (Some(target), Some(protocol), Some(""), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid("not a target and a protocol between slashes"));
        };
        let target = percent::decode(target).ok_or(Invalid("the target is encoded wrongly"))?;
        let protocol = percent::decode(protocol).ok_or(Invalid("the protocol is encoded wrongly"))?;
        Ok(Self { target: parse_target(target)?, protocol: parse_protocol(&protocol)? })
    }

    /// The request to a proxy at `authority`.
    ///
    /// # Errors
    /// If the scope or the authority cannot be named.
    pub fn request(&self, authority: &str) -> Result<Request<()>, Invalid> {
        connect_request(PROTOCOL, authority, &self.path()?)
    }
}

fn parse_target(text: String) -> Result<Target, Invalid> {
    if text == ANY {
        return Ok(Target::Any);
    }
    if let Some((address, len)) = text.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| Invalid("a prefix of what is no address"))?;
        let digits = if address.is_ipv4() { 2 } else { 3 };
        let len = number(len, digits).ok_or(Invalid("a prefix length that is no number"))?;
        return Prefix::new(address, len).map(Target::Prefix);
    }
    match text.parse() {
        Ok(address) => Ok(Target::Prefix(Prefix::host(address))),
        Err(_) if percent::is_name(&text) => Ok(Target::Name(text)),
        Err(_) => Err(Invalid("neither an address nor a name")),
    }
}

fn parse_protocol(text: &str) -> Result<Option<u8>, Invalid> {
    if text == ANY {
        return Ok(None);
    }
    number(text, 3).map(Some).ok_or(Invalid("a protocol that is not between 0 and 255"))
}

/// RFC 9484 §4.6: one to `digits` decimal digits.
fn number(text: &str, digits: usize) -> Option<u8> {
    let fits = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| fits)
}
