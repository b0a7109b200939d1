//! However a client or a server ends, the machine is as it was.

use crate::place::{Place, Program};
use crate::rooted;
use crate::world::{SERVER_FILE, Tunnel, World, eventually};
use nix::sys::signal::Signal;
use std::thread::sleep;
use std::time::Duration;

/// Everything of a host that a tunnel could change: addresses, routes, rules, the firewall, kernel settings, resolver.
fn traces(place: &Place) -> String {
    place.must(
        "ip -o addr | sed 's/ *valid_lft.*//'; ip -4 route show table all; ip -6 route show table all | grep -v ^multicast
        ip -4 rule; ip -6 rule; ip -o link | sed 's/ qlen.*//'
        nft list ruleset
        cd /proc/sys/net; cat ipv4/ip_forward ipv6/conf/all/forwarding
        grep -r . ipv4/conf/*/forwarding ipv4/conf/*/rp_filter ipv4/conf/*/src_valid_mark ipv6/conf/*/forwarding
        cat /etc/resolv.conf; find /run -type f ! -path '/run/server/*' ! -name '*.lock' | sort",
    )
}

/// What differs, line by line.
fn assert_same(before: &str, after: &str, what: &str) {
    let missing: Vec<&str> = before.lines().filter(|line| !after.lines().any(|l| l == *line)).collect();
    let left: Vec<&str> = after.lines().filter(|line| !before.lines().any(|l| l == *line)).collect();
    assert!(missing.is_empty() && left.is_empty(), "{what}: missing {missing:#?}, left {left:#?}");
}

/// A client that also rewrites the resolver.
fn up(world: &World, token: &str) -> Program {
    let file = format!("token = \"{token}\"\ndns = [\"198.51.100.10\"]\n");
    world.router.run(move || std::fs::write("/run/client.toml", file).unwrap());
    let mut client = world.router.daemon(&["client", "up", "--config", "/run/client.toml"]);
    client.wait_for("ready");
    client
}

#[test]
fn a_client_leaves_no_trace_however_it_is_asked_to_end() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    let server = world.serve();
    world.router.run(|| std::fs::write("/run/client.toml", "").unwrap());
    let before = traces(&world.router);
    for (way, end) in [("Ctrl-C", Some(Signal::SIGINT)), ("SIGTERM", Some(Signal::SIGTERM)), ("down", None)] {
        let mut client = up(&world, &token);
        world.download().unwrap_or_else(|why| panic!("{way}: {why}\n{}\n{}", client.said(), server.said()));
        let during = traces(&world.router);
        assert!(during.contains("quicbond") && during.contains("Written by quicbond"), "{during}");
        let status = match end {
            Some(signal) => client.end_by(signal),
            None => {
                let (code, said) = world.router.quicbond(&["client", "down"]);
                assert_eq!((code, said.trim()), (0, "the client is down"), "{}", client.said());
                client.wait()
            }
        };
        assert_eq!(status.code(), Some(0), "{way}: {}", client.said());
        assert_same(&before, &traces(&world.router), way);
    }
}

#[test]
fn what_a_killed_client_leaves_goes_with_down_and_stops_no_next_client() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    let _server = world.serve();
    world.router.run(|| std::fs::write("/run/client.toml", "").unwrap());
    let before = traces(&world.router);
    up(&world, &token).end_by(Signal::SIGKILL);
    // The next one takes over and puts back what the first one found.
    let mut client = up(&world, &token);
    world.download().unwrap_or_else(|why| panic!("{why}\n{}", client.said()));
    client.end_by(Signal::SIGKILL);
    let (code, said) = world.router.quicbond(&["client", "down"]);
    assert!(code == 0 && said.contains("were undone"), "{said}");
    let socket = "/run/quicbond/client.sock";
    world.router.sh(&format!("rm -f {socket}"));
    assert_same(&before, &traces(&world.router), "killed twice, then down");
    let (code, said) = world.router.quicbond(&["client", "down"]);
    assert!(code == 0 && said.contains("nothing was left behind"), "{said}");
}

#[test]
fn a_client_that_is_stopped_at_any_moment_of_its_start_leaves_no_trace() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    let server = world.serve();
    let before = traces(&world.router);
    // Long enough for the tunnel to stand in the last rounds.
    for round in 0..12 {
        let mut client = world.client(&token);
        sleep(Duration::from_millis(20 + round * 40));
        let status = client.end_by(Signal::SIGTERM);
        let what = format!("round {round}: {status} {}\n{}", client.said(), server.said());
        assert_same(&before, &traces(&world.router), &what);
    }
}

#[test]
fn a_server_leaves_no_trace_however_it_ends() {
    if !rooted() {
        return;
    }
    let world = World::new();
    world.enrol();
    let before = traces(&world.internet);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut server = world.serve();
        assert!(traces(&world.internet).contains("quicbond"));
        assert_eq!(server.end_by(signal).code(), Some(0), "{}", server.said());
        assert_same(&before, &traces(&world.internet), signal.as_str());
    }
    let mut server = world.serve();
    server.end_by(Signal::SIGKILL);
    let mut server = world.serve();
    assert_eq!(server.end_by(Signal::SIGTERM).code(), Some(0), "{}", server.said());
    assert_same(&before, &traces(&world.internet), "killed, started again, stopped");
}

#[test]
fn clients_find_a_server_that_was_killed_and_started_again() {
    if !rooted() {
        return;
    }
    let Tunnel { mut server, client, world, .. } = World::new().tunnel();
    world.download().unwrap();
    server.end_by(Signal::SIGKILL);
    server = world.serve();
    let took = world.recovers([&client, &server]);
    let logs = format!("{}\n{}", client.said(), server.said());
    assert!(took < Duration::from_secs(15), "after {took:?}: {logs}");
    // The same inner addresses, for the flows of the datagram lane.
    world.lan.must("ping -c 1 -W 5 198.51.100.10");
    println!("back after {took:?}");
}

#[test]
fn clients_find_a_server_that_was_stopped_and_started_again() {
    if !rooted() {
        return;
    }
    let Tunnel { mut server, client, world, .. } = World::new().tunnel();
    assert_eq!(server.end_by(Signal::SIGTERM).code(), Some(0), "{}", server.said());
    eventually("the client notices", || {
        let said = client.said();
        if said.contains("session lost") { Ok(()) } else { Err(said) }
    });
    // Long enough for some attempts in vain.
    sleep(Duration::from_secs(1));
    server = world.serve();
    let took = world.recovers([&client, &server]);
    assert!(took < Duration::from_secs(15), "after {took:?}: {}\n{}", client.said(), server.said());
    println!("back after {took:?}");
}

#[test]
fn a_second_server_or_client_on_the_same_machine_is_refused_and_harms_nothing() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let (code, said) = tunnel.world.internet.quicbond(&["server", "run", "--config", SERVER_FILE]);
    assert!(code == 1 && said.contains("error: ") && said.trim().lines().count() == 1, "{code} {said}");
    let (code, said) = tunnel.world.router.quicbond(&["client", "up", &tunnel.token]);
    assert!(code == 1 && said.contains("error: ") && said.trim().lines().count() == 1, "{code} {said}");
    tunnel.assert_download();
}
