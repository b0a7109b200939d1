use super::*;

fn found(rule: super::super::Rule, folder: &str, text: &str) -> usize {
    let path =
        if folder == "xtask" { "xtask/Cargo.toml".to_owned() } else { format!("crates/{folder}/Cargo.toml") };
    rule(&Repo::of(&[(&path, text)])).len()
}

fn ours(from: &str, table: &str, to: &str) -> usize {
    found(between_crates, from, &format!("[{table}]\n{to}.workspace = true\n"))
}

fn foreign(from: &str, table: &str, package: &str) -> usize {
    found(to_foreign_crates, from, &format!("[{table}]\n{package} = \"1\"\n"))
}

#[test]
fn arrows_point_down() {
    assert_eq!(ours("proto", "dependencies", "mpquic-wire"), 0);
    assert_eq!(ours("quicbond", "dependencies", "mpquic"), 0);
    assert_eq!(ours("sim", "dependencies", "mpquic-net"), 0);
    assert_eq!(ours("wire", "dependencies", "mpquic-proto"), 1);
    assert_eq!(ours("mpquic", "build-dependencies", "quicbond"), 1);
}

#[test]
fn neighbours_never_see_each_other() {
    for (from, to) in
        [("wire", "policy"), ("policy", "net"), ("net", "wire"), ("tls", "engine"), ("bond", "h3")]
    {
        for table in ["dependencies", "dev-dependencies"] {
            assert_eq!(ours(from, table, &format!("mpquic-{to}")), 1, "{from} -> {to}");
        }
    }
}

#[test]
fn only_the_engines_tests_look_sideways_at_tls() {
    assert_eq!(ours("engine", "dependencies", "mpquic-tls"), 1);
    assert_eq!(ours("engine", "dev-dependencies", "mpquic-tls"), 0);
}

#[test]
fn proto_never_sees_net_although_it_is_below() {
    assert_eq!(ours("proto", "dependencies", "mpquic-net"), 1);
    assert_eq!(ours("proto", "dev-dependencies", "mpquic-net"), 1);
    assert_eq!(ours("engine", "dependencies", "mpquic-net"), 0);
}

#[test]
fn tests_may_use_sim_from_below_and_nothing_else_above() {
    assert_eq!(ours("proto", "dev-dependencies", "mpquic-sim"), 0);
    assert_eq!(ours("proto", "dependencies", "mpquic-sim"), 1);
    assert_eq!(ours("proto", "dev-dependencies", "mpquic-tls"), 1);
    assert_eq!(ours("tls", "dev-dependencies", "mpquic-wire"), 0);
}

#[test]
fn a_crate_without_a_floor_is_named() {
    assert_eq!(ours("cellar", "dependencies", "mpquic-base"), 1);
    assert_eq!(ours("bond", "dependencies", "mpquic-cellar"), 1);
    assert_eq!(ours("quicbond", "dependencies", "xtask"), 1);
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    let homes = [
        ("tokio", "mpquic"),
        ("tokio", "quicbond"),
        ("serde_json", "quicbond"),
        ("clap", "quicbond"),
        ("axum", "quicbond"),
        ("rustls", "tls"),
        ("libc", "net"),
    ];
    for (package, home) in homes {
        assert_eq!(foreign(home, "dependencies", package), 0, "{package} in {home}");
        for other in ["proto", "xtask"] {
            assert_eq!(foreign(other, "dependencies", package), 1, "{package} in {other}");
        }
    }
}

#[test]
fn families_of_foreign_crates_are_one_and_strangers_are_none() {
    for package in ["tokio-util", "serde_derive", "rustls-pki-types"] {
        assert_eq!(foreign("engine", "dependencies", package), 1, "{package}");
    }
    for package in ["slab", "tokiometer", "libcxx"] {
        assert_eq!(foreign("engine", "dependencies", package), 0, "{package}");
    }
}

#[test]
fn tests_may_use_any_foreign_crate() {
    assert_eq!(foreign("bond", "dev-dependencies", "tokio"), 0);
    assert_eq!(foreign("bond", "build-dependencies", "tokio"), 1);
}

#[test]
fn side_workspaces_are_free() {
    let repo = Repo::of(&[("bench/Cargo.toml", "[dependencies]\ntokio = \"1\"\nmpquic-net = \"1\"\n")]);
    assert_eq!((between_crates(&repo), to_foreign_crates(&repo)), (vec![], vec![]));
}
