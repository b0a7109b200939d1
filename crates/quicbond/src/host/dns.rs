//! The resolver of this machine: `/etc/resolv.conf`, replaced while the tunnel carries everything.
//!
//! A plain file is rewritten in place, which keeps its owner, its mode, its label and a bind mount over it. A symbolic
//! link is swapped for a file, because what it points to belongs to another program. Afterwards the very same thing
//! stands there again, unless somebody else has written it in the meantime.

use super::change::Change;
use super::error::{Error, Result};
use super::journal::Journal;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where every resolver library looks.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// glibc reads no more than three (resolv.conf(5)).
const MOST_SERVERS: usize = 3;

/// The servers that names are asked of.
#[derive(Clone, Debug)]
pub(crate) struct Dns {
    pub(crate) file: PathBuf,
    pub(crate) servers: Vec<IpAddr>,
}

impl Dns {
    pub(crate) fn new(servers: Vec<IpAddr>) -> Self {
        Self { file: RESOLV_CONF.into(), servers }
    }

    pub(crate) async fn apply(&self, journal: &mut Journal) -> Result<()> {
        if self.servers.is_empty() {
            return Err(Error::invalid("no DNS server is given to write into resolv.conf"));
        }
        let before = Content::of(&self.file)
            .map_err(|error| Error::io(format!("reading {}", self.file.display()), &error))?;
        journal.make(Change::File(Replacement { path: self.file.clone(), before, after: self.text() })).await
    }

    fn text(&self) -> String {
        let servers = self.servers.iter().take(MOST_SERVERS).map(|server| format!("nameserver {server}\n"));
        format!(
            "# Written by quicbond while its tunnel is up; it restores what was here.\n{}",
            servers.collect::<String>()
        )
    }
}

/// A file that is to have another content for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replacement {
    path: PathBuf,
    before: Content,
    after: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Nothing,
    /// Bytes, because nothing promises that it is text.
    File(Vec<u8>),
    Link(PathBuf),
}

impl Content {
    fn of(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_symlink() => Ok(Self::Link(fs::read_link(path)?)),
            Ok(_) => Ok(Self::File(fs::read(path)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Nothing),
            Err(error) => Err(error),
        }
    }
}

impl Replacement {
    pub(super) fn make(&self) -> Result<()> {
        self.swap_in(&Content::File(self.after.clone().into_bytes()), matches!(self.before, Content::File(_)))
            .map_err(|error| Error::io(format!("writing {}", self.path.display()), &error))
    }

    pub(super) fn undo(&self) -> Result<()> {
        let failed = |error: io::Error| Error::io(format!("restoring {}", self.path.display()), &error);
        let now = Content::of(&self.path).map_err(failed)?;
        if now == self.before {
            return Ok(());
        }
        let in_place = matches!(self.before, Content::File(_));
        // A rewriting in place that was interrupted leaves the beginning of our text, or nothing.
        let ours = |text: &[u8]| {
            text == self.after.as_bytes() || in_place && self.after.as_bytes().starts_with(text)
        };
        if !matches!(&now, Content::File(text) if ours(text)) {
            tracing::warn!(path = %self.path.display(), "left as it is: somebody wrote this file in the meantime");
            return Ok(());
        }
        self.swap_in(&self.before, in_place).map_err(failed)
    }

    fn swap_in(&self, content: &Content, in_place: bool) -> io::Result<()> {
        if let (Content::File(text), true) = (content, in_place) {
            return fs::write(&self.path, text);
        }
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".quicbond");
        let beside = self.path.with_file_name(name);
        match content {
            Content::Nothing => return fs::remove_file(&self.path),
            Content::File(text) => fs::write(&beside, text)?,
            Content::Link(target) => {
                // Left by a process that was killed right here.
                match fs::remove_file(&beside) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => symlink(target, &beside)?,
                }
            }
        }
        fs::rename(&beside, &self.path)
    }
}

#[cfg(test)]
mod tests;
