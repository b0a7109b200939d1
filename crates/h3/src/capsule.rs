//! Capsules (RFC 9297 §3): type, length, value on the data stream of an extended CONNECT.
//!
//! Owns their framing and its limits. Refuses to know what a value means; see [`crate::connect_ip`].

use crate::body::BodyReceiver;
use crate::code;
use crate::error::{Error, Fault};
use crate::wire::frame::{self, Head, PartialHead};
use bytes::Bytes;
use core::fmt;
use http::{HeaderName, HeaderValue};

/// RFC 9297 §3.5: carries one HTTP datagram.
pub const DATAGRAM: u64 = 0x00;

/// RFC 9297 §3.4: the field by which a request or response says that capsules follow, and its value.
pub const HEADER: HeaderName = HeaderName::from_static("capsule-protocol");
pub const HEADER_VALUE: HeaderValue = HeaderValue::from_static("?1");

/// One capsule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    pub kind: u64,
    pub value: Bytes,
}

/// Why a data stream is not made of capsules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapsuleError {
    /// A value is longer than what its type allows here.
    TooLong { kind: u64, len: u64 },
    /// The stream ended within a capsule.
    Truncated,
}

impl CapsuleError {
    /// RFC 9297 §3.3: the message is malformed.
    #[must_use]
    pub const fn fault(self) -> Fault {
        let why = match self {
            Self::TooLong { .. } => "a capsule is too long",
            Self::Truncated => "the stream ends within a capsule",
        };
        Fault { code: code::MESSAGE_ERROR, why }
    }
}

impl fmt::Display for CapsuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { kind, len } => write!(f, "a capsule of type {kind:#x} is too long: {len} bytes"),
            Self::Truncated => f.write_str("the stream ends within a capsule"),
        }
    }
}

impl core::error::Error for CapsuleError {}

impl From<CapsuleError> for Error {
    fn from(error: CapsuleError) -> Self {
        Self::Malformed(error.fault())
    }
}

/// Appends a capsule.
pub fn write(out: &mut Vec<u8>, kind: u64, value: &[u8]) {
    frame::put(out, kind, value);
}

/// Takes capsules out of a data stream that arrives in pieces. Types that are not known are skipped, and nothing of
/// them is kept.
#[derive(Debug)]
pub struct Decoder {
    /// The known types and how long their values may be.
    known: Vec<(u64, usize)>,
    head: PartialHead,
    /// The capsule whose value is arriving.
    open: Option<Open>,
    skipped: u64,
}

#[derive(Debug)]
struct Open {
    kind: u64,
    left: u64,
    /// `None`: it is skipped.
    value: Option<Vec<u8>>,
}

impl Decoder {
    /// Knows these types; each with the greatest length of its value.
    #[must_use]
    pub fn new(known: &[(u64, usize)]) -> Self {
        Self { known: known.to_vec(), head: PartialHead::default(), open: None, skipped: 0 }
    }

    /// The next capsule of a known type, taking what it needs from the front of `input`. `None`: all of `input` was
    /// taken and more is needed.
    ///
    /// # Errors
    /// [`CapsuleError::TooLong`]; a DATAGRAM capsule above its limit is skipped instead (RFC 9297 §3.5).
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Capsule>, CapsuleError> {
        loop {
            if let Some(open) = &mut self.open {
                let n = usize::try_from(open.left).map_or(input.len(), |left| left.min(input.len()));
                let (part, rest) = input.split_at(n);
                *input = rest;
                open.left -= n as u64;
                if let Some(value) = &mut open.value {
                    value.extend_from_slice(part);
                }
                if open.left > 0 {
                    return Ok(None);
                }
                if let Some(Open { kind, value: Some(value), .. }) = self.open.take() {
                    return Ok(Some(Capsule { kind, value: Bytes::from(value) }));
                }
                self.skipped += 1;
            }
            let Some(head) = self.head(input) else { return Ok(None) };
            self.open = Some(self.begin(head)?);
        }
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    /// [`CapsuleError::Truncated`]
    pub const fn finish(&self) -> Result<(), CapsuleError> {
        if self.open.is_some() || self.head.is_open() { Err(CapsuleError::Truncated) } else { Ok(()) }
    }

    /// Capsules that were skipped so far.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn head(&mut self, input: &mut &[u8]) -> Option<Head> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            if let Some(head) = self.head.push(*byte) {
                return Some(head);
            }
        }
        None
    }

    fn begin(&self, head: Head) -> Result<Open, CapsuleError> {
        let Head { kind, len } = head;
        let limit = self.known.iter().find(|(known, _)| *known == kind).map(|(_, limit)| *limit as u64);
        let value = match limit {
            Some(limit) if len <= limit => Some(Vec::new()),
            Some(_) if kind != DATAGRAM => return Err(CapsuleError::TooLong { kind, len }),
            _ => None,
        };
        Ok(Open { kind, left: len, value })
    }
}

/// The capsules of a stream.
#[derive(Debug)]
pub struct Capsules {
    receiver: BodyReceiver,
    decoder: Decoder,
    /// Arrived and not decoded yet.
    rest: Bytes,
}

impl Capsules {
    /// See [`Decoder::new`].
    #[must_use]
    pub fn new(receiver: BodyReceiver, known: &[(u64, usize)]) -> Self {
        Self { receiver, decoder: Decoder::new(known), rest: Bytes::new() }
    }

    /// The next capsule of a known type; `None` at the end of the stream. May be given up at any time.
    ///
    /// # Errors
    /// As [`BodyReceiver::chunk`]; [`Error::Malformed`] also if the stream is not made of capsules, which stops it.
    pub async fn next(&mut self) -> Result<Option<Capsule>, Error> {
        loop {
            let mut input = &self.rest[..];
            let decoded = self.decoder.decode(&mut input);
            let left = input.len();
            self.rest = self.rest.split_off(self.rest.len() - left);
            if let Some(capsule) = decoded.map_err(|error| self.refuse(error))? {
                return Ok(Some(capsule));
            }
            match self.receiver.chunk().await? {
                Some(chunk) => self.rest = chunk,
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }

    fn refuse(&mut self, error: CapsuleError) -> Error {
        self.receiver.stop(error.fault().code);
        error.into()
    }
}

#[cfg(test)]
mod tests;
