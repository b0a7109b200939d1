//! Requests and responses as field sections (RFC 9114 §4): pseudo-header fields, and what makes a message malformed.
//!
//! Refuses to know streams and frames; a body is only known by its announced length.

mod build;
mod parse;

pub(crate) use build::{request_block, response_block, section_size};
pub(crate) use parse::{content_length, parse_request, parse_response, parse_trailers};

use http::HeaderName;

/// An [`http::Request`] extension: the `:protocol` of an extended CONNECT (RFC 9220), such as `connect-ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(pub String);

/// RFC 9114 §4.2: fields that speak about a connection have no place here.
fn is_about_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
}

#[cfg(test)]
mod tests;
