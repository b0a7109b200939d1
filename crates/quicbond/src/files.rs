//! Files that hold secrets or must never be seen half written.
//!
//! Everything is written beside its place, flushed to the disk, and then put there in one step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

/// Readable for everybody who may enter the folder.
pub(crate) const PUBLIC: u32 = 0o644;
/// For the owner only.
pub(crate) const PRIVATE: u32 = 0o600;

/// Puts `text` at `path`, which must not exist.
pub(crate) fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = written_beside(path, text, mode)?;
    // Unlike a rename, a link never replaces anything.
    let placed = fs::hard_link(&beside, path);
    fs::remove_file(&beside).ok();
    placed?;
    flush_folder(path)
}

/// Puts `text` at `path`, in place of what is there. Whoever owned the old file owns the new one.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Through a symbolic link, the file is replaced and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = written_beside(&target, text, mode)?;
    let placed = keep_owner(&target, &beside).and_then(|()| fs::rename(&beside, &target));
    if placed.is_err() {
        fs::remove_file(&beside).ok();
    }
    placed?;
    flush_folder(&target)
}

fn written_beside(path: &Path, text: &str, mode: u32) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // Left behind by a process of the same number that was killed.
    fs::remove_file(&beside).ok();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(&beside).ok();
    }
    written.map(|()| beside)
}

fn keep_owner(old: &Path, new: &Path) -> io::Result<()> {
    let (Ok(old), Ok(ours)) = (fs::metadata(old), fs::metadata(new)) else { return Ok(()) };
    if (old.uid(), old.gid()) == (ours.uid(), ours.gid()) {
        return Ok(());
    }
    chown(new, Some(old.uid()), Some(old.gid()))
}

/// Makes the new name survive a power cut.
fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
