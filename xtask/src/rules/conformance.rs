//! Conformance: the pages that say which test holds which rule or promise name at least one test for each, and tests that
//! exist.

use super::{Finding, is_test_file};
use crate::repo::Repo;
use std::collections::BTreeSet;

const RULE: &str = "conformance";
const PAGES: [&str; 2] = ["docs/conformance.md", "docs/send-path.md"];

/// In a table whose last column is headed "tests", every row names one at least, and what it names exists. A repository
/// without the pages promises nothing.
pub(super) fn named_tests(repo: &Repo) -> Vec<Finding> {
    let tests = test_names(repo);
    let mut findings = Vec::new();
    let pages = PAGES.iter().filter_map(|page| Some((*page, repo.file(page)?)));
    let lines = pages.flat_map(|(page, file)| file.text.lines().enumerate().map(move |line| (page, line)));
    let mut promises = false;
    for (page, (line, row)) in lines {
        let last = row.trim().trim_matches('|').rsplit('|').next().unwrap_or_default().trim();
        promises = row.starts_with('|') && (promises || last == "tests");
        let is_ruling = !last.is_empty() && last.chars().all(|c| "-: ".contains(c));
        if !promises || last == "tests" || is_ruling {
            continue;
        }
        let names = || last.split('`').skip(1).step_by(2);
        if names().next().is_none() {
            let advice = "no test is named: name the one that holds this rule, or write it".to_owned();
            findings.push(Finding::new(page, line + 1, RULE, advice));
        }
        for name in names().filter(|name| !tests.contains(name.rsplit("::").next().unwrap_or(name))) {
            let advice =
                format!("no test is called `{name}`: name the one that holds this rule, or write it");
            findings.push(Finding::new(page, line + 1, RULE, advice));
        }
    }
    findings
}

fn test_names(repo: &Repo) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, source) in repo.sources() {
        let whole = is_test_file(path);
        let functions = source.functions().into_iter();
        names.extend(functions.filter(|f| whole || source.in_tests(f.span.start)).map(|f| f.name));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::named_tests;
    use crate::repo::Repo;

    const TEST: &str =
        "#[cfg(test)]\nmod tests {\n    #[test]\n    fn it_holds() {}\n}\nfn it_is_no_test() {}\n";

    fn findings(row: &str) -> Vec<String> {
        let page = format!("Prose about `nothing`.\n\n| rule | tests |\n|---|---|\n{row}\n");
        let repo = Repo::of(&[("docs/conformance.md", &page), ("crates/a/src/lib.rs", TEST)]);
        named_tests(&repo).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_test_that_exists_may_be_named() {
        assert!(findings("| `anything` goes here | `it_holds`, `a::it_holds` |").is_empty());
    }

    #[test]
    fn a_name_without_a_test_is_found() {
        for name in ["it_breaks", "it_is_no_test"] {
            let found = findings(&format!("| a rule | `it_holds`, `{name}` |"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("docs/conformance.md:5: conformance: no test is called"));
        }
    }

    #[test]
    fn a_rule_without_a_test_is_found() {
        for row in ["| a rule | |", "| a rule | some day |", "| a rule of `something` | none |"] {
            let found = findings(row);
            assert_eq!(found.len(), 1, "{row} {found:?}");
            assert!(found[0].starts_with("docs/conformance.md:5: conformance: no test is named"));
        }
    }

    #[test]
    fn without_the_page_there_is_nothing_to_check() {
        assert!(named_tests(&Repo::of(&[("crates/a/src/lib.rs", TEST)])).is_empty());
    }
}
