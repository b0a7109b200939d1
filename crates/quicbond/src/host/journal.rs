//! The state file: what was changed on the machine, written down before it is changed.
//!
//! JSON lines, the first about the process, each further one a [`Change`]. Every line reaches the disk before its
//! change is made, so a process that is killed at any moment leaves a file from which the next one takes everything
//! back. The file is locked while its process lives. Refuses to know what the changes are good for.

use super::change::Change;
use super::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

/// The version of the file's format.
const FORMAT: u32 = 1;
/// Nobody changes this many things; a longer file is not ours. Bytes.
const LONGEST_FILE: u64 = 4 << 20;

/// What this process has changed, newest last.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the last whole line ends, bytes.
    length: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    change: Change,
    /// Where its line begins, bytes.
    at: u64,
}

/// The first line: who wrote the file, and in which world its changes are true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Author {
    quicbond: u32,
    pid: u32,
    /// When the process started, clock ticks since boot: a process id alone is given to others in time.
    started: u64,
    boot: String,
    network: String,
}

impl Journal {
    /// Undoes what a killed predecessor left, then begins a new file. The folder is made if it is missing.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        Self::recover(path).await?;
        Self::create(path)
    }

    /// Undoes what a killed predecessor left in the file at `path`; refuses if that process still runs. Tells how many
    /// changes it found.
    pub(crate) async fn recover(path: &Path) -> Result<usize> {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed("opening", path, &error)),
        };
        let text = read_bounded(&mut file).map_err(|error| failed("reading", path, &error))?;
        let mut lines = text.lines();
        let author: Option<Author> = lines.next().and_then(|line| serde_json::from_str(line).ok());
        lock(&file, path, author.as_ref())?;
        let Some(author) = author else {
            return discard_unbegun(path, &text);
        };
        if author.is_alive() {
            return Err(running(path, Some(&author)));
        }
        let mut changes: Vec<Change> = lines.filter_map(readable).collect();
        let found = changes.len();
        if author.boot != boot() || author.network != network() {
            tracing::info!("the state file is of another boot or network namespace: only files are restored");
            changes.retain(Change::outlives_the_network);
        }
        let entries = changes.into_iter().map(|change| Entry { change, at: 0 }).collect();
        Self { path: path.to_owned(), file, length: text.len() as u64, entries }.undo_all().await?;
        Ok(found)
    }

    /// Makes one change: checks that it takes over nothing, writes it down, makes it. If any step fails, nothing is
    /// changed and nothing stays written down.
    pub(super) async fn make(&mut self, change: Change) -> Result<()> {
        change.check().await?;
        let at = self.length;
        self.write_down(&change)?;
        let made = change.make().await;
        match &made {
            Ok(()) => self.entries.push(Entry { change, at }),
            Err(_) => self.cut(at)?,
        }
        made
    }

    /// How many changes stand.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Undoes everything, newest first, and removes the file. What cannot be undone is told and stays in the file for
    /// the next start; everything else is undone all the same.
    pub(crate) async fn undo_all(mut self) -> Result<()> {
        self.undo_down_to(0).await?;
        remove(&self.path)
    }

    /// The way back out of a half-finished setup: undoes what was made after `len` told this number. What is stuck
    /// stays in the file, for the next start.
    pub(super) async fn roll_back(&mut self, len: usize) {
        let Some(at) = self.entries.get(len).map(|entry| entry.at) else { return };
        if self.undo_down_to(len).await.is_ok()
            && let Err(error) = self.cut(at)
        {
            tracing::warn!(%error, "the state file still has lines of what was undone, which does no harm");
        }
    }

    async fn undo_down_to(&mut self, len: usize) -> Result<()> {
        let mut result = Ok(());
        for Entry { change, .. } in self.entries.drain(len..).rev() {
            if let Err(error) = change.undo().await {
                tracing::warn!(%error, "a change could not be taken back");
                result = result.and(Err(error));
            }
        }
        result
    }

    fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| failed("creating the folder of", path, &error))?;
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| failed("creating", path, &error))?;
        lock(&file, path, None)?;
        let mut journal = Self { path: path.to_owned(), file, length: 0, entries: Vec::new() };
        if let Err(error) = journal.write_down(&Author::this_process()) {
            remove(path)?;
            return Err(error);
        }
        Ok(journal)
    }

    /// One more line, on the disk when this returns.
    fn write_down(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)
            .map_err(|error| Error::new(Kind::Io, format!("writing {}: {error}", self.path.display())))?;
        text.push(b'\n');
        if let Err(error) = self.file.write_all(&text).and_then(|()| self.file.sync_data()) {
            let error = Error::new(
                Kind::Io,
                format!("writing the state file {}: {error}; nothing was changed", self.path.display()),
            );
            self.cut(self.length)?;
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Shortens the file to `length`.
    fn cut(&mut self, length: u64) -> Result<()> {
        let cut = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
        cut.and_then(|_| self.file.sync_data()).map_err(|error| failed("shortening", &self.path, &error))?;
        self.length = length;
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A child process that has not yet reached its exec holds the same open file, and with it the lock.
        self.file.unlock().ok();
    }
}

impl Author {
    fn this_process() -> Self {
        let pid = process::id();
        Self { quicbond: FORMAT, pid, started: started(pid).unwrap_or(0), boot: boot(), network: network() }
    }

    /// Whether another process than this one wrote the file and still runs.
    fn is_alive(&self) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        self.pid != process::id()
            && self.boot == boot()
            && started(self.pid) == Some(self.started)
            && name.starts_with("quicbond")
    }
}

/// A file whose first line is not whole: of a process that was killed before its first change, or not ours at all.
fn discard_unbegun(path: &Path, text: &str) -> Result<usize> {
    let begun = "{\"quicbond\":";
    if text.starts_with(begun) || begun.starts_with(text) {
        return remove(path).map(|()| 0);
    }
    Err(Error::invalid(format!("{} is not a state file of quicbond; give another path", path.display())))
}

fn readable(line: &str) -> Option<Change> {
    let change = serde_json::from_str(line);
    if let Err(error) = &change {
        // The last line of a killed process; its change was not made.
        tracing::warn!(%error, "a line of the state file is broken and was skipped");
    }
    change.ok()
}

/// The lock says more surely than a process id whether the author lives, also across containers.
fn lock(file: &File, path: &Path, author: Option<&Author>) -> Result<()> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(running(path, author)),
        Err(TryLockError::Error(error)) => tracing::debug!(%error, "this file system has no locks"),
    }
    // Between opening and locking another process may have finished with the file and removed it.
    let ours = file.metadata().map_err(|error| failed("reading", path, &error))?;
    match fs::metadata(path) {
        Ok(there) if there.ino() == ours.ino() && there.dev() == ours.dev() => Ok(()),
        _ => Err(running(path, None)),
    }
}

fn running(path: &Path, author: Option<&Author>) -> Error {
    let who = author
        .map_or_else(|| "another quicbond".to_owned(), |author| format!("quicbond, process {}", author.pid));
    let message =
        format!("{who} is running with the state file {}; stop it or give another path", path.display());
    Error::new(Kind::Running, message)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", path, &error)),
        _ => Ok(()),
    }
}

fn read_bounded(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    Read::by_ref(file).take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)); the name in field 2 may hold anything, so count from its end.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The network namespace of the calling thread.
fn network() -> String {
    fs::read_link("/proc/thread-self/ns/net")
        .map_or_else(|_| String::new(), |link| link.display().to_string())
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    let what = format!("{verb} the state file {}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Permission, format!("{what}: no permission; run as root or give another path"))
        }
        io::ErrorKind::AlreadyExists => running(path, None),
        _ => Error::io(what, error),
    }
}

#[cfg(test)]
mod tests;
