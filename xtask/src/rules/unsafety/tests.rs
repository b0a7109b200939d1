use super::*;

const FORBID: &str = "//! Head.\n\n#![forbid(unsafe_code)]\n";

#[test]
fn the_keyword_is_found_everywhere_but_in_net_and_the_listed_files() {
    let text = "fn f() {\n    unsafe { g() }\n}\n";
    for path in ["crates/base/src/buf.rs", "crates/sim/tests/a.rs", "fuzz/targets/wire.rs", "xtask/src/a.rs"]
    {
        let found = keyword(&Repo::of(&[(path, text)]));
        assert_eq!((found.len(), found[0].line), (1, 2), "{path}");
    }
    for path in ["crates/net/src/sys.rs", "crates/base/src/cache.rs"] {
        assert_eq!(keyword(&Repo::of(&[(path, text)])), [], "{path}");
    }
}

#[test]
fn the_word_may_be_spoken_of() {
    let text = "#![forbid(unsafe_code)]\n// unsafe\nconst S: &str = \"unsafe\";\n";
    assert_eq!(keyword(&Repo::of(&[("crates/base/src/lib.rs", text)])), []);
}

#[test]
fn every_root_forbids() {
    let roots = [
        "crates/proto/src/lib.rs",
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
fn the_root_of_a_crate_with_a_listed_file_denies() {
    let found = |text| forbidden_in_roots(&Repo::of(&[("crates/base/src/lib.rs", text)])).len();
    assert_eq!(found("#![deny(unsafe_code)]\nmod cache;"), 0);
    assert_eq!([found("mod cache;"), found("#![allow(unsafe_code)]\nmod cache;")], [1, 1]);
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
