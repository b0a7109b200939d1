//! Whole transfers over emulated links: they arrive intact, whatever happens to the links meanwhile.

use crate::rooted;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder for the logs of one lab, removed with it.
struct Logs(PathBuf);

impl Logs {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("quicbond-tunnel-{}-{number}", std::process::id())))
    }

    fn said(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.0.join(name)).unwrap_or_default();
        format!("--- client\n{}\n--- server\n{}", read("client.log"), read("server.log"))
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs a script in the LAN host of a lab: its measurements, what it printed, and everything for assertions to show.
fn lab(words: &[&str], script: &str) -> (Value, String, String) {
    let logs = Logs::new();
    let output = Command::new("timeout")
        .args(["-k", "5", "100", env!("CARGO_BIN_EXE_quicbond"), "lab", "--json", "--keep-logs"])
        .arg(&logs.0)
        .args(words)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let all = format!("{out}\n{err}\n{}", logs.said());
    let (said, last) = out.trim_end().rsplit_once('\n').unwrap_or(("", out.trim_end()));
    let json: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {all}"));
    assert_eq!(json["exit_code"], 0, "{all}");
    (json, said.to_owned(), all)
}

/// Every line is the same checksum.
fn assert_intact(said: &str, count: usize, all: &str) {
    let sums: Vec<&str> = said.lines().collect();
    let same = sums.iter().all(|sum| sum.len() == 64 && *sum == sums[0]);
    assert!(sums.len() == count && same, "{sums:?}\n{all}");
}

fn bytes(json: &Value, link: usize, direction: &str) -> u64 {
    json["links"][link][direction].as_u64().unwrap()
}

const FETCH: &str = "fetch() { curl -sS -f -m 60 \"$@\" | sha256sum | cut -d' ' -f1; }\n";

#[test]
fn a_download_and_an_upload_use_both_links_and_arrive_intact() {
    if !rooted() {
        return;
    }
    let script = format!(
        "{FETCH} fetch http://target/10MB; curl -sS http://target/10MB.sha256; echo
        fetch -6 http://target/10MB | head -c 64; echo
        curl -sS http://target/10MB | curl -sS -T - http://target/upload | grep -o '[0-9a-f]\\{{64\\}}'"
    );
    let (json, said, all) = lab(&["--links", "a=60mbit/10ms,b=60mbit/15ms"], &script);
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_intact(&lines.join("\n"), 4, &all);
    for link in [0, 1] {
        assert!(bytes(&json, link, "down_bytes") > 5_000_000, "{all}");
        assert!(bytes(&json, link, "up_bytes") > 1_000_000, "{all}");
    }
}

#[test]
fn sixteen_downloads_at_once_arrive_intact() {
    if !rooted() {
        return;
    }
    let script = format!(
        "{FETCH} for n in $(seq 16); do fetch http://target/1MB >/run/sum$n & done; wait
        cat /run/sum*; curl -sS http://target/1MB.sha256"
    );
    let (_, said, all) = lab(&["--links", "a=60mbit/10ms,b=60mbit/30ms"], &script);
    assert_intact(&said, 17, &all);
}

#[test]
fn names_and_datagrams_take_the_tunnel() {
    if !rooted() {
        return;
    }
    let script = "getent ahostsv4 target4 | head -1; dig +short +tries=3 target4 @198.51.100.10
        dig +short AAAA +tries=3 target6 @2001:db8:1::10";
    let (_, said, all) = lab(&["--links", "a=60mbit/10ms,b=60mbit/15ms"], script);
    assert!(said.contains("198.51.100.10"), "{all}");
    if Command::new("dig").arg("-v").output().is_ok() {
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[1..], ["198.51.100.10", "2001:db8:1::10"], "{all}");
    }
}

#[test]
fn both_kinds_of_proxy_carry_downloads() {
    if !rooted() {
        return;
    }
    let script = format!(
        "{FETCH} proxy=192.168.77.1:1080; unset ALL_PROXY HTTP_PROXY all_proxy http_proxy
        fetch --socks5-hostname $proxy http://target/2MB; fetch --socks5 $proxy http://target4/2MB
        fetch -p -x http://$proxy http://target/2MB; fetch -p -x http://$proxy http://198.51.100.10/2MB
        curl -sS --socks5 $proxy http://198.51.100.10/2MB.sha256"
    );
    let (_, said, all) = lab(&["--mode", "socks", "--links", "a=60mbit/10ms,b=60mbit/15ms"], &script);
    assert_intact(&said, 5, &all);
}

#[test]
fn a_transfer_outlives_the_loss_of_its_best_link_and_of_both() {
    if !rooted() {
        return;
    }
    let script = format!("{FETCH} fetch http://target/30MB; curl -sS http://target/30MB.sha256");
    let links = ["--links", "best=60mbit/10ms,other=20mbit/30ms"];
    let cuts = ["--cut", "best@500ms-2s", "--cut", "best@2800ms-4800ms", "--cut", "other@2800ms-4800ms"];
    let (json, said, all) = lab(&[&links[..], &cuts].concat(), &script);
    assert_intact(&said, 2, &all);
    assert!(json["links"][0]["drops"]["cut"].as_u64().unwrap() > 0, "{all}");
    assert!(!all.contains("session lost"), "{all}");
}

#[test]
fn a_link_that_is_pulled_out_breaks_nothing_and_a_new_one_is_used_at_once() {
    if !rooted() {
        return;
    }
    let script = format!("{FETCH} fetch http://target/30MB; curl -sS http://target/30MB.sha256");
    let links = ["--links", "a=30mbit/10ms,b=20mbit/20ms,c=30mbit/15ms"];
    let events = ["--unplug", "a@1s", "--plug", "c@1500ms"];
    let (json, said, all) = lab(&[&links[..], &events].concat(), &script);
    assert_intact(&said, 2, &all);
    // 30 MB are at least twelve seconds of the link that remains; with the new one about seven.
    assert!(bytes(&json, 2, "down_bytes") > 8_000_000, "the new link carries little: {all}");
    assert!(json["seconds"].as_f64().unwrap() < 11.0, "{all}");
}
