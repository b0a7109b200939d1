//! What can go wrong, by whose fault it is.

use crate::code;
use core::fmt;
use mpquic::{CloseReason, ReadError, WriteError};
use std::io;

/// A rule that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// See [`crate::code`].
    pub code: u64,
    pub why: &'static str,
}

/// Why something on an HTTP/3 connection or stream did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The connection is over.
    Closed(CloseReason),
    /// The endpoint was shut down.
    EndpointGone,
    /// The peer broke a rule of HTTP/3, so the connection was closed with this code.
    Violation(Fault),
    /// The peer's message is not valid HTTP; only its stream was ended, with this code.
    Malformed(Fault),
    /// The peer gave up sending, with this code.
    Reset(u64),
    /// The peer wants no more of what is being sent, and said so with this code.
    Stopped(u64),
    /// The stream was already finished, reset or stopped here.
    Finished,
    /// A field section is larger than we (or the peer, if it is ours) accept.
    TooLarge,
    /// No more requests are taken on this connection; this one was not looked at and can be sent again on another.
    GoingAway,
    /// The peer did not announce what this needs.
    Unsupported(&'static str),
    /// The caller asked for what HTTP/3 does not allow; nothing was sent.
    Refused(&'static str),
}

impl Error {
    pub(crate) const fn violation(code: u64, why: &'static str) -> Self {
        Self::Violation(Fault { code, why })
    }

    pub(crate) const fn malformed(why: &'static str) -> Self {
        Self::Malformed(Fault { code: code::MESSAGE_ERROR, why })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, Named(self.code))
    }
}

/// A code by its name, if it has one.
struct Named(u64);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => write!(f, "the connection is over: {reason}"),
            Self::EndpointGone => f.write_str("the endpoint was shut down"),
            Self::Violation(fault) => write!(f, "the peer broke a rule of HTTP/3: {fault}"),
            Self::Malformed(fault) => write!(f, "the peer's message is malformed: {fault}"),
            Self::Reset(code) => write!(f, "the peer reset the stream ({})", Named(*code)),
            Self::Stopped(code) => write!(f, "the peer stopped reading the stream ({})", Named(*code)),
            Self::Finished => f.write_str("the stream was already finished, reset or stopped"),
            Self::TooLarge => f.write_str("the header section is larger than the receiver accepts"),
            Self::GoingAway => f.write_str("the peer takes no more requests on this connection"),
            Self::Unsupported(what) => write!(f, "the peer does not support {what}"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Error {}

impl From<mpquic::Error> for Error {
    fn from(error: mpquic::Error) -> Self {
        match error {
            mpquic::Error::Closed(reason) => Self::Closed(reason),
            mpquic::Error::EndpointGone => Self::EndpointGone,
            // Streams and datagrams meet nothing else.
            _ => Self::Refused("the connection does not allow that"),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset(code),
            ReadError::Stopped => Self::Finished,
            ReadError::TooLong => Self::TooLarge,
            ReadError::Closed(reason) => Self::Closed(reason),
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Stopped(code),
            WriteError::Finished => Self::Finished,
            WriteError::Closed(reason) => Self::Closed(reason),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Reset(_) | Error::Stopped(_) => io::ErrorKind::ConnectionReset,
            Error::Closed(_) | Error::EndpointGone | Error::GoingAway => io::ErrorKind::NotConnected,
            Error::Violation(_) | Error::Malformed(_) => io::ErrorKind::InvalidData,
            Error::Finished => io::ErrorKind::BrokenPipe,
            Error::TooLarge => io::ErrorKind::FileTooLarge,
            Error::Unsupported(_) => io::ErrorKind::Unsupported,
            Error::Refused(_) => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// Why a datagram was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendDatagramError {
    /// No path carries it; see [`crate::Datagrams::max_payload`].
    TooLarge,
    /// Too many wait already.
    Full,
    /// The stream or the connection is over.
    Closed,
    /// The peer has not said (yet) that it takes HTTP datagrams.
    Unsupported,
}

impl fmt::Display for SendDatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the datagram is larger than the paths carry",
            Self::Full => "too many datagrams wait to be sent",
            Self::Closed => "the stream or the connection is over",
            Self::Unsupported => "the peer has not said that it takes HTTP datagrams",
        })
    }
}

impl core::error::Error for SendDatagramError {}
