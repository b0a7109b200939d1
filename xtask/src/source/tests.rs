use super::*;

fn names(text: &str) -> Vec<String> {
    Source::new(text).functions().into_iter().map(|function| function.name).collect()
}

fn code_words(text: &str) -> Vec<String> {
    words(&Source::new(text).code).map(|(_, word)| word.to_owned()).collect()
}

#[test]
fn words_in_comments_and_literals_are_not_code() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" i b\"j\" 'k' '\\'' l '\\u{41}' m 'ü' n";
    assert_eq!(code_words(text), ["a", "e", "i", "b", "l", "m", "n"]);
}

#[test]
fn raw_strings_end_at_their_own_number_of_hashes() {
    let text = "x r\"a \\\" y r#\"b \" c\"# z br##\"d \"# e\"## cr#\"f\"# r#fn w for\"g\"";
    assert_eq!(code_words(text), ["x", "r", "y", "r", "z", "br", "cr", "r", "fn", "w", "for"]);
}

#[test]
fn lifetimes_and_labels_are_code() {
    let text = "fn f<'a, 'static_one>(x: &'a u8) -> char { 'outer: loop { break 'outer; } } 'x'";
    assert_eq!(code_words(text).last().unwrap(), "outer");
    assert_eq!(names(text), ["f"]);
}

#[test]
fn comments_stay_in_prose_and_literals_do_not() {
    let source = Source::new("a // b\n\"c\"");
    assert_eq!(words(&source.prose).map(|(_, word)| word).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn views_keep_offsets_and_lines() {
    let text = "/* ü\n */ let s = \"ä\nö\";\nfn last() {}\n";
    let source = Source::new(text);
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.lines(), 4);
    assert_eq!(source.line(text.find("fn").unwrap()), 4);
}

#[test]
fn unfinished_text_is_read_to_its_end() {
    for text in
        ["\"abc", "/* abc", "r#\"abc\"", "'\\", "'", "\"\\", "fn f() { \"", "#[test", "#[test]", "r#\""]
    {
        let source = Source::new(text);
        assert_eq!(source.code.len(), text.len(), "{text}");
        assert_eq!(source.functions(), [], "{text}");
    }
}

#[test]
fn functions_are_found_with_their_bodies_only() {
    let text = "trait T { fn declared(&self); fn given(&self) -> [u8; 2] { fn nested() {} [0; 2] } }\n\
                type F = fn(u8) -> u8; extern \"C\" { fn foreign(x: [u8; 4]); } fn array(x: [u8; { 1 }]) { if x {} }";
    assert_eq!(names(text), ["given", "nested", "array"]);
}

#[test]
fn a_function_spans_from_its_keyword_to_its_closing_brace() {
    let text = "pub fn f(x: &str) {\n  call(|| { \"}\" }, '}'); // }\n}\nfn g() {}\n";
    let span = Source::new(text).functions()[0].span.clone();
    assert_eq!(&text[span], "fn f(x: &str) {\n  call(|| { \"}\" }, '}'); // }\n}");
}

#[test]
fn test_items_are_known_and_others_are_not() {
    let text = "#[cfg(test)]\n#[allow(dead_code)]\nmod a { fn one() {} }\n#[tokio::test] async fn two() {}\n\
                #[cfg(not(test))] fn three() {}\n#[cfg(test)] mod tests;\n#[inline] fn four() {}";
    let source = Source::new(text);
    let tested = |name: &str| source.in_tests(text.find(name).unwrap());
    assert!(tested("one") && tested("two"));
    assert!(!tested("three") && !tested("four"));
}
