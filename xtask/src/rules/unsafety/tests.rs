use super::*;

const FORBID: &str = "//! Head.\n\n#![forbid(unsafe_code)]\n";

#[test]
fn the_keyword_is_found_everywhere_but_in_net() {
    let text = "fn f() {\n    unsafe { g() }\n}\n";
    for path in ["crates/base/src/buf.rs", "crates/sim/tests/a.rs", "fuzz/targets/wire.rs", "xtask/src/a.rs"]
    {
        let found = keyword(&Repo::of(&[(path, text)]));
        assert_eq!((found.len(), found[0].line), (1, 2), "{path}");
    }
    assert_eq!(keyword(&Repo::of(&[("crates/net/src/sys.rs", text)])), []);
}

#[test]
fn the_word_may_be_spoken_of() {
    let text = "#![forbid(unsafe_code)]\n// unsafe\nconst S: &str = \"unsafe\";\n";
    assert_eq!(keyword(&Repo::of(&[("crates/base/src/lib.rs", text)])), []);
}

#[test]
fn every_root_forbids() {
    let roots = [
        "crates/base/src/lib.rs",
        "crates/quicbond/src/main.rs",
        "xtask/src/main.rs",
        "crates/sim/src/bin/a.rs",
    ];
    for path in roots {
        assert_eq!(forbidden_in_roots(&Repo::of(&[(path, "fn main() {}")])).len(), 1, "{path}");
        let comment_only = "// #![forbid(unsafe_code)]\nfn main() {}";
        assert_eq!(forbidden_in_roots(&Repo::of(&[(path, comment_only)])).len(), 1, "{path}");
        assert_eq!(forbidden_in_roots(&Repo::of(&[(path, FORBID)])), [], "{path}");
    }
}

#[test]
fn modules_empty_roots_and_net_need_not_forbid() {
    let samples = [
        ("crates/base/src/time.rs", "struct Time;"),
        ("crates/h3/src/lib.rs", "//! Nothing yet.\n"),
        ("crates/net/src/lib.rs", "mod sys;"),
        ("crates/sim/src/bin/a/part.rs", "struct Part;"),
    ];
    assert_eq!(forbidden_in_roots(&Repo::of(&samples)), []);
}
