//! The binary as a newcomer meets it: words in, text and exit codes out, and real transfers over emulated links.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn quicbond(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quicbond"));
    command.args(words).stdin(Stdio::null());
    command
}

fn output(words: &[&str]) -> Output {
    quicbond(words).output().unwrap()
}

fn stdout(words: &[&str]) -> String {
    let output = output(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The object on the last line of stdout, and everything that was printed for a failing assertion to show.
fn json(output: &Output) -> (Value, String) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let all = format!("{out}\n{err}");
    let last = out.lines().next_back().unwrap_or_else(|| panic!("nothing on stdout: {all}"));
    (serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {all}")), all)
}

#[test]
fn help_teaches_with_examples() {
    let help = stdout(&["demo", "--help"]);
    for part in
        ["Examples:", "--cut fibre@1s-3s", "50mbit/20ms,50mbit/40ms/0.5%", "Exit codes:", "[default: 200MB]"]
    {
        assert!(help.contains(part), "{part:?} is not in: {help}");
    }
    assert!(stdout(&["--help"]).contains("quicbond demo"));
    assert_eq!(output(&[]).status.code(), Some(2), "no command is no success");
}

#[test]
fn wrong_values_end_with_code_2_and_say_what_would_be_right() {
    for (words, parts) in [
        (&["demo", "--size", "lots"][..], ["--size <SIZE>", "'lots'", "such as 200MB"]),
        (&["demo", "--links", "50mbt/20ms"], ["--links <LINKS>", "50mbt/20ms", "such as 50mbit"]),
        (&["demo", "--profile", "nope"], ["--profile <NAME>", "'nope'", "three_wan"]),
        (&["demo", "--scheduler", "nope"], ["--scheduler <NAME>", "'nope'", "minrtt"]),
        (&["demo", "--cc", "nope"], ["--cc <NAME>", "'nope'", "cubic"]),
        (&["demo", "--cut", "1@8s-3s"], ["--cut <LINK@FROM-TO>", "'1@8s-3s'", "3s-8s"]),
        (&["demo", "--file", "/nowhere"], ["--file <PATH>", "'/nowhere'", "name a file"]),
        (&["list", "things"], ["<WHAT>", "'things'", "schedulers, controllers, profiles"]),
    ] {
        let output = output(words);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{words:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }
}

#[test]
fn lists_show_what_the_options_accept() {
    let line = |what, name: &str| {
        let list = stdout(&["list", what]);
        list.lines().find(|l| l.split_whitespace().next() == Some(name)).map(str::to_owned)
    };
    assert!(line("schedulers", "minrtt").unwrap().contains("round-trip"));
    assert!(line("controllers", "cubic").is_some());
    let three_wan = line("profiles", "three_wan").unwrap();
    assert!(three_wan.contains("fibre=300mbit/8ms,lte=40mbit/35±8ms/0.5%"), "{three_wan}");
    assert!(three_wan.contains("(default)"));
}

#[test]
fn a_demo_carries_data_over_both_links_in_both_directions() {
    let links = "50mbit/5ms,50mbit/10ms";
    let output = output(&["demo", "--links", links, "--size", "2MB", "--json", "--no-compare"]);
    let (json, all) = json(&output);
    assert_eq!(output.status.code(), Some(0), "{all}");
    assert_eq!(json["profile"], "custom");
    let runs = json["runs"].as_array().unwrap();
    let directions: Vec<_> = runs.iter().map(|run| run["direction"].as_str().unwrap()).collect();
    assert_eq!(directions, ["down", "up"]);
    for run in runs {
        assert_eq!(
            (&run["sha256_ok"], &run["bytes"]),
            (&Value::Bool(true), &Value::from(2_000_000)),
            "{all}"
        );
        assert!(run["best_link_mbps"].is_null());
        assert!(run["goodput_mbps"].as_f64().unwrap() <= 100.0, "nothing is faster than the links: {all}");
        for link in run["links"].as_array().unwrap() {
            assert!(link["bytes"].as_u64().unwrap() > 100_000, "every link carries its part: {all}");
            assert!(link["srtt_ms"].as_f64().unwrap() >= 10.0, "no answer is faster than the link: {all}");
        }
    }
    assert!(all.contains("SHA-256") && all.contains("verified"), "the table goes to stderr: {all}");
}

#[test]
fn a_file_arrives_while_a_link_is_cut_and_the_best_link_is_measured_beside_it() {
    let path = std::env::temp_dir().join(format!("quicbond-cli-{}", std::process::id()));
    std::fs::write(&path, (0..1_500_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let file = path.to_str().unwrap();
    let links = "fibre=40mbit/5ms,lte=20mbit/10ms";
    let words = [
        "demo",
        "--links",
        links,
        "--cut",
        "fibre@300ms-900ms",
        "--direction",
        "up",
        "--json",
        "--file",
        file,
    ];
    let output = output(&words);
    std::fs::remove_file(&path).unwrap();
    let (json, all) = json(&output);
    assert_eq!(output.status.code(), Some(0), "{all}");
    let run = &json["runs"][0];
    assert_eq!((&run["sha256_ok"], &run["bytes"]), (&Value::Bool(true), &Value::from(6_000_000)), "{all}");
    // 60 Mbit/s would need 0.8 s without the cut.
    assert!(run["seconds"].as_f64().unwrap() > 0.8, "{all}");
    let best = run["best_link_mbps"].as_f64().unwrap();
    assert!(best > 0.0 && best <= 40.0, "{all}");
}

#[test]
fn ctrl_c_stops_with_the_table_so_far_and_code_130() {
    let mut child = quicbond(&["demo", "--links", "2mbit/5ms", "--size", "1GB", "--direction", "down"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The first line of progress: the transfer is under way.
    assert!(lines.by_ref().any(|line| line.starts_with("down 1.")));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let rest = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("goodput") && rest.contains("stopped before the end"), "{rest}");
}
