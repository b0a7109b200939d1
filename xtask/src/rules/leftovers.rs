//! Leftovers: what was meant to be temporary, and names that say nothing.

use super::Finding;
use crate::repo::Repo;
use crate::source::{Source, words};

const RULE: &str = "leftovers";

const MARKERS: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];
const MACROS: &[&str] = &["dbg", "todo", "unimplemented"];
const IGNORED: &str = "#[ignore";
/// Verbs that fit every function, modules that attract everything, types that own everybody's business.
const EMPTY_VERBS: &[&str] = &["handle_", "process_", "do_"];
const EMPTY_MODULES: &[&str] = &["util", "utils", "helper", "helpers", "common"];
const EMPTY_TYPE: &str = "Manager";

/// Notes to oneself, in comments as well as in code.
pub(super) fn markers(repo: &Repo) -> Vec<Finding> {
    let complaint = |_: &str, word: &str, _: &str| {
        let advice = || format!("{word}: do it now, or open an issue and say in a sentence how things are");
        MARKERS.contains(&word).then(advice)
    };
    each_word(repo, |source| &source.prose, complaint)
}

/// Macros of unfinished work.
pub(super) fn macros(repo: &Repo) -> Vec<Finding> {
    let complaint = |_: &str, word: &str, rest: &str| {
        let found = MACROS.contains(&word) && rest.starts_with('!') && !rest.starts_with("!=");
        found.then(|| format!("`{word}!`: finish the code, or take it out"))
    };
    each_word(repo, |source| &source.prose, complaint)
}

/// Tests that are switched off.
pub(super) fn ignored_tests(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in repo.sources() {
        for (at, _) in source.prose.match_indices(IGNORED) {
            let advice = "a test that never runs: mend it, or let it assert what happens today";
            findings.push(Finding::new(path, source.line(at), RULE, advice));
        }
    }
    findings
}

/// Names that say nothing.
pub(super) fn names(repo: &Repo) -> Vec<Finding> {
    let complaint = |before: &str, word: &str, _: &str| match before {
        "fn" if EMPTY_VERBS.iter().any(|verb| word.starts_with(verb)) => {
            Some(format!("`{word}`: say what it does, or `on_...` for what the peer or the network did"))
        }
        "mod" if EMPTY_MODULES.contains(&word) => {
            Some(format!("`mod {word}`: name it after what it owns, or move each thing to its user"))
        }
        "struct" | "enum" | "trait" if word.ends_with(EMPTY_TYPE) => {
            Some(format!("`{word}`: name what it is, not that it manages"))
        }
        _ => None,
    };
    each_word(repo, |source| &source.code, complaint)
}

/// Asks about each word of a view, with the word before it and the text behind it.
fn each_word(
    repo: &Repo,
    view: impl Fn(&Source) -> &str,
    complaint: impl Fn(&str, &str, &str) -> Option<String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in repo.sources() {
        let text = view(source);
        let mut before = "";
        for (at, word) in words(text) {
            if let Some(advice) = complaint(before, word, &text[at + word.len()..]) {
                findings.push(Finding::new(path, source.line(at), RULE, advice));
            }
            before = word;
        }
    }
    findings
}

#[cfg(test)]
mod tests;
