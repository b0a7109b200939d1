//! What went wrong with the machine, as one line for a person: what happened, to what, and what to do about it.

use std::fmt;
use std::io;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A change or a question that the machine refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    message: String,
}

/// What a program may want to tell apart; the message says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Needs root or CAP_NET_ADMIN.
    Permission,
    /// Something of this name or number exists and is not ours.
    InUse,
    /// A program or a device of the system is not there.
    Missing,
    /// Another quicbond runs with the same state file.
    Running,
    /// The caller's value makes no sense.
    Invalid,
    /// Anything else that the kernel or the disk said.
    Io,
}

impl Error {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn in_use(message: impl Into<String>) -> Self {
        Self::new(Kind::InUse, message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// `what` is the thing that failed, such as `adding a rule`.
    pub(super) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::new(
                Kind::Permission,
                format!("{what}: no permission; run as root or with CAP_NET_ADMIN"),
            ),
            _ => Self::new(Kind::Io, format!("{what}: {error}")),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
