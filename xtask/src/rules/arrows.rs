//! Arrows: a crate depends on lower floors only, and what comes from outside stays in the crates made for it.

use super::{Finding, crate_folder};
use crate::manifest::{Dependency, Table, dependencies};
use crate::repo::Repo;

const RULE: &str = "arrows";

/// The floor of each crate folder; an arrow points to a lower floor.
const FLOORS: &[(&str, u8)] = &[
    ("base", 1),
    ("wire", 2),
    ("policy", 2),
    ("net", 2),
    ("proto", 3),
    ("tls", 4),
    ("engine", 4),
    ("mpquic", 5),
    ("h3", 6),
    ("bond", 5),
    ("sim", 6),
    ("quicbond", 7),
];

/// What a crate's tests may use of a neighbour: the engine's shake hands for real.
const SIDEWAYS_IN_TESTS: &[(&str, &str)] = &[("engine", "tls")];

/// Pairs that stay apart although the floors would allow the arrow.
const APART: &[(&str, &str)] = &[("proto", "net")];

/// Crates from outside, with the family of names that begin like them, and who may use them.
const FOREIGN: &[(&str, &[&str])] = &[
    ("tokio", &["mpquic", "h3", "quicbond"]),
    ("clap", &["quicbond"]),
    ("serde", &["quicbond"]),
    ("axum", &["quicbond"]),
    ("rustls", &["tls"]),
    ("libc", &["net"]),
];

/// Arrows between our own crates. Tests may also use `sim`, which stands above what it drives.
pub(super) fn between_crates(repo: &Repo) -> Vec<Finding> {
    let complaint = |from: &str, dependency: &Dependency| {
        let to = our_folder(&dependency.package)?;
        let Some(above) = floor(from) else {
            return Some(format!(
                "`{from}` uses `{to}` but has no floor: give it one in the list of this rule"
            ));
        };
        let Some(below) = floor(to) else {
            return Some(format!("`{to}` has no floor: give it one in the list of this rule"));
        };
        let tool = (to == "sim" && from != "sim") || SIDEWAYS_IN_TESTS.contains(&(from, to));
        let for_tests = dependency.table == Table::Dev && tool;
        if for_tests || (below < above && !APART.contains(&(from, to))) {
            return None;
        }
        let shared = "move what both need to a lower floor, or pass it in as a value";
        if below < above {
            return Some(format!("`{from}` and `{to}` stay apart: {shared}"));
        }
        Some(format!("`{from}` (floor {above}) may not use `{to}` (floor {below}): {shared}"))
    };
    each_dependency(repo, complaint)
}

/// Arrows to the outside. Tests are free in this: what they use does not reach the product.
pub(super) fn to_foreign_crates(repo: &Repo) -> Vec<Finding> {
    let complaint = |from: &str, dependency: &Dependency| {
        let package = dependency.package.as_str();
        let (name, users) = FOREIGN.iter().find(|(name, _)| is_family(package, name))?;
        let allowed = dependency.table == Table::Dev || users.contains(&from);
        let home = users.join("` and `");
        (!allowed)
            .then(|| format!("`{package}` belongs to `{home}` only: keep {name} behind their interface"))
    };
    each_dependency(repo, complaint)
}

fn each_dependency(repo: &Repo, complaint: impl Fn(&str, &Dependency) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repo.files().iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let Some(from) = crate_folder(&file.path) else { continue };
        for dependency in dependencies(&file.text) {
            if let Some(advice) = complaint(from, &dependency) {
                findings.push(Finding::new(&file.path, dependency.line, RULE, advice));
            }
        }
    }
    findings
}

fn floor(folder: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == folder).map(|&(_, floor)| floor)
}

/// The folder of a package of ours: `mpquic-wire` lives in `wire`.
fn our_folder(package: &str) -> Option<&str> {
    match package {
        "mpquic" | "quicbond" | "xtask" => Some(package),
        _ => package.strip_prefix("mpquic-"),
    }
}

fn is_family(package: &str, name: &str) -> bool {
    package.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

#[cfg(test)]
mod tests;
