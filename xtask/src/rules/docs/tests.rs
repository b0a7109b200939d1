use super::*;

fn broken(path: &str, text: &str) -> Vec<usize> {
    let samples = [("docs/there.md", ""), ("crates/base/src/lib.rs", ""), (path, text)];
    links(&Repo::of(&samples)).into_iter().map(|finding| finding.line).collect()
}

#[test]
fn links_to_what_exists_pass() {
    let text = "[a](docs/there.md) ![b](docs/there.md#part \"title\") [`c`](crates/base) [d](./docs/)\n[e]: docs/there.md\n";
    assert_eq!(broken("README.md", text), [0; 0]);
    assert_eq!(
        broken("docs/page.md", "[a](there.md) [b](../README.md/../crates/base/src/lib.rs) [c](/docs)"),
        [0; 0]
    );
}

#[test]
fn links_to_nothing_are_found() {
    assert_eq!(broken("README.md", "fine\n[a](docs/there.md) and [b](docs/gone.md)\n"), [2]);
    assert_eq!(broken("README.md", "[e]: gone.md\n"), [1]);
    assert_eq!(broken("docs/page.md", "[a](docs/there.md)"), [1]);
    assert_eq!(broken("README.md", "[a](../outside.md)"), [1]);
}

#[test]
fn addresses_anchors_and_code_are_not_followed() {
    let text = "[a](https://example.org/x) [b](mailto:a@example.org) [c](#part) `[d](gone.md)`\n\
                ```\n[e](gone.md)\n~~~\n[f](gone.md)\n```\n";
    assert_eq!(broken("README.md", text), [0; 0]);
    assert_eq!(broken("README.md", &format!("{text}[g](gone.md)")), [7]);
}

#[test]
fn a_crate_that_is_not_on_the_map_is_found() {
    let manifests = [("crates/base/Cargo.toml", ""), ("crates/h3/Cargo.toml", ""), ("xtask/Cargo.toml", "")];
    let on_map = |map: &str| crates_on_the_map(&Repo::of(&[&manifests[..], &[(MAP, map)]].concat()));
    assert_eq!(on_map("`base`, crates/h3\n```\n - xtask  checks\n```\n"), []);
    let missing = on_map("`base` and the h3 protocol; `xtask`");
    assert!(missing.len() == 1 && missing[0].advice.contains("`h3`"), "{missing:?}");
    assert_eq!(crates_on_the_map(&Repo::of(&manifests)), []);
}

fn decision_files(names: &[&str]) -> Vec<String> {
    let paths: Vec<String> = names.iter().map(|name| format!("docs/decisions/{name}")).collect();
    let samples: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    decision_numbers(&Repo::of(&samples)).into_iter().map(|finding| finding.path).collect()
}

#[test]
fn decisions_count_without_gaps() {
    assert_eq!(decision_files(&["0001-a.md", "0002-b.md", "picture.png"]), [""; 0]);
    assert_eq!(decision_files(&["0001-a.md", "0003-b.md", "0004-c.md"]), ["docs/decisions/0003-b.md"]);
    assert_eq!(decision_files(&["0001-a.md", "0001-b.md"]), ["docs/decisions/0001-b.md"]);
    assert_eq!(decision_files(&["0001-a.md", "notes.md"]), ["docs/decisions/notes.md"]);
    assert_eq!(decision_files(&["0000-a.md"]).len(), 1);
}

#[test]
fn decisions_have_their_three_headings() {
    let missing = |text: &str| decision_headings(&Repo::of(&[("docs/decisions/0001-a.md", text)])).len();
    assert_eq!(missing("# 1. A\n## Context\nx\n## Decision\ny\n## Consequences\nz\n"), 0);
    assert_eq!(missing("# 1. A\n## Context\nx\n## Decision\ny\n"), 1);
    assert_eq!(missing("# 1. A\n```\n## Context\n```\nDecision\n"), 3);
}
