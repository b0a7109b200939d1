//! What can go wrong, in words for whoever called.

use core::fmt;
use mpquic_proto::{CloseReason, Refused};
use mpquic_wire::Code;
use std::io;
use std::net::SocketAddr;

/// Why something on a connection did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The connection is over.
    Closed(CloseReason),
    /// It cannot be done now; nothing changed.
    Refused(Refused),
    /// The peer did not answer on the new path, or gave it up, with this code.
    PathFailed(Code),
    /// The endpoint has no socket with this address.
    NoSuchAddress(SocketAddr),
    /// The endpoint was shut down.
    EndpointGone,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => write!(f, "the connection is over: {reason}"),
            Self::Refused(refused) => refused.fmt(f),
            Self::PathFailed(code) => write!(f, "the new path does not work ({code})"),
            Self::NoSuchAddress(local) => write!(f, "the endpoint has no socket bound to {local}"),
            Self::EndpointGone => f.write_str("the endpoint was shut down"),
        }
    }
}

impl core::error::Error for Error {}

/// Why a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The server's name cannot be used, in the TLS stack's words.
    Name(String),
    /// The server did not prove to be the one that was asked for.
    Untrusted { pinned: bool, code: Code },
    /// The server speaks none of the application protocols that were offered.
    NoCommonProtocol,
    /// Nobody answered within the handshake timeout.
    NoAnswer,
    /// The connection ended before it was established.
    Closed(CloseReason),
    /// The endpoint has no socket with this address.
    NoSuchAddress(SocketAddr),
    /// The endpoint was shut down.
    EndpointGone,
}

impl ConnectError {
    pub(crate) fn new(reason: CloseReason, pinned: bool) -> Self {
        match reason {
            CloseReason::Violation { code, .. } if is_about_trust(code) => Self::Untrusted { pinned, code },
            CloseReason::PeerTransport { code, .. } if code == NO_PROTOCOL => Self::NoCommonProtocol,
            CloseReason::HandshakeTimeout => Self::NoAnswer,
            other => Self::Closed(other),
        }
    }
}

/// RFC 8446 §6.2: no_application_protocol.
const NO_PROTOCOL: Code = Code::from_alert(120);

/// RFC 8446 §6.2: the alerts from bad_certificate to certificate_unknown, unknown_ca and decrypt_error.
fn is_about_trust(code: Code) -> bool {
    [42, 43, 44, 45, 46, 48, 51].map(Code::from_alert).contains(&code)
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(why) => f.write_str(why),
            Self::Untrusted { pinned: true, .. } => {
                f.write_str("the server is not the pinned one: its certificate or key is another")
            }
            Self::Untrusted { pinned: false, code } => {
                write!(f, "the server's certificate is not trusted ({code})")
            }
            Self::NoCommonProtocol => {
                f.write_str("the server speaks none of the application protocols that were offered")
            }
            Self::NoAnswer => f.write_str("the server did not answer within the handshake timeout"),
            Self::Closed(reason) => write!(f, "the connection could not be established: {reason}"),
            Self::NoSuchAddress(local) => write!(f, "the endpoint has no socket bound to {local}"),
            Self::EndpointGone => f.write_str("the endpoint was shut down"),
        }
    }
}

impl core::error::Error for ConnectError {}

/// Why a stream cannot be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The peer wants no more of it and said so with this code.
    Stopped(u64),
    /// It was finished or reset here.
    Finished,
    /// The connection is over.
    Closed(CloseReason),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(code) => write!(f, "the peer stopped reading the stream with code {code}"),
            Self::Finished => f.write_str("the stream was already finished or reset"),
            Self::Closed(reason) => write!(f, "the connection is over: {reason}"),
        }
    }
}

impl core::error::Error for WriteError {}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Stopped(_) => io::ErrorKind::ConnectionReset,
            WriteError::Finished => io::ErrorKind::BrokenPipe,
            WriteError::Closed(_) => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

/// Why a stream cannot be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The peer gave up sending, with this code.
    Reset(u64),
    /// It was stopped here.
    Stopped,
    /// The stream is longer than the caller wanted to hold.
    TooLong,
    /// The connection is over, and the stream had not ended.
    Closed(CloseReason),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(code) => write!(f, "the peer reset the stream with code {code}"),
            Self::Stopped => f.write_str("reading the stream was given up here"),
            Self::TooLong => f.write_str("the stream is longer than the limit"),
            Self::Closed(reason) => write!(f, "the connection ended before the stream: {reason}"),
        }
    }
}

impl core::error::Error for ReadError {}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Reset(_) => io::ErrorKind::ConnectionReset,
            ReadError::Stopped => io::ErrorKind::BrokenPipe,
            ReadError::TooLong => io::ErrorKind::FileTooLarge,
            ReadError::Closed(_) => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}
