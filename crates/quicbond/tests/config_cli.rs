//! Setting up a server, tenants, configuration and status, as somebody at a shell meets them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

/// A folder of one test, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("quicbond-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.0.join(name)).unwrap().permissions().mode() & 0o777
    }

    /// A server in the folder `etc`; the object that `init` printed.
    fn server(&self) -> Value {
        let words = ["server", "init", "--dir", &self.path("etc"), "--address", "vpn.example.org", "--json"];
        serde_json::from_str(&stdout(&words)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn output(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quicbond"));
    command.args(words).stdin(Stdio::null()).output().unwrap()
}

fn stdout(words: &[&str]) -> String {
    let output = output(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What goes to stderr when it fails.
fn error(words: &[&str]) -> String {
    let output = output(words);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{words:?}: {text}");
    text
}

/// Answers each of these connections with a line.
fn daemon(path: &str, answers: Vec<&'static str>) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(Path::new(path)).unwrap();
    thread::spawn(move || {
        let answer = |answer: &str| {
            let mut stream = listener.accept().unwrap().0;
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            writeln!(stream, "{answer}").unwrap();
            line.trim().to_owned()
        };
        answers.into_iter().map(answer).collect()
    })
}

#[test]
fn init_makes_a_server_that_its_own_check_finds_good() {
    let scratch = Scratch::new();
    let made = scratch.server();
    assert!(made["token"].as_str().unwrap().starts_with("qb1"));
    assert_eq!((&made["address"], &made["address_guessed"]), (&"vpn.example.org:443".into(), &false.into()));
    assert_eq!((&made["tenant"], &made["key_kept"]), (&"default".into(), &false.into()));
    let modes = ["etc/key.pem", "etc/tenants.toml", "etc/server.toml"].map(|name| scratch.mode(name));
    assert_eq!(modes, [0o600, 0o600, 0o644]);
    assert!(scratch.read("etc/key.pem").starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(scratch.read("etc/certificate.pem").starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(!scratch.read("etc/tenants.toml").contains("qb1"), "the file holds the secret, not the token");
    let checked = stdout(&["config", "check", &scratch.path("etc/server.toml")]);
    assert!(checked.contains("a good configuration of a server"), "{checked}");
}

#[test]
fn init_in_words_says_what_to_do_next_and_shows_a_code_on_request_only() {
    let scratch = Scratch::new();
    let dir = scratch.path("etc");
    let words = ["server", "init", "--dir", &dir, "--address", "10.0.0.1:8443", "--name", "home"];
    let text = stdout(&words);
    let token = text.lines().next().unwrap().strip_prefix("token: ").unwrap();
    assert!(text.contains(&format!("quicbond server run --config {dir}/server.toml\n")), "{text}");
    assert!(text.contains(&format!("quicbond client up {token}\n")), "{text}");
    assert!(text.contains("10.0.0.1:8443 is a private address"), "{text}");
    assert!(!text.contains('█'), "no code without a terminal");
    let config = scratch.read("etc/server.toml");
    assert!(config.contains("\nlisten = [\"0.0.0.0:8443\", \"[::]:8443\"]\n"), "{config}");
    let text = stdout(&[&words[..], &["--force", "--qr"]].concat());
    assert!(text.contains('█') && text.contains("the old tokens are void"), "{text}");
}

#[test]
fn init_without_an_address_guesses_one_and_says_so_or_says_that_it_cannot() {
    let scratch = Scratch::new();
    let output = output(&["server", "init", "--dir", &scratch.path("etc")]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        assert!(out.contains("is a guess") && out.contains("--force --address HOST:PORT"), "{out}");
    } else {
        assert!(err.contains("say it with --address HOST:PORT"), "{err}");
        assert!(!Path::new(&scratch.path("etc")).exists(), "nothing is made");
    }
}

#[test]
fn init_never_writes_over_a_server_unasked_and_never_over_a_key() {
    let scratch = Scratch::new();
    let made = scratch.server();
    let files = ["etc/key.pem", "etc/certificate.pem", "etc/tenants.toml", "etc/server.toml"];
    let before = files.map(|name| scratch.read(name));
    let dir = scratch.path("etc");
    let words = ["server", "init", "--dir", &dir, "--address", "vpn.example.org", "--json"];
    let told = error(&words);
    assert!(told.contains("key.pem") && told.contains("--force"), "{told}");
    assert_eq!(files.map(|name| scratch.read(name)), before);
    let again: Value = serde_json::from_str(&stdout(&[&words[..], &["--force"]].concat())).unwrap();
    assert_eq!((&again["pin"], &again["key_kept"]), (&made["pin"], &true.into()));
    assert_ne!(again["token"], made["token"]);
    assert_eq!([scratch.read(files[0]), scratch.read(files[1])], before[..2]);
    assert_eq!(
        (scratch.read("etc/tenants.toml.old"), scratch.mode("etc/tenants.toml.old")),
        (before[2].clone(), 0o600)
    );
    fs::remove_file(scratch.path("etc/certificate.pem")).unwrap();
    let told = error(&[&words[..], &["--force"]].concat());
    assert!(told.contains("key.pem is there without"), "{told}");
    assert_eq!(scratch.read("etc/key.pem"), before[0]);
}

#[test]
fn tenants_are_added_listed_and_removed_while_no_server_runs() {
    let scratch = Scratch::new();
    let made = scratch.server();
    // The default socket may belong to a server of this machine.
    let config = scratch.path("etc/server.toml");
    fs::write(&config, "control = \"none.sock\"\n").unwrap();
    let tenant = |words: &[&str]| [&["server", "tenant"], words, &["--config", &config]].concat().join(" ");
    let run = |words: &[&str]| stdout(&tenant(words).split(' ').collect::<Vec<_>>());
    let text = run(&["add", "alice"]);
    assert!(text.starts_with("token: qb1") && text.contains("no server is running"), "{text}");
    let object: Value = serde_json::from_str(&run(&["add", "bob", "--json"])).unwrap();
    assert_eq!((&object["tenant"], &object["pin"]), (&"bob".into(), &made["pin"]));
    assert_eq!((&object["address"], &object["server_reloaded"]), (&made["address"], &false.into()));
    let list = run(&["list"]);
    let names: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["tenant", "alice", "bob", "default"]);
    assert!(run(&["remove", "alice"]).contains("may connect no more"));
    let list: Value = serde_json::from_str(&run(&["list", "--json"])).unwrap();
    assert_eq!(list["tenants"].as_array().unwrap().len(), 2);
    assert_eq!(list["tenants"][0]["id"], 3);
    let told = error(&tenant(&["remove", "alice"]).split(' ').collect::<Vec<_>>());
    assert!(told.contains("there are: bob, default"), "{told}");
    let told = error(&["server", "tenant", "list", "--config", "/nowhere/s.toml"]);
    assert!(told.contains("`quicbond server init` makes it"), "{told}");
    assert_eq!(output(&["server", "tenant", "add", "a b"]).status.code(), Some(2));
}

#[test]
fn a_running_server_is_told_of_new_tenants() {
    let scratch = Scratch::new();
    scratch.server();
    let config = scratch.path("etc/server.toml");
    fs::write(&config, "control = \"c.sock\"\n").unwrap();
    let answers =
        vec!["{\"response\":\"done\",\"message\":\"\"}", "{\"response\":\"failed\",\"why\":\"no memory\"}"];
    let daemon = daemon(&scratch.path("etc/c.sock"), answers);
    let text = stdout(&["server", "tenant", "add", "alice", "--config", &config]);
    assert!(text.contains("the running server knows"), "{text}");
    let text = stdout(&["server", "tenant", "remove", "alice", "--config", &config]);
    assert!(text.contains("did not say that it knows: no memory"), "{text}");
    assert_eq!(daemon.join().unwrap(), ["{\"request\":\"reload\"}"; 2]);
}

#[test]
fn check_names_each_wrong_line_and_ends_with_code_1() {
    let scratch = Scratch::new();
    let file = scratch.path("server.toml");
    fs::write(&file, "lisen = []\n\n[limits]\nclients = 0\n").unwrap();
    let told = error(&["config", "check", &file]);
    let expected = format!(
        "{file}:1: there is no key lisen; did you mean listen?\n\
         {file}:4: limits.clients: 0 will not do; write a whole number from 1 to 65536\n"
    );
    assert_eq!(told, expected);
    fs::write(&file, "tcp_lane = true\n").unwrap();
    assert!(stdout(&["config", "check", &file]).contains("of a client"));
    assert!(error(&["config", "check", "--role", "server", &file]).contains("there is no key tcp_lane"));
    assert!(error(&["config", "check", "/nowhere"]).contains("/nowhere: cannot be read"));
}

#[test]
fn the_printed_defaults_are_good_configurations() {
    let scratch = Scratch::new();
    for role in ["server", "client"] {
        let file = scratch.path(&format!("{role}.toml"));
        fs::write(&file, stdout(&["config", "defaults", role])).unwrap();
        assert!(stdout(&["config", "check", "--role", role, &file]).contains(role));
    }
    let both = stdout(&["config", "defaults"]);
    assert!(both.contains("\n#tcp_lane = true\n") && both.contains("\n#nat = true\n"));
}

#[test]
fn units_are_printed_for_one_role_or_both() {
    assert!(stdout(&["units", "client"]).contains("ExecStart=/usr/bin/quicbond client up "));
    let both = stdout(&["units"]);
    assert!(
        both.contains("quicbond-server.service\n[Unit]") && both.contains("quicbond-client.service\n[Unit]")
    );
}

#[test]
fn status_prints_what_the_daemon_says_as_a_table_or_as_json() {
    let scratch = Scratch::new();
    let path = scratch.path("c.sock");
    let answer = "{\"response\":\"status\",\"role\":\"client\",\"version\":\"7.7\",\"state\":\"connected\",\
                  \"server\":\"h:443\",\"links\":[{\"name\":\"wwan0\",\"state\":\"silent\",\"rtt_ms\":45.25}]}";
    let daemon = daemon(&path, vec![answer; 2]);
    let text = stdout(&["status", "--control", &path]);
    assert!(text.starts_with("quicbond client 7.7  connected to h:443"), "{text}");
    let row = text.lines().find(|line| line.starts_with("wwan0")).unwrap();
    assert!(row.contains("silent") && row.contains("45.2"), "{text}");
    let object: Value = serde_json::from_str(&stdout(&["status", "--json", "--control", &path])).unwrap();
    assert_eq!((&object["role"], &object["links"][0]["name"]), (&"client".into(), &"wwan0".into()));
    assert_eq!(daemon.join().unwrap(), ["{\"request\":\"status\"}"; 2]);
}

#[test]
fn watching_repeats_until_the_daemon_is_gone() {
    let scratch = Scratch::new();
    let path = scratch.path("c.sock");
    let answer = "{\"response\":\"status\",\"role\":\"server\",\"version\":\"7.7\",\"state\":\"serving\"}";
    let daemon = daemon(&path, vec![answer; 2]);
    let output = output(&["status", "--watch", "--json", "--control", &path]);
    daemon.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((text.lines().count(), output.status.code()), (2, Some(1)), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody answers on"));
}

#[test]
fn status_without_a_daemon_says_how_to_start_one() {
    let scratch = Scratch::new();
    let told = error(&["status", "--control", &scratch.path("absent")]);
    for part in ["absent", "quicbond client up", "quicbond server run", "--control"] {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
}

#[test]
fn a_token_that_is_none_is_refused_before_anything_happens() {
    for words in
        [&["client", "up", "qb1x", "--config", "f"][..], &["client", "socks", "--listen", "here", "qb1x"]]
    {
        assert_eq!(output(words).status.code(), Some(2), "{words:?}");
    }
    let help = stdout(&["client", "--help"]);
    assert!(help.contains("quicbond client up qb1...") && help.contains("--token-file"), "{help}");
}
