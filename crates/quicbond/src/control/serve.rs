//! The daemon's side of the control socket.
//!
//! Only root and the daemon's own user get an answer: the file's mode says so, and the kernel is asked who connects.
//! Everything a caller can use up is bounded: callers at once, bytes of a request, time for each step.

use super::{REQUEST_MAX, Request, Response};
use core::fmt;
use core::time::Duration;
use nix::unistd::geteuid;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Callers at once; more wait in the kernel's queue.
const CALLERS_MAX: usize = 8;
/// For a whole request to arrive or an answer to be taken. `status --watch` opens a new connection for each question.
const PATIENCE: Duration = Duration::from_secs(5);
/// After `accept` failed, for lack of descriptors most likely.
const PAUSE: Duration = Duration::from_millis(100);
/// Owner only.
const FOLDER_MODE: u32 = 0o700;
const SOCKET_MODE: u32 = 0o600;
/// Write permission of everybody but the owner.
const OTHERS_WRITE: u32 = 0o022;

/// What a daemon does with requests. Called on the runtime: it answers from memory.
pub(crate) trait Handler: Fn(Request) -> Response + Send + Sync + 'static {}

impl<F: Fn(Request) -> Response + Send + Sync + 'static> Handler for F {}

/// A bound control socket. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Of the file, so that nobody else's is removed.
    inode: u64,
}

impl Socket {
    /// Binds `path`, making its folder if there is none and replacing a socket on which nobody answers. Needs a tokio
    /// runtime.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        let wrong = |why: String| SocketError { path: path.to_owned(), why };
        prepare_folder(path.parent().unwrap_or(Path::new("."))).map_err(wrong)?;
        remove_stale(path).map_err(wrong)?;
        let told = |error: io::Error| wrong(error.to_string());
        let listener = UnixListener::bind(path).map_err(told)?;
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(told)?;
        let inode = fs::symlink_metadata(path).map_err(told)?.ino();
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, handler: impl Handler) {
        let handler = Arc::new(handler);
        let seats = Arc::new(Semaphore::new(CALLERS_MAX));
        loop {
            // The semaphore is never closed.
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &*handler).await {
                            tracing::debug!(%error, "a caller on the control socket was let go");
                        }
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes no caller");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // It may be gone in this instant: all the better.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Answers the requests of one caller, line by line.
async fn answer(stream: UnixStream, handler: &impl Handler) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {uid} may not ask")));
    }
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(REQUEST_MAX as u64);
        timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        let response = match serde_json::from_slice::<Request>(&line) {
            Ok(request) if is_whole => handler(request),
            Ok(_) => return Ok(()),
            Err(error) => Response::Failed { why: format!("this is no request: {error}") },
        };
        let mut bytes = serde_json::to_vec(&response)?;
        bytes.push(b'\n');
        timeout(PATIENCE, write.write_all(&bytes)).await??;
        if !is_whole {
            return Ok(());
        }
    }
}

/// A folder in which nobody else can put a socket of the same name.
fn prepare_folder(folder: &Path) -> Result<(), String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !folder.exists() {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|error| format!("its folder cannot be made: {error}"))?;
    }
    let meta = fs::metadata(folder).map_err(|error| format!("its folder cannot be read: {error}"))?;
    let owner_is_known = meta.uid() == 0 || meta.uid() == geteuid().as_raw();
    if !owner_is_known || meta.mode() & OTHERS_WRITE != 0 {
        let advice = "choose a folder that only you can write to";
        return Err(format!("other users can write to its folder {}; {advice}", folder.display()));
    }
    Ok(())
}

/// Removes what a daemon that crashed has left behind.
fn remove_stale(path: &Path) -> Result<(), String> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(
            "something that is no socket is in its place; remove it or choose another path".to_owned()
        );
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| format!("an old socket cannot be removed: {error}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("an old socket is in its place: {error}")),
        Ok(_) => Err("another quicbond answers there; stop it first, or choose another path".to_owned()),
    }
}

/// A socket that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketError {
    path: PathBuf,
    why: String,
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "control socket {}: {}", self.path.display(), self.why)
    }
}

impl core::error::Error for SocketError {}
