//! `quicbond perf` between two processes on this machine.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn quicbond(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quicbond"));
    command.arg("perf").args(words).stdin(Stdio::null());
    command
}

/// A server that ends with the test.
struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
    pin: String,
}

impl Server {
    fn start() -> Self {
        let mut command = quicbond(&["server", "--json", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let first = line(&mut said);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { child, said, address: text(&first["listening"][0]), pin: text(&first["pin"]) }
    }

    fn client(&self, words: &[&str]) -> Output {
        let always = ["client", &self.address, "--pin", &self.pin];
        quicbond(&[&always[..], words].concat()).output().unwrap()
    }

    /// What the client says on its last line about a test that succeeds.
    fn measure(&self, words: &[&str]) -> Value {
        let output = self.client(&[&["--json"], words].concat());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {err}");
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn line(from: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn bytes(way: &Value) -> Option<u64> {
    way["bytes"].as_u64()
}

#[test]
fn both_ends_count_every_byte_in_each_direction() {
    let mut server = Server::start();
    let up = server.measure(&["--bytes", "3MB"]);
    assert_eq!((bytes(&up["up"]), up["down"].is_null()), (Some(3_000_000), true), "{up}");
    let down = server.measure(&["--bytes", "3MB", "--reverse", "--streams", "7"]);
    assert_eq!((bytes(&down["down"]), down["up"].is_null()), (Some(3_000_000), true), "{down}");
    let both = server.measure(&["--bytes", "1MB", "--bidir", "--streams", "300"]);
    assert_eq!((bytes(&both["up"]), bytes(&both["down"])), (Some(1_000_000), Some(1_000_000)), "{both}");
    let served: Vec<Value> = (0..3).map(|_| line(&mut server.said)).collect();
    assert_eq!(served[0]["tally"]["received_bytes"], 3_000_000);
    assert_eq!(served[1]["written_bytes"], 3_000_000);
    assert!(both["cpu_client_s"].as_f64().unwrap() > 0.0 && both["cpu_server_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_test_ends_when_its_time_is_up() {
    let server = Server::start();
    let report = server.measure(&["--seconds", "1", "--reverse", "--interval", "200ms"]);
    let seconds = report["seconds"].as_f64().unwrap();
    assert!((0.9..10.0).contains(&seconds), "{report}");
    assert!(bytes(&report["down"]).unwrap() > 0, "{report}");
    assert!(!report["intervals"].as_array().unwrap().is_empty(), "{report}");
}

#[test]
fn data_goes_over_every_path_that_was_named() {
    let server = Server::start();
    let report = server.measure(&["--bytes", "20MB", "--path", "127.0.0.2", "--path", "127.0.0.3"]);
    let paths = report["paths"].as_array().unwrap();
    let sent = |address: &str| {
        let path = paths.iter().find(|path| path["local"].as_str().unwrap().starts_with(address));
        path.unwrap()["bytes_sent"].as_u64().unwrap()
    };
    assert_eq!(paths.len(), 2, "{report}");
    assert!(sent("127.0.0.2") > 100_000 && sent("127.0.0.3") > 100_000, "{report}");
}

#[test]
fn a_client_that_cannot_measure_says_why() {
    let server = Server::start();
    let refused = |words: &[&str], part: &str, code: i32| {
        let output = server.client(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
    };
    refused(&["--path", "203.0.113.9"], "no socket for 203.0.113.9", 1);
    refused(&["--path", "::1"], "different families", 1);
    refused(&["--streams", "1001"], "1..=1000", 2);
    let pin = "0".repeat(64);
    let output = quicbond(&["client", &server.address, "--pin", &pin]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not the pinned one") && output.status.code() == Some(1), "{said}");
    let output = quicbond(&["client", &server.address, "--pin", "abc"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_second_test_at_the_same_time_is_refused() {
    let server = Server::start();
    let always = ["client", &server.address, "--pin", &server.pin, "--seconds", "20"];
    let mut first = quicbond(&always).stdout(Stdio::piped()).spawn().unwrap();
    // Its third line is about data.
    let mut said = BufReader::new(first.stdout.take().unwrap()).lines();
    said.nth(2).unwrap().unwrap();
    let second = server.client(&["--bytes", "1MB"]);
    first.kill().unwrap();
    first.wait().unwrap();
    let why = String::from_utf8(second.stderr).unwrap();
    assert!(why.contains("busy with another test"), "{why}");
}
