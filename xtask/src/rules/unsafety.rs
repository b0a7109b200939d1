//! Unsafe code lives in one crate and in single files that are listed here, and the compiler is told so in all the others.

use super::{Finding, crate_folder};
use crate::repo::Repo;
use crate::source::words;

const RULE: &str = "unsafe";
/// The crate that talks to the kernel.
const HOME: &str = "net";
/// Files of other crates, each with a decision of its own; their roots deny instead of forbidding.
const FILES: [&str; 1] = ["crates/base/src/cache.rs"]; // decision 13

/// The keyword, anywhere outside its home; side workspaces included.
pub(super) fn keyword(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    let free = |path: &str| crate_folder(path) == Some(HOME) || FILES.contains(&path);
    for (path, source) in repo.sources().filter(|(path, _)| !free(path)) {
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
        let folder = crate_folder(path);
        let level = if FILES.iter().any(|file| crate_folder(file) == folder) { "deny" } else { "forbid" };
        let attribute = format!("#![{level}(unsafe_code)]");
        if folder != Some(HOME) && !code.is_empty() && !code.contains(&attribute) {
            let advice = format!("add `{attribute}` below the module comment");
            findings.push(Finding::new(path, 1, RULE, advice));
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
