//! Field sections of the peer to requests and responses.

use super::{Protocol, is_about_connection};
use crate::code;
use crate::error::Error;
use crate::qpack::{self, QpackError, Stopped};
use http::header::{CONTENT_LENGTH, COOKIE, HOST, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

/// A field section taken apart, its pseudo-header fields by name.
#[derive(Debug, Default)]
struct Section {
    pseudo: [Option<Vec<u8>>; PSEUDO.len()],
    headers: HeaderMap,
    regular: bool,
}

/// RFC 9114 §4.3, RFC 9220 §3.
const PSEUDO: [&[u8]; 6] = [b":method", b":scheme", b":authority", b":path", b":protocol", b":status"];
const METHOD: usize = 0;
const SCHEME: usize = 1;
const AUTHORITY: usize = 2;
const PATH: usize = 3;
const PROTOCOL: usize = 4;
const STATUS: usize = 5;

pub(crate) fn parse_request(block: &[u8], limit: u64) -> Result<Request<()>, Error> {
    let mut section = Section::read(block, limit)?;
    if section.pseudo[STATUS].is_some() {
        return Err(Error::malformed("a request with :status"));
    }
    let method = section.take(METHOD)?.ok_or(Error::malformed("a request without :method"))?;
    let method = Method::from_bytes(&method).map_err(|_| Error::malformed("a method that is not a token"))?;
    let protocol = section.take(PROTOCOL)?;
    if protocol.is_some() && method != Method::CONNECT {
        return Err(Error::malformed(":protocol without CONNECT"));
    }
    let (scheme, path, authority) = (section.take(SCHEME)?, section.take(PATH)?, section.take_authority()?);
    let uri = if method == Method::CONNECT && protocol.is_none() {
        // RFC 9114 §4.4: neither :scheme nor :path, and an authority with a port.
        if scheme.is_some() || path.is_some() {
            return Err(Error::malformed("CONNECT with :scheme or :path"));
        }
        let authority = authority.ok_or(Error::malformed("CONNECT without :authority"))?;
        if authority.port_u16().is_none() || authority.host().is_empty() {
            return Err(Error::malformed("CONNECT to an authority without host or port"));
        }
        Uri::from(authority)
    } else {
        absolute_uri(&method, scheme, path, authority)?
    };
    let mut request = Request::new(());
    if let Some(protocol) = protocol {
        let name = String::from_utf8(protocol).map_err(|_| Error::malformed(":protocol is not a token"))?;
        if !is_token(&name) {
            return Err(Error::malformed(":protocol is not a token"));
        }
        request.extensions_mut().insert(Protocol(name));
    }
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_3;
    *request.headers_mut() = section.finish()?;
    Ok(request)
}

pub(crate) fn parse_response(block: &[u8], limit: u64) -> Result<Response<()>, Error> {
    let mut section = Section::read(block, limit)?;
    if section.pseudo[..STATUS].iter().any(Option::is_some) {
        return Err(Error::malformed("a response with a pseudo-header field of requests"));
    }
    let status = section.take(STATUS)?.ok_or(Error::malformed("a response without :status"))?;
    let status =
        StatusCode::from_bytes(&status).map_err(|_| Error::malformed("a :status that is no number"))?;
    // RFC 9114 §4.5: there is no switching of protocols.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::malformed("a response with status 101"));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = http::Version::HTTP_3;
    *response.headers_mut() = section.finish()?;
    Ok(response)
}

pub(crate) fn parse_trailers(block: &[u8], limit: u64) -> Result<HeaderMap, Error> {
    let section = Section::read(block, limit)?;
    // RFC 9114 §4.3: trailers have no pseudo-header fields.
    if section.pseudo.iter().any(Option::is_some) {
        return Err(Error::malformed("trailers with a pseudo-header field"));
    }
    section.finish()
}

/// What `content-length` says, if it is there and says one thing.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let text = value.to_str().unwrap_or_default();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| digits);
        let number = number.ok_or(Error::malformed("a content-length that is no number"))?;
        if found.is_some_and(|other| other != number) {
            return Err(Error::malformed("two different values of content-length"));
        }
        found = Some(number);
    }
    Ok(found)
}

fn absolute_uri(
    method: &Method,
    scheme: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    authority: Option<Authority>,
) -> Result<Uri, Error> {
    let scheme = scheme.ok_or(Error::malformed("a request without :scheme"))?;
    let scheme = Scheme::try_from(&scheme[..]).map_err(|_| Error::malformed("an impossible :scheme"))?;
    let path = path.ok_or(Error::malformed("a request without :path"))?;
    // RFC 9114 §4.3.1: begins with a slash; only OPTIONS may ask for everything.
    if path.first() != Some(&b'/') && !(method == Method::OPTIONS && path == b"*") {
        return Err(Error::malformed("a :path that does not begin with a slash"));
    }
    let path = PathAndQuery::try_from(&path[..]).map_err(|_| Error::malformed("an impossible :path"))?;
    // RFC 9114 §4.3.1: http and https have an authority, be it in Host; it does not name a user.
    let authority = authority.ok_or(Error::malformed("a request without :authority and Host"))?;
    if authority.as_str().contains('@') {
        return Err(Error::malformed("an :authority that names a user"));
    }
    let parts = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    parts.build().map_err(|_| Error::malformed("a target that is no URI"))
}

fn is_token(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(sign)
}

impl Section {
    fn read(block: &[u8], limit: u64) -> Result<Self, Error> {
        let mut section = Self::default();
        let read = qpack::decode(block, limit, |name, value, never| section.on_field(name, value, never));
        match read {
            Ok(()) => Ok(section),
            Err(Stopped::Taker(error)) => Err(error),
            Err(Stopped::Qpack(QpackError::TooLarge)) => Err(Error::TooLarge),
            Err(Stopped::Qpack(QpackError::Decompression(why))) => {
                Err(Error::violation(code::QPACK_DECOMPRESSION_FAILED, why))
            }
        }
    }

    fn on_field(&mut self, name: &[u8], value: &[u8], never: bool) -> Result<(), Error> {
        if name.first() == Some(&b':') {
            return self.on_pseudo(name, value);
        }
        self.regular = true;
        // RFC 9114 §4.2: names are lower case, which this insists on.
        let name = HeaderName::from_lowercase(name)
            .map_err(|_| Error::malformed("a field name that is not a token in lower case"))?;
        if is_about_connection(&name) {
            return Err(Error::malformed("a field that is about the connection"));
        }
        if name == TE && value != b"trailers" {
            return Err(Error::malformed("TE with something else than trailers"));
        }
        let mut value = HeaderValue::from_bytes(value)
            .map_err(|_| Error::malformed("a field value with forbidden characters"))?;
        value.set_sensitive(never);
        self.headers.try_append(name, value).map_err(|_| Error::TooLarge)?;
        Ok(())
    }

    fn on_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        // RFC 9114 §4.3: before all others, each once, and none that is not defined.
        if self.regular {
            return Err(Error::malformed("a pseudo-header field after a regular one"));
        }
        let index = PSEUDO.iter().position(|known| *known == name);
        let slot = index.and_then(|index| self.pseudo.get_mut(index));
        let slot = slot.ok_or(Error::malformed("an unknown pseudo-header field"))?;
        if slot.replace(value.to_vec()).is_some() {
            return Err(Error::malformed("a pseudo-header field twice"));
        }
        Ok(())
    }

    /// The value of a pseudo-header field, which is not empty.
    fn take(&mut self, which: usize) -> Result<Option<Vec<u8>>, Error> {
        match self.pseudo[which].take() {
            Some(value) if value.is_empty() => Err(Error::malformed("an empty pseudo-header field")),
            other => Ok(other),
        }
    }

    /// RFC 9114 §4.3.1: `:authority` or Host; if both are there, they agree.
    fn take_authority(&mut self) -> Result<Option<Authority>, Error> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        if more.is_some() {
            return Err(Error::malformed("more than one Host"));
        }
        let authority = match (self.pseudo[AUTHORITY].take(), host) {
            (Some(authority), Some(host)) if authority != host.as_bytes() => {
                return Err(Error::malformed(":authority and Host differ"));
            }
            (Some(authority), _) => authority,
            (None, Some(host)) => host.as_bytes().to_vec(),
            (None, None) => return Ok(None),
        };
        let authority = Authority::try_from(&authority[..]);
        authority.map(Some).map_err(|_| Error::malformed("an impossible :authority"))
    }

    /// The regular fields; RFC 9114 §4.2.1: crumbs of a cookie are one field to everybody else.
    fn finish(mut self) -> Result<HeaderMap, Error> {
        content_length(&self.headers)?;
        if self.headers.get_all(COOKIE).iter().nth(1).is_some() {
            let crumbs: Vec<&[u8]> = self.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
            let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
            self.headers.insert(COOKIE, whole.map_err(|_| Error::malformed("an impossible cookie"))?);
        }
        Ok(self.headers)
    }
}
