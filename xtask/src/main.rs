//! The house's own checks: `cargo run -p xtask -- tidy [FOLDER]`.
//!
//! Reads the repository as text and prints `file:line: rule: what to do about it` for whatever breaks a rule of the
//! house. The same check is a test of this crate, so a plain `cargo test` runs it. Knows files, words and braces;
//! refuses to know types: what needs a compiler is a lint in the root `Cargo.toml` or in `clippy.toml`.

#![forbid(unsafe_code)]

mod manifest;
mod repo;
mod rules;
mod source;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use repo::Repo;
use rules::Finding;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let root = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("tidy"), folder, None) => folder.map_or_else(workspace_root, PathBuf::from),
        _ => return report("usage: cargo run -p xtask -- tidy [FOLDER]\n", ExitCode::from(2)),
    };
    match tidy(&root) {
        Ok(findings) if findings.is_empty() => report("tidy: nothing to do\n", ExitCode::SUCCESS),
        Ok(findings) => report(&listing(&findings), ExitCode::FAILURE),
        Err(error) => report(&format!("tidy: cannot read {}: {error}\n", root.display()), ExitCode::FAILURE),
    }
}

/// Every breach of a rule in the repository at `root`, in the order of files and lines.
fn tidy(root: &Path) -> std::io::Result<Vec<Finding>> {
    let repo = Repo::read(root)?;
    let mut findings: Vec<Finding> = rules::ALL.iter().flat_map(|rule| rule(&repo)).collect();
    findings.sort();
    Ok(findings)
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn listing(findings: &[Finding]) -> String {
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    text.push_str(&format!("tidy: {} to mend\n", findings.len()));
    text
}

fn report(text: &str, code: ExitCode) -> ExitCode {
    // A closed pipe (`tidy | head`) is no reason to panic; the exit code still says what was found.
    if std::io::stdout().write_all(text.as_bytes()).is_err() {
        return ExitCode::FAILURE;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let findings = tidy(&workspace_root()).unwrap();
        assert!(findings.is_empty(), "\n{}", listing(&findings));
    }

    #[test]
    fn the_walk_sees_the_workspace() {
        let repo = Repo::read(&workspace_root()).unwrap();
        for path in ["Cargo.toml", "README.md", "xtask/src/main.rs", "crates/base/src/lib.rs"] {
            assert!(repo.file(path).is_some(), "{path} was not read");
        }
        assert!(repo.files().iter().all(|file| !file.path.split('/').any(|part| part == "target")));
    }
}
