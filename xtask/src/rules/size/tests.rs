use super::*;

fn lines(count: usize) -> String {
    "// one line\n".repeat(count)
}

fn function(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
}

#[test]
fn a_file_of_601_lines_is_too_long() {
    assert_eq!(files(&Repo::of(&[("crates/base/src/a.rs", &lines(600))])), []);
    let found = files(&Repo::of(&[("crates/base/src/a.rs", &lines(601))]));
    assert_eq!((found.len(), found[0].line), (1, 601));
}

#[test]
fn a_test_file_may_have_900_lines() {
    for path in ["crates/base/src/a/tests.rs", "crates/base/tests/a.rs"] {
        assert_eq!(files(&Repo::of(&[(path, &lines(900))])), []);
        assert_eq!(files(&Repo::of(&[(path, &lines(901))])).len(), 1, "{path}");
    }
}

#[test]
fn a_function_of_71_lines_is_too_long() {
    assert_eq!(functions(&Repo::of(&[("a.rs", &function(70))])), []);
    let found = functions(&Repo::of(&[("a.rs", &format!("\n{}", function(71)))]));
    assert_eq!((found.len(), found[0].line), (1, 2));
    assert!(found[0].advice.contains("`long` has 71 lines"), "{}", found[0].advice);
}

#[test]
fn braces_in_literals_do_not_hide_a_long_function() {
    let text = function(71).replacen("step();", "one(\"}\", r#\"}\"}\"#, '}', b'}'); // }", 1);
    assert_eq!(functions(&Repo::of(&[("a.rs", &text)])).len(), 1);
}

#[test]
fn test_functions_may_be_long() {
    let inline = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(90));
    let samples = [("a.rs", inline.as_str()), ("tests/b.rs", &function(90)), ("c/tests.rs", &function(90))];
    assert_eq!(functions(&Repo::of(&samples)), []);
    let below = format!("#[cfg(test)]\nmod tests;\n{}", function(90));
    assert_eq!(functions(&Repo::of(&[("a.rs", &below)])).len(), 1);
}
