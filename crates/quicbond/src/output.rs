//! Where lines go, and a reader that has gone away is no failure: `quicbond list profiles | head -1` ends in peace.

use std::io::{self, IsTerminal, Write};

/// One of the two standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    pub(crate) fn write(self, text: &str) {
        // If it fails, nobody is left to be told.
        self.try_write(text);
    }

    /// Whether somebody is still there to read it.
    pub(crate) fn try_write(self, text: &str) -> bool {
        match self {
            Self::Stdout => write_all(&mut io::stdout().lock(), text).is_ok(),
            Self::Stderr => write_all(&mut io::stderr().lock(), text).is_ok(),
        }
    }

    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        }
    }
}

fn write_all(to: &mut dyn Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}
