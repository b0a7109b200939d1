//! Every test case of the runner between our own client and server, as processes, and what the runner checks about it.
//!
//! Files are smaller and links quicker than the runner's, so that all of it takes seconds.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

mod world;

use mpquic_sim::emulator::Rebinding;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use world::{Event, Outcome, World, field, number};

const KB: usize = 1 << 10;
const MB: usize = 1 << 20;
const V1: u32 = 1;
const V2: u32 = 0x6b33_43cf;

/// One handshake in version 1, without a Retry; both ends say so, and wrote their secrets down.
fn one_plain_connection(outcome: &Outcome) {
    plain(outcome, 1);
    assert_eq!(outcome.seen.retries, 0);
}

fn plain(outcome: &Outcome, handshakes: usize) {
    assert_eq!(outcome.seen.handshakes.len(), handshakes, "{:?}", outcome.seen);
    assert_eq!(outcome.seen.server_initial_versions, [V1].into());
    ends_agree(outcome, handshakes);
}

fn ends_agree(outcome: &Outcome, connections: usize) {
    for lines in [&outcome.client, &outcome.server[..].to_vec()] {
        assert_eq!(lines.len(), connections, "{lines:?}");
    }
    for line in &outcome.client {
        assert!(field(line, "end").starts_with("closed here with code"), "{line}");
    }
    for line in &outcome.server {
        // A lossy link may take the client's last word.
        let end = field(line, "end");
        assert!(
            end.starts_with("closed by the peer with code") || end == "closed here with code 0",
            "{line}"
        );
    }
    for log in &outcome.key_logs {
        let secrets = log.lines().filter(|line| line.starts_with("SERVER_HANDSHAKE_TRAFFIC_SECRET"));
        assert_eq!(secrets.count(), connections, "{log}");
    }
}

#[test]
fn handshake() {
    one_plain_connection(&World::new("handshake", &[KB]).play());
}

#[test]
fn transfer() {
    one_plain_connection(&World::new("transfer", &[400 * KB, 600 * KB, MB]).play());
}

#[test]
fn longrtt() {
    let outcome = World::new("longrtt", &[KB]).client("handshake").server("handshake").link(10, 750).play();
    one_plain_connection(&outcome);
    assert!(outcome.seen.client_initials >= 2, "a ClientHello is repeated: {:?}", outcome.seen);
}

#[test]
fn chacha20() {
    let outcome = World::new("chacha20", &[300 * KB]).play();
    one_plain_connection(&outcome);
    for line in [&outcome.client[0], &outcome.server[0]] {
        assert_eq!(field(line, "cipher"), "TLS13_CHACHA20_POLY1305_SHA256");
    }
}

#[test]
fn multiplexing() {
    // More than twice the streams that the server allows at first.
    one_plain_connection(
        &World::new("multiplexing", &[32; 600]).client("transfer").server("transfer").play(),
    );
}

#[test]
fn retry() {
    let outcome = World::new("retry", &[10 * KB]).play();
    plain(&outcome, 1);
    assert!(outcome.seen.retries >= 1 && outcome.seen.tokens, "{:?}", outcome.seen);
    for line in [&outcome.client[0], &outcome.server[0]] {
        assert_eq!(field(line, "retry"), "true");
    }
}

#[test]
fn resumption() {
    let outcome = World::new("resumption", &[5 * KB, 10 * KB]).play();
    plain(&outcome, 2);
    for lines in [&outcome.client, &outcome.server] {
        assert_eq!(lines.iter().map(|line| field(line, "resumed")).collect::<Vec<_>>(), ["false", "true"]);
        assert!(lines.iter().all(|line| field(line, "early_data_accepted") == "false"), "{lines:?}");
    }
    assert_eq!(outcome.seen.early_bytes, 0);
}

#[test]
fn zerortt() {
    // Forty files with names so long that the requests fill most of a first window.
    // The link gives a busy machine time to say all of it before the server answers.
    let outcome = World::new("zerortt", &[32; 40]).names(250).link(10, 40).play();
    plain(&outcome, 2);
    for lines in [&outcome.client, &outcome.server] {
        let accepted = lines.iter().map(|line| field(line, "early_data_accepted"));
        assert_eq!(accepted.collect::<Vec<_>>(), ["false", "true"]);
    }
    assert!(outcome.seen.early_bytes > 0, "{:?}", outcome.seen);
    // The runner's limit for what the client may say later.
    assert!(outcome.seen.late_bytes <= 40 * 250 / 2, "{:?}", outcome.seen);
}

#[test]
fn http3() {
    let outcome = World::new("http3", &[50 * KB, 100 * KB, 300 * KB]).play();
    one_plain_connection(&outcome);
    assert_eq!(field(&outcome.server[0], "alpn"), "h3");
}

#[test]
fn blackhole() {
    let world = World::new("blackhole", &[5 * MB]).client("transfer").server("transfer").link(20, 15);
    one_plain_connection(&world.after_bytes(MB, Event::Cut).later(1500, Event::Restore).play());
}

#[test]
fn keyupdate() {
    let outcome = World::new("keyupdate", &[MB]).server("transfer").play();
    one_plain_connection(&outcome);
    assert!(number(&outcome.client[0], "key_updates") >= 1, "{:?}", outcome.client);
    assert!(number(&outcome.server[0], "key_updates") >= 1, "the server followed: {:?}", outcome.server);
}

#[test]
fn ecn() {
    let outcome = World::new("ecn", &[100 * KB]).direct(Ipv4Addr::LOCALHOST.into()).play();
    ends_agree(&outcome, 1);
    for line in [&outcome.client[0], &outcome.server[0]] {
        assert_eq!(field(line, "ecn"), "true", "{line}");
        assert_eq!(number(line, "congestion_marks"), 0);
    }
}

#[test]
fn amplificationlimit() {
    let world = World::new("amplificationlimit", &[5 * KB]).client("transfer").server("transfer");
    let outcome = world.chain(9).losing(&[2, 3, 4, 5, 6, 7]).link(10, 15).play();
    one_plain_connection(&outcome);
    assert!(!outcome.seen.amplified, "{:?}", outcome.seen);
    assert!(outcome.seen.down_bytes >= 3 * KB, "the limit was reached: {:?}", outcome.seen);
}

#[test]
fn handshakeloss() {
    let world = World::new("handshakeloss", &[KB; 20]).client("multiconnect").server("multiconnect");
    plain(&world.link(10, 15).loss(0.3).play(), 20);
}

#[test]
fn handshakecorruption() {
    let world = World::new("handshakecorruption", &[KB; 20]).client("multiconnect").server("multiconnect");
    // The tap reads what the link has corrupted, so that only the ends can tell.
    ends_agree(&world.link(10, 15).corruption(0.3).play(), 20);
}

#[test]
fn transferloss() {
    let world = World::new("transferloss", &[MB]).client("transfer").server("transfer");
    let outcome = world.link(20, 15).loss(0.02).play();
    one_plain_connection(&outcome);
    assert!(number(&outcome.server[0], "packets_lost") > 0);
}

#[test]
fn transfercorruption() {
    let world = World::new("transfercorruption", &[MB]).client("transfer").server("transfer");
    let outcome = world.link(20, 15).corruption(0.02).play();
    ends_agree(&outcome, 1);
    assert!(number(&outcome.server[0], "packets_lost") > 0);
}

#[test]
fn ipv6() {
    let world = World::new("ipv6", &[5 * KB, 10 * KB]).client("transfer").server("transfer");
    ends_agree(&world.direct(Ipv6Addr::LOCALHOST.into()).play(), 1);
}

#[test]
fn v2() {
    let outcome = World::new("v2", &[KB]).play();
    ends_agree(&outcome, 1);
    for line in [&outcome.client[0], &outcome.server[0]] {
        assert_eq!(number(line, "version"), V2.into(), "{line}");
    }
    // The client begins in version 1 and nobody tells it to begin again; the server goes on in version 2.
    assert!(outcome.seen.client_initial_versions.contains(&V1), "{:?}", outcome.seen);
    assert!(outcome.seen.server_initial_versions.contains(&V2), "{:?}", outcome.seen);
    assert_eq!(outcome.seen.handshake_versions, [V2].into());
    assert_eq!(outcome.seen.version_negotiations, 0);
}

#[test]
fn multiconnect() {
    plain(&World::new("multiconnect", &[KB; 12]).play(), 12);
}

#[test]
fn rebind_port() {
    let world = World::new("rebind-port", &[4 * MB]).client("transfer").server("transfer").link(20, 15);
    let port = Event::Rebind(Rebinding::Port);
    let outcome = world.after_bytes(MB, port).after_bytes(3 * MB, port).play();
    one_plain_connection(&outcome);
    assert!(number(&outcome.server[0], "moves") >= 2, "{:?}", outcome.server);
}

#[test]
fn rebind_addr() {
    let world = World::new("rebind-addr", &[4 * MB]).client("transfer").server("transfer").link(20, 15);
    let address = Event::Rebind(Rebinding::Address);
    let outcome = world.after_bytes(MB, address).after_bytes(3 * MB, address).play();
    one_plain_connection(&outcome);
    assert!(number(&outcome.server[0], "moves") >= 2, "{:?}", outcome.server);
}

#[test]
fn connectionmigration() {
    let world = World::new("connectionmigration", &[2 * MB]).client("transfer").link(20, 15);
    let outcome = world.play();
    plain(&outcome, 1);
    for line in [&outcome.client[0], &outcome.server[0]] {
        assert_eq!(number(line, "moves"), 1, "{line}");
    }
    // What the tap sees ends when the client goes to the other address.
    assert!(outcome.seen.carried < 2 * MB, "{:?}", outcome.seen);
}

#[test]
fn goodput() {
    one_plain_connection(&World::new("goodput", &[3 * MB]).client("transfer").server("transfer").play());
}

#[test]
fn an_unknown_case_ends_with_127_in_both_roles() {
    for role in ["client", "server"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mpquic-interop-endpoint"));
        command.env("ROLE", role).env("TESTCASE", "flying-carpet").stderr(Stdio::null());
        assert_eq!(command.status().unwrap().code(), Some(127));
    }
}

#[test]
fn a_client_that_cannot_have_its_file_ends_with_1() {
    // Nobody listens on the discard port, and there are no certificates either.
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpquic-interop-endpoint"));
    command.env("ROLE", "client").env("TESTCASE", "transfer").env("REQUESTS", "https://127.0.0.1:9/file");
    command.env("CERTS", "/nonexistent").stderr(Stdio::null());
    assert_eq!(command.status().unwrap().code(), Some(1));
}
