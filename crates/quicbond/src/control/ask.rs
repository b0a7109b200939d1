//! Asking a daemon. Blocking, with a limit on time and size: the daemon may be stuck, and whoever asks wants to know.

use super::{RESPONSE_MAX, Request, Response};
use core::fmt;
use core::time::Duration;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A daemon answers from memory.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends one request to the daemon at `path` and reads its answer.
pub(crate) fn ask(path: &Path, request: Request) -> Result<Response, AskError> {
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NobodyThere,
        io::ErrorKind::PermissionDenied => AskError::Forbidden,
        _ => AskError::Broken(error.to_string()),
    })?;
    refuse_strangers(&stream)?;
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent,
        _ => AskError::Broken(error.to_string()),
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let line = serde_json::to_string(&request).map_err(|error| AskError::Broken(error.to_string()))?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(broken)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream).take(RESPONSE_MAX as u64);
    match reader.read_until(b'\n', &mut answer) {
        // A daemon that was told to stop may be gone before it answers.
        Ok(0) if request == Request::Stop => Ok(Response::Done { message: "stopping".to_owned() }),
        Ok(0) => Err(AskError::Broken("it hung up".to_owned())),
        Ok(_) => serde_json::from_slice(&answer).map_err(|error| AskError::Broken(error.to_string())),
        Err(error) => Err(broken(error)),
    }
}

/// Whoever listens there is root or we ourselves, or else anybody could make things up.
fn refuse_strangers(stream: &UnixStream) -> Result<(), AskError> {
    let peer = getsockopt(stream, PeerCredentials).map_err(|error| AskError::Broken(error.to_string()))?;
    if peer.uid() == 0 || peer.uid() == geteuid().as_raw() { Ok(()) } else { Err(AskError::Forbidden) }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskError {
    /// No daemon listens there.
    NobodyThere,
    /// The daemon belongs to another user.
    Forbidden,
    /// The daemon is there and does not answer.
    Silent,
    Broken(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyThere => f.write_str("nobody answers: is it running?"),
            Self::Forbidden => f.write_str("it belongs to another user: ask as root or as that user"),
            Self::Silent => write!(f, "it did not answer within {} s", PATIENCE.as_secs()),
            Self::Broken(why) => write!(f, "the answer is unusable: {why}"),
        }
    }
}

impl core::error::Error for AskError {}
