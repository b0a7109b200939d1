//! Registry: a policy that nobody can name is dead code, so each one stands in its folder's list.
//!
//! A file (or folder) is a policy if it defines an `ENTRY` or implements the folder's contract. Anything else is a
//! building block of policies, and has to be a module of the folder at least.

use super::{Finding, is_test_file};
use crate::repo::Repo;
use crate::source::{Source, words};

const RULE: &str = "registry";

/// Folders of policies, the file of their contract and the trait in it.
const FOLDERS: &[(&str, &str, &str)] = &[
    ("crates/policy/src/cc", "controller", "Controller"),
    ("crates/policy/src/sched", "scheduler", "Scheduler"),
];

pub(super) fn policies(repo: &Repo) -> Vec<Finding> {
    FOLDERS
        .iter()
        .flat_map(|&(folder, contract, name)| folder_policies(repo, folder, contract, name))
        .collect()
}

fn folder_policies(repo: &Repo, folder: &str, contract: &str, contract_trait: &str) -> Vec<Finding> {
    let list_path = format!("{folder}/mod.rs");
    let Some(list) = repo.file(&list_path).and_then(|file| file.source.as_ref()) else { return Vec::new() };
    let Some(all) = list_items(&list.code) else {
        return vec![Finding::new(&list_path, 1, RULE, "no list `ALL`: declare one, even an empty one")];
    };
    let mut findings = Vec::new();
    let mut modules: Vec<&str> = repo.children(folder).map(module_name).collect();
    modules.dedup();
    for module in modules.into_iter().filter(|&name| name != "mod" && name != "tests" && name != contract) {
        let (path, is_policy) = describe(repo, folder, module, contract_trait);
        if !follows(&list.code, "mod", module) {
            let advice = format!("not a module: declare `mod {module};` in {list_path}, or delete the file");
            findings.push(Finding::new(&path, 1, RULE, advice));
        } else if is_policy && !words(all).any(|(_, word)| word == module) {
            let advice =
                format!("a policy that nobody can choose: add `{module}::ENTRY` to `ALL` in {list_path}");
            findings.push(Finding::new(&path, 1, RULE, advice));
        }
    }
    findings
}

/// The file that stands for a module, and whether any file of the module is a policy.
fn describe(repo: &Repo, folder: &str, module: &str, contract_trait: &str) -> (String, bool) {
    let (file, inside) = (format!("{folder}/{module}.rs"), format!("{folder}/{module}/"));
    let belongs = |path: &str| path == file || (path.starts_with(&inside) && !is_test_file(path));
    let mut sources = repo.sources().filter(|(path, _)| belongs(path));
    let is_policy = sources.any(|(_, source)| defines_policy(source, contract_trait));
    let path = if repo.has(&file) { file } else { format!("{inside}mod.rs") };
    (path, is_policy)
}

fn defines_policy(source: &Source, contract_trait: &str) -> bool {
    let definitions = ["const", "static"];
    let mut before = ["", ""];
    words(&source.code).filter(|&(at, _)| !source.in_tests(at)).any(|(_, word)| {
        let entry = word == "ENTRY" && definitions.contains(&before[1]);
        let implementation = word == "for" && before[1] == contract_trait;
        before = [before[1], word];
        entry || implementation
    })
}

/// What stands in the list, as code.
fn list_items(code: &str) -> Option<&str> {
    let mut previous = "";
    let (at, _) = words(code).find(|&(_, word)| {
        let found = word == "ALL" && ["const", "static"].contains(&previous);
        previous = word;
        found
    })?;
    let items = code[at..].split_once('=')?.1;
    items.split(';').next()
}

fn follows(code: &str, first: &str, second: &str) -> bool {
    let mut previous = "";
    words(code).any(|(_, word)| core::mem::replace(&mut previous, word) == first && word == second)
}

fn module_name(child: &str) -> &str {
    child.strip_suffix(".rs").unwrap_or(child)
}

#[cfg(test)]
mod tests;
