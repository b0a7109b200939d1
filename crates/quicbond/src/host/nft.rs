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
    let output = run(&PROGRAMS, &["-f", "-"], script).await?;
    if output.status.success() { Ok(()) } else { Err(complaint("applying nftables rules", &output)) }
}

/// Whether the table `inet NAME` exists.
pub(super) async fn table_exists(name: &str) -> Result<bool> {
    let output = run(&PROGRAMS, &["-j", "list", "tables"], "").await?;
    if !output.status.success() {
        return Err(complaint("listing nftables tables", &output));
    }
    let listing: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        Error::new(Kind::Io, format!("listing nftables tables: nft answered oddly: {error}"))
    })?;
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

/// Runs the first of the programs that exists.
async fn run(programs: &[&str], arguments: &[&str], script: &str) -> Result<Output> {
    for program in programs {
        match timeout(PATIENCE, run_program(program, arguments, script)).await {
            Err(_) => {
                return Err(Error::new(Kind::Io, format!("{program} did not answer within {PATIENCE:?}")));
            }
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
        return Error::new(
            Kind::Permission,
            format!("{what}: no permission; run as root or with CAP_NET_ADMIN"),
        );
    }
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.find(|line| line.contains("rror")).unwrap_or("nft gave no reason").to_owned();
    Error::new(Kind::Io, format!("{what}: {first}"))
}

#[cfg(test)]
mod tests {
    use super::{apply, run, table_exists};
    use crate::host::error::Kind;
    use crate::host::sandbox::{Namespace, shell};
    use tokio::runtime::Builder;

    #[test]
    fn a_missing_program_is_named_with_the_package_to_install() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(run(&["/no/such/nft", "/no/nft"], &[], "")).unwrap_err();
        assert_eq!(error.kind, Kind::Missing);
        assert!(error.to_string().contains("install the package nftables"), "{error}");
    }

    #[test]
    fn a_script_with_a_mistake_changes_nothing_and_says_where() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(|runtime| {
            runtime.block_on(async {
                let error = apply(
                    "create table inet one\ncreate table inet two\nadd chain inet two c { nonsense; }\n",
                );
                let error = error.await.unwrap_err().to_string();
                assert!(error.contains(":3:") && !error.contains('\n'), "{error}");
                assert_eq!(shell("nft list tables"), "");
                apply("create table inet one\n").await.unwrap();
                assert!(table_exists("one").await.unwrap());
                assert!(!table_exists("two").await.unwrap());
                assert!(apply("create table inet one\n").await.is_err());
            });
        });
    }
}
