//! nftables through the `nft` program: one script, one transaction.

use super::error::{Error, Kind, Result};
use serde_json::Value;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Where the program lies; a shell without login has no `sbin` in its path.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];
/// A ruleset of a busy router takes nft well under a second; one that waits this long waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// Applies `script` as a whole or not at all.
pub(super) async fn apply(script: &str) -> Result<()> {
    let output = run(&["-f", "-"], script).await?;
    if output.status.success() { Ok(()) } else { Err(complaint("applying nftables rules", &output)) }
}

/// Whether the table `inet NAME` exists.
pub(super) async fn table_exists(name: &str) -> Result<bool> {
    let output = run(&["-j", "list", "tables"], "").await?;
    if !output.status.success() {
        return Err(complaint("listing nftables tables", &output));
    }
    let listing: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::new(Kind::Io, format!("listing nftables tables: nft answered oddly: {error}")))?;
    let tables = listing["nftables"].as_array().into_iter().flatten().map(|item| &item["table"]);
    Ok(tables.into_iter().any(|table| table["family"] == "inet" && table["name"] == name))
}

/// Deletes the table `inet NAME`; one that is gone already is no fault.
pub(super) async fn delete_table(name: &str) -> Result<()> {
    if !table_exists(name).await? {
        return Ok(());
    }
    apply(&format!("delete table inet {name}\n")).await
}

async fn run(arguments: &[&str], script: &str) -> Result<Output> {
    for program in PROGRAMS {
        match timeout(PATIENCE, run_program(program, arguments, script)).await {
            Err(_) => return Err(Error::new(Kind::Io, format!("{program} did not answer within {PATIENCE:?}"))),
            Ok(Ok(output)) => return Ok(output),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Err(error)) => return Err(Error::io(format!("running {program}"), &error)),
        }
    }
    let message = "the program nft is not installed; install the package nftables (Debian, Ubuntu, Fedora, Alpine, \
                   Arch all call it that)";
    Err(Error::new(Kind::Missing, message))
}

async fn run_program(program: &str, arguments: &[&str], script: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A child that stopped reading says why on stderr, which is worth more than the broken pipe.
        match input.write_all(script.as_bytes()).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output().await
}

fn complaint(what: &str, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Operation not permitted") {
        return Error::new(Kind::Permission, format!("{what}: no permission; run as root or with CAP_NET_ADMIN"));
    }
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.find(|line| line.contains("rror")).unwrap_or("nft gave no reason").to_owned();
    Error::new(Kind::Io, format!("{what}: {first}"))
}
