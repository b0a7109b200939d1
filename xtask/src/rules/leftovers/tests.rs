use super::super::Rule;
use super::*;

fn found(rule: Rule, text: &str) -> Vec<usize> {
    rule(&Repo::of(&[("a.rs", text)])).into_iter().map(|finding| finding.line).collect()
}

#[test]
fn markers_are_found_in_comments_and_code() {
    for marker in ["TODO", "FIXME", "XXX", "HACK"] {
        assert_eq!(found(markers, &format!("\n// {marker}: later\n")), [2], "{marker}");
        assert_eq!(found(markers, &format!("/// Later ({marker}).\nfn f() {{}}\n")), [1], "{marker}");
    }
    assert_eq!(found(markers, "const HACK: u8 = 1;"), [1]);
}

#[test]
fn words_that_only_resemble_markers_pass() {
    assert_eq!(found(markers, "// a hack, todos, XXXL\nconst S: &str = \"TODO\"; struct Todo;"), [0; 0]);
}

#[test]
fn macros_of_unfinished_work_are_found() {
    for name in ["dbg", "todo", "unimplemented"] {
        assert_eq!(found(macros, &format!("fn f() {{\n    {name}!(x)\n}}\n")), [2], "{name}");
    }
    assert_eq!(
        found(macros, "fn f(todo: u8) { if todo != 1 || todo!=2 {} }\nconst S: &str = \"todo!()\";"),
        [0; 0]
    );
}

#[test]
fn ignored_tests_are_found() {
    assert_eq!(found(ignored_tests, "#[test]\n#[ignore]\nfn f() {}\n"), [2]);
    assert_eq!(found(ignored_tests, "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n"), [2]);
    assert_eq!(found(ignored_tests, "#[test]\nfn ignore() {}\nconst S: &str = \"#[ignore]\";"), [0; 0]);
}

#[test]
fn empty_names_are_found() {
    let bad = [
        "fn handle_frame() {}",
        "pub async fn process_ack() {}",
        "fn do_it() {}",
        "mod util;",
        "pub mod helpers {}",
        "mod common;",
        "struct PathManager;",
        "pub(crate) enum KeyManager {}",
    ];
    for text in bad {
        assert_eq!(found(names, text), [1], "{text}");
    }
}

#[test]
fn telling_names_pass() {
    let good = "fn handle() {} fn processed() {} fn on_frame() {} mod utility_belt; struct Managers;\n\
                fn f() { handle_x(); } // fn do_it\nlet s = \"mod util\";";
    assert_eq!(found(names, good), [0; 0]);
}
