//! Where the programs come from.

use crate::Failure;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The newest when this was written; figures of other versions would be others.
const BORINGTUN: &str = "0.7.1";

/// Builds quicbond as it is shipped.
pub(crate) fn build_quicbond() -> Result<PathBuf, Failure> {
    let root = Path::new(ROOT).canonicalize()?;
    cargo(
        Command::new("cargo").args(["build", "--release", "--locked", "-p", "quicbond"]).current_dir(&root),
    )?;
    Ok(root.join("target/release/quicbond"))
}

/// Finds `boringtun-cli` in PATH or in `cache`, or installs it there.
pub(crate) fn boringtun(cache: &Path) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([cache.join("bin")]);
    if let Some(found) = folders.map(|folder| folder.join("boringtun-cli")).find(|file| file.is_file()) {
        return Ok(found.canonicalize()?);
    }
    cargo(
        Command::new("cargo").args(["install", "boringtun-cli", "--version", BORINGTUN, "--root"]).arg(cache),
    )?;
    Ok(cache.join("bin/boringtun-cli").canonicalize()?)
}

fn cargo(command: &mut Command) -> Result<(), Failure> {
    // The standard output is for results.
    let status =
        command.stdout(Stdio::null()).status().map_err(|error| format!("cannot start cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed ({status})").into()) }
}
