//! The lab as its users meet it: real namespaces, links in real time, a real download. Needs root; without it each test
//! says so and passes.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(clippy::print_stdout, reason = "a test that cannot run says so")]
#![allow(clippy::disallowed_methods, reason = "these tests run in real time")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for any loaded machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn rooted() -> bool {
    let rooted = nix::unistd::geteuid().is_root();
    if !rooted {
        println!("skipped: needs root");
    }
    rooted
}

fn lab(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quicbond"));
    command.arg("lab").args(words).stdin(Stdio::null());
    command
}

/// Runs a shell script in a lab without a tunnel: the measurements, what the script printed, and everything that was
/// printed for a failing assertion to show.
fn measured(words: &[&str], script: &str) -> (Value, String, String) {
    let words = [words, &["--no-tunnel", "--json", "--", "sh", "-c", script]].concat();
    let output: Output = lab(&words).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let all = format!("{out}\n{err}");
    let (script, last) = out.trim_end().rsplit_once('\n').unwrap_or(("", out.trim_end()));
    let json: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {all}"));
    assert_eq!(json["exit_code"], output.status.code().unwrap(), "{all}");
    (json, script.to_owned(), all)
}

#[test]
fn a_download_over_one_link_is_intact_and_as_fast_as_the_link() {
    if !rooted() {
        return;
    }
    let script = "curl -sS http://target/5MB | sha256sum | cut -d' ' -f1; curl -sS http://target/5MB.sha256";
    // A busy machine may spoil one download or two; none is ever faster than its link.
    let tries = [(); 3].map(|()| measured(&["--links", "fibre=20mbit/5ms"], script));
    tries.iter().for_each(intact);
    let rates = tries.each_ref().map(|(json, ..)| json["goodput_mbps"].as_f64().unwrap());
    assert!(rates.iter().all(|rate| *rate <= 20.0) && rates.iter().any(|rate| *rate >= 17.0), "{rates:?}");
}

/// The file came as its sum says, through the only link.
fn intact((json, said, all): &(Value, String, String)) {
    let sums: Vec<&str> = said.lines().collect();
    assert!(sums.len() == 2 && sums[0].len() == 64 && sums[0] == sums[1], "{all}");
    let link = &json["links"][0];
    assert_eq!(link["name"], "fibre");
    assert!(link["down_bytes"].as_u64().unwrap() > 5_000_000, "{all}");
}

#[test]
fn an_upload_over_ipv6_through_the_second_link_arrives_intact() {
    if !rooted() {
        return;
    }
    let script = "head -c 1000000 /dev/zero >/run/zeros; sha256sum </run/zeros | cut -d' ' -f1;
        curl -6 -sS -T /run/zeros http://target/upload";
    let words = ["--links", "a=50mbit/2ms,b=20mbit/2ms", "--single", "b"];
    let (json, said, all) = measured(&words, script);
    let (sum, answer) = said.split_once('\n').expect(&all);
    let answer: Value = serde_json::from_str(answer).unwrap_or_else(|e| panic!("{e}: {all}"));
    assert_eq!((&answer["bytes"], &answer["sha256"]), (&Value::from(1_000_000), &Value::from(sum)), "{all}");
    assert_eq!(json["links"][0]["up_bytes"], 0, "the other link is not there: {all}");
    assert!(json["links"][1]["up_bytes"].as_u64().unwrap() > 1_000_000, "{all}");
}

#[test]
fn a_cut_shows_as_the_longest_gap() {
    if !rooted() {
        return;
    }
    let words = ["--links", "20mbit/5ms", "--cut", "1@400ms-1400ms"];
    let (json, _, all) = measured(&words, "curl -sS -o /dev/null http://target/4MB");
    let gap = json["longest_gap_ms"].as_f64().unwrap();
    // TCP tries again after 200, 400, 800 and 1600 ms.
    assert!((950.0..4000.0).contains(&gap), "{all}");
    assert!(json["links"][0]["drops"]["cut"].as_u64().unwrap() > 0, "{all}");
}

#[test]
fn links_come_and_go_at_their_times() {
    if !rooted() {
        return;
    }
    let words = ["--links", "a=50mbit/2ms,b=50mbit/2ms", "--plug", "b@500ms", "--unplug", "b@1500ms"];
    // In host mode the command sees the devices.
    let words = [&words[..], &["--mode", "host"]].concat();
    let look = "test -e /sys/class/net/b && echo there || echo absent;";
    let (_, said, all) = measured(&words, &format!("{look} sleep 1; {look} sleep 1; {look}"));
    assert_eq!(said.lines().collect::<Vec<_>>(), ["absent", "there", "absent"], "{all}");
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    if !rooted() {
        return;
    }
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137), ("exec /no/such/thing", 127)] {
        let (json, _, all) = measured(&["--unshaped"], script);
        assert_eq!(json["exit_code"], code, "{script}: {all}");
    }
    let missing = lab(&["--unshaped", "--no-tunnel", "--", "/no/such/thing"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
}

#[test]
fn wrong_values_end_with_code_2_and_say_what_would_be_right() {
    for (words, parts) in [
        (&["--cut", "dsl@1s-2s"][..], ["--cut <LINK@FROM-TO>", "fibre"]),
        (&["--plug", "lte"], ["--plug <LINK@TIME>", "lte@3s"]),
        (&["--single", "dsl"], ["--single <LINK>", "starlink"]),
        (&["--links", "lan=1mbit/1ms"], ["--links <LINKS>", "another name"]),
        (&["--unshaped", "--links", "1mbit/1ms"], ["--unshaped", "cannot be used"]),
    ] {
        let output = lab(words).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{words:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }
}

#[test]
fn a_signal_ends_command_and_lab() {
    if !rooted() {
        return;
    }
    let (mut child, namespaces) = running("sleep 1000");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_gone(&namespaces);
}

#[test]
fn a_killed_lab_leaves_nothing_behind() {
    if !rooted() {
        return;
    }
    let before = traces();
    // The command leaves its session and its parent, as daemons do.
    let (mut child, namespaces) = running("setsid sleep 1000 & sleep 1000");
    assert!(namespaces.len() >= 4, "LAN host, router, Internet and target: {namespaces:?}");
    signal(&child, "-KILL");
    child.wait().unwrap();
    assert_gone(&namespaces);
    assert_eq!(traces(), before);
}

/// A lab whose command is running, and the network namespaces that it has made.
fn running(script: &str) -> (Child, BTreeSet<String>) {
    let script = format!("echo started; {script}");
    let words = ["--links", "50mbit/2ms", "--no-tunnel", "--", "sh", "-c", &script];
    let mut child = lab(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line != "started\n" {
        let mut error = String::new();
        child.stderr.as_mut().unwrap().read_to_string(&mut error).unwrap();
        panic!("{error}");
    }
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let namespaces = tasks.map(|task| fs::read_link(task.unwrap().path().join("ns/net")).unwrap());
    let made = namespaces.filter(|namespace| *namespace != ours);
    let made = made.map(|namespace| namespace.to_string_lossy().into_owned()).collect();
    (child, made)
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Waits until no process lives in these namespaces.
fn assert_gone(namespaces: &BTreeSet<String>) {
    let begun = Instant::now();
    loop {
        let left: Vec<String> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let namespace = fs::read_link(path.join("ns/net")).ok()?;
                let lives = namespaces.contains(namespace.to_str()?);
                lives.then(|| fs::read_to_string(path.join("cmdline")).unwrap_or_default())
            })
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "still there: {left:?}");
        sleep(Duration::from_millis(20));
    }
}

/// What a lab could leave in plain sight: named namespaces, and folders of its own.
fn traces() -> BTreeSet<String> {
    let names = |folder: &str, part: &str| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains(part)).collect()
    };
    ["/run/netns", "/var/run/netns"]
        .iter()
        .flat_map(|folder| names(folder, ""))
        .chain(names("/run", "quicbond"))
        .chain(names(&std::env::temp_dir().to_string_lossy(), "quicbond-lab"))
        .collect()
}
