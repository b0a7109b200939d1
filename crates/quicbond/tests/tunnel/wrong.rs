//! What users get wrong: an error in one line, and nothing changed.

use crate::place::{Place, Program};
use crate::raw::Token;
use crate::rooted;
use crate::world::{SERVER_FILE, World, eventually, status, token_in};
use nix::sys::signal::Signal;
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Fails with exit code 1 and one line that has all these parts.
fn assert_error((code, said): &(i32, String), parts: &[&str]) {
    assert_eq!(*code, 1, "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let last = said.trim_end().lines().last().unwrap_or_default();
    assert!(errors.len() == 1 && errors[0] == last, "not one last line: {said}");
    for part in parts {
        assert!(errors[0].contains(part), "{part:?} is not in: {said}");
    }
}

/// `client up` that is to fail soon.
fn up(place: &Place, words: &[&str]) -> (i32, String) {
    let begun = Instant::now();
    let ended = place.quicbond(&[&["client", "up"], words].concat());
    assert!(begun.elapsed() < Duration::from_secs(25), "only after {:?}: {}", begun.elapsed(), ended.1);
    ended
}

#[test]
fn a_token_that_is_not_good_is_named_so() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    let server = world.serve();
    let router = &world.router;
    let last = |bytes: &mut [u8]| *bytes.last_mut().unwrap() ^= 1;
    assert_error(
        &up(router, &[&Token::forged(&token, last)]),
        &["refuses the token", "quicbond server tenant add"],
    );
    let pin = |bytes: &mut [u8]| bytes[2 + usize::from(bytes[1]) + 2] ^= 1;
    assert_error(
        &up(router, &[&Token::forged(&token, pin)]),
        &["is not the server of this token", "new token"],
    );
    let cut = &token[..token.len() - 3];
    assert_error(&up(router, &[cut]), &["damaged"]);
    let swapped = token.replacen(&token[20..21], if &token[20..21] == "A" { "B" } else { "A" }, 1);
    assert_error(&up(router, &[&swapped]), &["damaged"]);
    // Nothing is left of all these attempts.
    assert_eq!(router.must("ls -A /run/quicbond 2>/dev/null || true").trim(), "", "{}", server.said());
    let mut client = world.client(&token);
    client.wait_for("ready");
    world.download().unwrap_or_else(|why| panic!("{why}\n{}\n{}", client.said(), server.said()));
}

#[test]
fn a_removed_tenant_is_out_at_once_and_a_new_token_brings_it_back() {
    if !rooted() {
        return;
    }
    let world = World::new();
    world.enrol();
    let server = world.serve();
    let tenant = |words: &[&str]| {
        let words = [&["server", "tenant"], words, &["--config", SERVER_FILE]].concat();
        let (code, said) = world.internet.quicbond(&words);
        assert_eq!(code, 0, "{said}");
        said
    };
    let old = token_in(&tenant(&["add", "alice"]));
    let mut client = world.client(&old);
    client.wait_for("ready");
    world.download().unwrap();
    tenant(&["remove", "alice"]);
    let logs = |client: &Program| format!("--- client\n{}\n--- server\n{}", client.said(), server.said());
    client.wait_for("refuses the token");
    assert!(world.download().is_err(), "{}", logs(&client));
    assert!(client.said().contains("tenant removed"), "{}", logs(&client));
    let said = status(&world.router);
    assert!(
        said["state"] == "connecting" && said["notes"].to_string().contains("refuses the token"),
        "{said}"
    );
    let tenants = status(&world.internet)["tenants"].to_string();
    assert!(!tenants.contains("alice"), "{tenants}");
    let new = token_in(&tenant(&["add", "alice"]));
    assert_eq!(client.end_by(Signal::SIGTERM).code(), Some(0), "{}", logs(&client));
    assert_error(&up(&world.router, &[&old]), &["refuses the token"]);
    let mut client = world.client(&new);
    client.wait_for("ready");
    world.download().unwrap_or_else(|why| panic!("{why}\n{}", logs(&client)));
}

#[test]
fn a_server_that_cannot_be_found_or_a_port_in_use_is_named() {
    if !rooted() {
        return;
    }
    let world = World::new();
    world.enrol();
    let words = ["server", "init", "--dir", "/run/other", "--address", "vpn.example.invalid:443"];
    let unknown = token_in(&world.internet.quicbond(&words).1);
    assert_error(&up(&world.router, &[&unknown]), &["vpn.example.invalid", "resolve"]);
    let _taken = world.internet.run(|| UdpSocket::bind("0.0.0.0:443").unwrap());
    let ended = world.internet.quicbond(&["server", "run", "--config", SERVER_FILE]);
    assert_error(&ended, &["UDP 0.0.0.0:443 is in use", "listen"]);
    assert_eq!(world.internet.must("nft list ruleset; ip link show type tun").trim(), "");
}

#[test]
fn a_client_without_privileges_says_what_it_lacks() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    let _server = world.serve();
    // The way to the binary may be closed to others.
    world.router.must(&format!(
        "cp {} /run/quicbond-bin && chmod 755 /run/quicbond-bin",
        env!("CARGO_BIN_EXE_quicbond")
    ));
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let run = |words: &str| world.router.sh(&format!("cd /; {nobody} /run/quicbond-bin {words}"));
    assert_error(&run(&format!("client up {token}")), &["root"]);
    // Even with places of its own for its files.
    world.router.must("mkdir -m 777 /run/open");
    let ended = run(&format!("client up --state-dir /run/open/state --control /run/open/c/sock {token}"));
    assert_error(&ended, &["root"]);
    assert_eq!(world.router.must("nft list ruleset; ip link show type tun; ls -A /run/open").trim(), "");
}

#[test]
fn a_full_disk_is_an_error_before_anything_is_changed() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    let _server = world.serve();
    // Mounts do not leave the shell's own namespace, so everything happens in one.
    let script = format!(
        "mkdir /run/full && mount -t tmpfs -o size=4k,mode=700 tmpfs /run/full
        head -c 100000 /dev/zero >/run/full/zeros 2>/dev/null
        ip rule >/run/before; nft list ruleset >>/run/before; ip link >>/run/before
        timeout 30 {} client up --state-dir /run/full --control /run/c/sock {token}; code=$?
        ip rule >/run/after; nft list ruleset >>/run/after; ip link >>/run/after
        diff /run/before /run/after >&2 || code=99
        test $(ls /run/full) = zeros || code=98
        exit $code",
        env!("CARGO_BIN_EXE_quicbond")
    );
    assert_error(&world.router.sh(&script), &["/run/full", "space"]);
}

#[test]
fn a_key_that_does_not_exist_is_named_with_its_line() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    let file = format!("token = \"{token}\"\nlinkss = [\"fibre\"]\n");
    world.router.run(move || fs::write("/run/client.toml", file).unwrap());
    let ended = up(&world.router, &["--config", "/run/client.toml"]);
    assert_eq!(ended.0, 1, "{}", ended.1);
    for part in ["client.toml", "2", "linkss", "links"] {
        assert!(ended.1.contains(part), "{part:?} is not in: {}", ended.1);
    }
    eventually("nothing stays", || {
        let left = world.router.must("ls -A /run/quicbond 2>/dev/null || true");
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
}
