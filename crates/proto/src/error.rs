//! Errors by whose fault they are.

use core::fmt;
use mpquic_wire::Code;

/// The peer broke a rule; the connection closes with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: Code,
    /// For the close frame and the log: which rule.
    pub why: &'static str,
}

impl Violation {
    pub(crate) const fn new(code: Code, why: &'static str) -> Self {
        Self { code, why }
    }

    pub(crate) const fn protocol(why: &'static str) -> Self {
        Self::new(Code::PROTOCOL_VIOLATION, why)
    }
}

/// The caller asked for something that cannot be done now; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The connection is closing or gone.
    Closed,
    /// No such stream, or it does not go that way.
    UnknownStream,
    /// The stream's sending side was finished or reset.
    Finished,
    /// The peer reset the stream with this application error code.
    Reset(u64),
    /// The peer asked us to stop sending, with this application error code.
    Stopped(u64),
    /// The peer's limit on streams of that direction is reached; an event says when there is room.
    StreamLimit,
    /// The peer does not accept datagrams, or none of this size.
    DatagramSize,
    /// A queue is full; an event says when there is room.
    Full,
    /// The peer did not negotiate multipath.
    NoMultipath,
    /// The peer's limit on path ids, or its connection IDs for new paths, are used up.
    NoPathAvailable,
    /// No such path.
    UnknownPath,
    /// The last path cannot be abandoned: close the connection instead.
    LastPath,
    /// The peer does not know resets that come after a part of the stream.
    NoResetAt,
    /// Only a client opens paths.
    NotAllowed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Closed => "the connection is closed",
            Self::UnknownStream => "no such stream in that direction",
            Self::Finished => "the stream was already finished",
            Self::Reset(code) => return write!(f, "the peer reset the stream with code {code}"),
            Self::Stopped(code) => return write!(f, "the peer stopped reading the stream with code {code}"),
            Self::StreamLimit => "the peer's stream limit is reached",
            Self::DatagramSize => "the peer accepts no datagram of this size",
            Self::Full => "the queue is full",
            Self::NoMultipath => "the peer did not negotiate multipath",
            Self::NoPathAvailable => "the peer allows no further path now",
            Self::UnknownPath => "no such path",
            Self::LastPath => "the last path cannot be abandoned",
            Self::NoResetAt => "the peer does not know resets that come after a part of the stream",
            Self::NotAllowed => "only a client opens paths",
        };
        f.write_str(text)
    }
}

impl core::error::Error for Refused {}
