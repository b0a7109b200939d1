use super::*;

fn packages(text: &str) -> Vec<(String, Table, usize)> {
    dependencies(text).into_iter().map(|found| (found.package, found.table, found.line)).collect()
}

fn entry(package: &str, table: Table, line: usize) -> (String, Table, usize) {
    (package.to_owned(), table, line)
}

#[test]
fn every_spelling_of_a_dependency_is_read() {
    let text = "[package]\nname = \"x\"\n[dependencies]\na = \"1\" # b = \"2\"\nc.workspace = true\n\"d\" = { version = \"1\" }\n\
                e = { version = \"1\", features = [\n  \"f\",\n] }\ng = { package = \"tokio\", version = \"1\" }\n";
    let lines = [("a", 4), ("c", 5), ("d", 6), ("e", 7), ("tokio", 10)];
    assert_eq!(packages(text), lines.map(|(name, line)| entry(name, Table::Normal, line)));
}

#[test]
fn tables_of_their_own_and_of_targets_are_read() {
    let text = "[dependencies.a]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nb = \"1\"\n\
                [dev-dependencies]\nc = \"1\"\n[build-dependencies.d]\npackage = \"e\"\n[features]\nf = []\n";
    let expected = [
        entry("a", Table::Normal, 1),
        entry("b", Table::Normal, 4),
        entry("c", Table::Dev, 6),
        entry("e", Table::Build, 7),
    ];
    assert_eq!(packages(text), expected);
}

#[test]
fn the_list_of_the_workspace_is_no_dependency() {
    assert_eq!(
        packages("[workspace.dependencies]\na = \"1\"\n[workspace.dependencies.b]\nversion = \"1\"\n"),
        []
    );
}
