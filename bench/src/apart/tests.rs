use super::*;

#[test]
fn the_executable_is_the_one_that_cargo_names() {
    let library = r#"{"reason":"compiler-artifact","target":{"name":"bytes"},"executable":null}"#;
    let program = r#"{"reason":"compiler-artifact","target":{"name":"mpquic-bench"},"executable":"/t/release/mpquic-bench"}"#;
    let end = r#"{"reason":"build-finished","success":true}"#;
    let said = [library, "not JSON", program, end];
    assert_eq!(said.iter().find_map(|line| executable(line)), Some("/t/release/mpquic-bench".into()));
    assert_eq!([library, end].iter().find_map(|line| executable(line)), None);
}

#[test]
fn what_a_build_lacks_is_named() {
    let told = needs(|program, _| program != "cmake");
    assert!(told.starts_with("cmake (NOT FOUND: install it), a C++ compiler (found)"), "{told}");
}

#[cfg(not(feature = "tquic"))]
#[test]
fn only_tquic_is_played_by_the_other_executable() {
    let both = Executables { here: "/here".into(), apart: Some("/apart".into()) };
    for stack in stacks::ALL {
        let expected = if stack.name == "tquic" { "/apart" } else { "/here" };
        assert_eq!(both.of(stack), Path::new(expected), "{}", stack.name);
    }
}
