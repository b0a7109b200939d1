use super::*;

const LIST: &str = "pub mod controller;\nmod cubic;\nmod bbr;\nmod hystart;\n\
                    pub const ALL: &[&Entry<dyn Controller>] = &[&cubic::ENTRY, &bbr::ENTRY];\n";
const POLICY: &str = "pub const ENTRY: Entry<dyn Controller> = Entry {};\n";

/// The folder of congestion controllers with this list and these further files.
fn found(list: &str, files: &[(&str, &str)]) -> Vec<String> {
    let mut samples = vec![("mod.rs", list), ("controller.rs", "pub trait Controller {}")];
    samples.extend(files);
    let samples: Vec<_> =
        samples.iter().map(|(name, text)| (format!("crates/policy/src/cc/{name}"), *text)).collect();
    let samples: Vec<_> = samples.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    policies(&Repo::of(&samples))
        .into_iter()
        .map(|finding| format!("{}: {}", finding.path, finding.advice))
        .collect()
}

#[test]
fn listed_policies_and_building_blocks_pass() {
    let files = [
        ("cubic.rs", POLICY),
        ("cubic/tests.rs", POLICY),
        ("bbr/mod.rs", "mod model;"),
        ("bbr/model.rs", POLICY),
        ("hystart.rs", "struct Hystart; // no ENTRY of its own"),
        ("tests.rs", "impl Controller for Fake {}"),
    ];
    assert_eq!(found(LIST, &files), [""; 0]);
}

#[test]
fn a_policy_missing_from_the_list_is_found() {
    let list = LIST.replace("&bbr::ENTRY", "");
    let file = found(&list, &[("bbr.rs", POLICY)]);
    assert!(file.len() == 1 && file[0].contains("cc/bbr.rs: a policy that nobody can choose"), "{file:?}");
    let folder = found(&list, &[("bbr/mod.rs", "mod model;"), ("bbr/model.rs", POLICY)]);
    assert!(folder.len() == 1 && folder[0].contains("cc/bbr/mod.rs"), "{folder:?}");
}

#[test]
fn a_controller_without_an_entry_is_found_by_its_trait() {
    let list = LIST.replace("&cubic::ENTRY,", "");
    assert_eq!(found(&list, &[("cubic.rs", "impl super::Controller for Cubic {}")]).len(), 1);
    assert_eq!(found(&list, &[("cubic.rs", "#[cfg(test)] mod t { impl Controller for Fake {} }")]).len(), 0);
}

#[test]
fn a_name_in_a_comment_of_the_list_does_not_count() {
    let list = LIST.replace("&bbr::ENTRY", "/* &bbr::ENTRY */");
    assert_eq!(found(&list, &[("bbr.rs", POLICY)]).len(), 1);
}

#[test]
fn a_file_that_is_no_module_is_found() {
    let orphan = found(LIST, &[("vegas.rs", "struct Vegas;")]);
    assert!(orphan.len() == 1 && orphan[0].contains("declare `mod vegas;`"), "{orphan:?}");
}

#[test]
fn a_folder_without_a_list_is_found() {
    assert_eq!(found("pub mod controller;", &[]).len(), 1);
}

#[test]
fn schedulers_are_checked_like_controllers() {
    let folder = "crates/policy/src/sched";
    let list = "pub mod scheduler;\nmod rr;\npub const ALL: &[u8] = &[];";
    let (list_path, policy_path) = (format!("{folder}/mod.rs"), format!("{folder}/rr.rs"));
    let samples = [(list_path.as_str(), list), (&policy_path, "impl Scheduler for RoundRobin {}")];
    assert_eq!(policies(&Repo::of(&samples)).len(), 1);
}
