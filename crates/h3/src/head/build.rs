//! Our requests and responses to field sections.

use super::{Protocol, is_about_connection};
use crate::error::Error;
use crate::qpack;
use http::header::{HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

/// The encoded fields of a request.
pub(crate) fn request_block(head: &Request<()>) -> Result<Vec<u8>, Error> {
    let (mut fields, headers) = (Fields::default(), head.headers());
    let (method, uri) = (head.method(), head.uri());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(http::uri::Authority::as_str).or(host);
    let authority = authority.ok_or(Error::Refused("a request needs an authority"))?;
    let protocol = head.extensions().get::<Protocol>();
    fields.put(":method", method.as_str());
    if method == Method::CONNECT && protocol.is_none() {
        // RFC 9114 §4.4: nothing but the authority, which has a port.
        if uri.authority().is_none_or(|authority| authority.port_u16().is_none()) {
            return Err(Error::Refused("CONNECT needs a host and a port"));
        }
    } else {
        if let Some(Protocol(name)) = protocol {
            if method != Method::CONNECT || name.is_empty() {
                return Err(Error::Refused("a protocol goes with CONNECT, and has a name"));
            }
            fields.put(":protocol", name);
        }
        fields.put(":scheme", uri.scheme_str().unwrap_or("https"));
        let path = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let everything = *method == Method::OPTIONS && path.is_empty();
        match path {
            "" if everything => fields.put(":path", "*"),
            "" => fields.put(":path", "/"),
            query if query.starts_with('?') => fields.put(":path", &format!("/{query}")),
            path => fields.put(":path", path),
        }
    }
    fields.put(":authority", authority);
    fields.put_regular(headers, |name| *name != HOST)?;
    Ok(fields.block)
}

/// The encoded fields of a response.
pub(crate) fn response_block(head: &Response<()>) -> Result<Vec<u8>, Error> {
    let mut fields = Fields::default();
    // RFC 9114 §4.5: there is no switching of protocols.
    if head.status() == http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Refused("HTTP/3 has no status 101"));
    }
    fields.put(":status", head.status().as_str());
    fields.put_regular(head.headers(), |_| true)?;
    Ok(fields.block)
}

/// What a head counts against the receiver's limit: at least this, whatever the pseudo-header fields are.
pub(crate) fn section_size(block: &[u8]) -> u64 {
    let mut size = 0u64;
    let counted = qpack::decode(block, u64::MAX, |name, value, _| {
        size = size.saturating_add(qpack::line_size(name.len(), value.len()));
        Ok::<(), ()>(())
    });
    debug_assert!(counted.is_ok(), "our own encoding");
    size
}

struct Fields {
    block: Vec<u8>,
}

impl Default for Fields {
    fn default() -> Self {
        let mut block = Vec::with_capacity(128);
        qpack::begin(&mut block);
        Self { block }
    }
}

impl Fields {
    fn put(&mut self, name: &str, value: &str) {
        qpack::put_field(&mut self.block, name, value.as_bytes(), false);
    }

    fn put_regular(
        &mut self,
        headers: &HeaderMap,
        wanted: impl Fn(&HeaderName) -> bool,
    ) -> Result<(), Error> {
        for (name, value) in headers.iter().filter(|(name, _)| wanted(name)) {
            if is_about_connection(name) || (name == TE && value != HeaderValue::from_static("trailers")) {
                return Err(Error::Refused("a field about the connection has no place in HTTP/3"));
            }
            qpack::put_field(&mut self.block, name.as_str(), value.as_bytes(), value.is_sensitive());
        }
        Ok(())
    }
}
