//! CONNECT-UDP (RFC 9298): the request that names a target, in both directions.

use crate::capsule;
use crate::head::Protocol;
use crate::percent;
use core::fmt;
use http::{Method, Request, Uri};
use std::net::IpAddr;

/// The value of `:protocol`.
pub const PROTOCOL: &str = "connect-udp";
/// RFC 9298 §4: the context id of UDP payloads.
pub const CONTEXT: u64 = 0;

/// RFC 9298 §2: the default template's path.
const PREFIX: &str = "/.well-known/masque/udp/";

/// A path or target that does not name what it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for Invalid {}

/// A host by address or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Ip(IpAddr),
    Name(String),
}

/// Where UDP payloads go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

impl Target {
    /// The path of the default template, filled in.
    ///
    /// # Errors
    /// If the name or port cannot be named.
    pub fn path(&self) -> Result<String, Invalid> {
        if self.port == 0 {
            return Err(Invalid("UDP has no port 0"));
        }
        let mut path = String::from(PREFIX);
        match &self.host {
            Host::Ip(address) => percent::encode(&address.to_string(), &mut path),
            Host::Name(name) if percent::is_name(name) => percent::encode(name, &mut path),
            Host::Name(_) => return Err(Invalid("not a host name")),
        }
        path.push_str(&format!("/{}/", self.port));
        Ok(path)
    }

    /// Understands a path of the default template.
    ///
    /// # Errors
    /// If it names no host or port, or is of another template.
    pub fn parse(path: &str) -> Result<Self, Invalid> {
        let rest = path.strip_prefix(PREFIX).ok_or(Invalid("not the path of the default template"))?;
        let mut parts = rest.split('/');
        let (Some(host), Some(port), Some(""), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid("not a host and a port between slashes"));
        };
        let host = percent::decode(host).ok_or(Invalid("the host is encoded wrongly"))?;
        let port = percent::decode(port).ok_or(Invalid("the port is encoded wrongly"))?;
        let digits = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
        let port = port.ok_or(Invalid("the port is not between 1 and 65535"))?;
        let host = match host.parse() {
            Ok(address) => Host::Ip(address),
            Err(_) if percent::is_name(&host) => Host::Name(host),
            Err(_) => return Err(Invalid("not a host")),
        };
        Ok(Self { host, port })
    }

    /// The request to a proxy at `authority`.
    ///
    /// # Errors
    /// If the target or the authority cannot be named.
    pub fn request(&self, authority: &str) -> Result<Request<()>, Invalid> {
        connect_request(PROTOCOL, authority, &self.path()?)
    }
}

/// An extended CONNECT whose data stream is made of capsules.
pub(crate) fn connect_request(protocol: &str, authority: &str, path: &str) -> Result<Request<()>, Invalid> {
    let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
    let uri = uri.map_err(|_| Invalid("not an authority"))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = uri;
    request.headers_mut().insert(capsule::HEADER, capsule::HEADER_VALUE);
    request.extensions_mut().insert(Protocol(protocol.to_owned()));
    Ok(request)
}

#[cfg(test)]
mod tests;
