//! The rules of the house: the list. Each is a function from the repository to what breaks the rule.

mod arrows;
mod conformance;
mod docs;
mod leftovers;
mod registry;
mod size;
mod unsafety;

use core::fmt;

use crate::repo::Repo;

/// A rule says where the house is not as it should be.
pub(crate) type Rule = fn(&Repo) -> Vec<Finding>;

/// Every rule that `tidy` applies.
pub(crate) const ALL: &[Rule] = &[
    size::files,
    size::functions,
    arrows::between_crates,
    arrows::to_foreign_crates,
    registry::policies,
    unsafety::keyword,
    unsafety::forbidden_in_roots,
    leftovers::markers,
    leftovers::macros,
    leftovers::ignored_tests,
    leftovers::names,
    docs::links,
    docs::crates_on_the_map,
    docs::decision_numbers,
    docs::decision_headings,
    conformance::named_tests,
];

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    /// What to do about it.
    pub(crate) advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

/// Whether a file holds nothing but tests: `tests.rs`, or anything in a `tests` folder.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// The crate folder that a path lies in: `crates/NAME`, or `xtask`.
fn crate_folder(path: &str) -> Option<&str> {
    if path.starts_with("xtask/") {
        return Some("xtask");
    }
    path.strip_prefix("crates/")?.split_once('/').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_prints_as_place_rule_and_advice() {
        let finding = Finding::new("a/b.rs", 7, "size", "cut it in two");
        assert_eq!(finding.to_string(), "a/b.rs:7: size: cut it in two");
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        assert!(is_test_file("crates/base/src/ranges/tests.rs"));
        assert!(is_test_file("crates/sim/tests/links.rs"));
        assert!(!is_test_file("crates/sim/src/contests.rs"));
    }
}
