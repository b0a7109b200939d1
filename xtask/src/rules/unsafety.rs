//! Unsafe code lives in one crate, and the compiler is told so in all the others.

use super::{Finding, crate_folder};
use crate::repo::Repo;
use crate::source::words;

const RULE: &str = "unsafe";
/// The crate that talks to the kernel.
const HOME: &str = "net";

/// The keyword, anywhere outside its home; side workspaces included.
pub(super) fn keyword(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in repo.sources().filter(|(path, _)| crate_folder(path) != Some(HOME)) {
        for (at, _) in words(&source.code).filter(|&(_, word)| word == "unsafe") {
            let advice = format!("move it to crates/{HOME} behind a safe interface, or do without");
            findings.push(Finding::new(path, source.line(at), RULE, advice));
        }
    }
    findings
}

/// The attribute, in every library and binary root of the workspace. An empty root has nothing to forbid.
pub(super) fn forbidden_in_roots(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in repo.sources().filter(|(path, _)| is_root(path)) {
        let code: String = source.code.split_whitespace().collect();
        if crate_folder(path) != Some(HOME) && !code.is_empty() && !code.contains("#![forbid(unsafe_code)]") {
            findings.push(Finding::new(
                path,
                1,
                RULE,
                "add `#![forbid(unsafe_code)]` below the module comment",
            ));
        }
    }
    findings
}

fn is_root(path: &str) -> bool {
    let Some(folder) = crate_folder(path) else { return false };
    let inside = path.trim_start_matches("crates/").trim_start_matches(folder);
    match inside.strip_prefix("/src/") {
        Some("lib.rs" | "main.rs") => true,
        Some(file) => {
            file.strip_prefix("bin/").is_some_and(|bin| !bin.contains('/') || bin.ends_with("/main.rs"))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests;
