//! The little Internet of a test: a LAN host, a router with two links, a server, and a target behind it.
//!
//! The links are plain wires. Server and client are started, killed and asked by the test itself.

use crate::place::{PATIENCE, Place, Program, ROUND};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

pub(crate) const SERVER: &str = "203.0.113.1";
pub(crate) const TARGET: &str = "198.51.100.10";
/// An address in the target's network that nobody has.
pub(crate) const NOBODY: &str = "198.51.100.99";
/// A host of the private network behind the server.
pub(crate) const PRIVATE: &str = "10.99.0.10";
/// Where the files of server and client are, each in its own `/run`.
pub(crate) const SERVER_DIR: &str = "/run/server";
pub(crate) const SERVER_FILE: &str = "/run/server/server.toml";

pub(crate) struct World {
    pub(crate) lan: Place,
    pub(crate) router: Place,
    pub(crate) internet: Place,
    pub(crate) target: Place,
}

/// The hosts with both ends of a tunnel.
pub(crate) struct Tunnel {
    pub(crate) client: Program,
    pub(crate) server: Program,
    pub(crate) token: String,
    pub(crate) world: World,
}

impl World {
    pub(crate) fn new() -> Self {
        let world =
            Self { lan: Place::new(), router: Place::new(), internet: Place::new(), target: Place::new() };
        world.join();
        let listener = world.target.listen(80);
        world.target.spawn(move || serve_http(&listener));
        world
    }

    fn join(&self) {
        let thread = |place: &Place| {
            let (tell, told) = std::sync::mpsc::channel();
            // It has to live as long as `ip` looks for it.
            place.spawn(move || {
                tell.send(nix::unistd::gettid()).unwrap();
                sleep(PATIENCE);
            });
            told.recv().unwrap()
        };
        let (lan, internet, target) = (thread(&self.lan), thread(&self.internet), thread(&self.target));
        let quiet = "set -e; for name in default all; do
            echo 0 >/proc/sys/net/ipv6/conf/$name/accept_dad; echo 0 >/proc/sys/net/ipv4/conf/$name/rp_filter; done\n";
        for place in [&self.lan, &self.router, &self.internet, &self.target] {
            place.must(quiet);
        }
        let link = |n: u8, name: &str| {
            format!(
                "ip link add name {name} type veth peer name {name} netns {internet}
                ip addr add 10.0.{n}.2/24 dev {name}; ip addr add fd00:{n}::2/64 dev {name} nodad
                ip link set {name} up
                ip route add default via 10.0.{n}.1 dev {name} metric 10{n}
                ip route add default via fd00:{n}::1 dev {name} metric 10{n}\n"
            )
        };
        self.router.must(&format!(
            "set -e
            ip link add lan type veth peer name eth0 netns {lan}
            ip addr add 192.168.77.1/24 dev lan; ip addr add fd77::1/64 dev lan nodad; ip link set lan up
            {}{}",
            link(1, "fibre"),
            link(2, "lte")
        ));
        self.lan.must(
            "set -e
            ip addr add 192.168.77.2/24 dev eth0; ip addr add fd77::2/64 dev eth0 nodad; ip link set eth0 up
            ip route add default via 192.168.77.1; ip route add default via fd77::1",
        );
        self.internet.must(&format!(
            "set -e
            for n in 1 2; do
                test $n = 1 && name=fibre || name=lte
                ip addr add 10.0.$n.1/24 dev $name; ip addr add fd00:$n::1/64 dev $name nodad; ip link set $name up
            done
            ip addr add {SERVER}/32 dev lo; ip addr add 2001:db8::1/128 dev lo nodad
            ip link add to-target type veth peer name eth0 netns {target}
            ip addr add 198.51.100.1/24 dev to-target; ip addr add 2001:db8:1::1/64 dev to-target nodad
            ip link set to-target up
            ip route add 10.99.0.0/24 via {TARGET} dev to-target onlink
            ip route add default via {TARGET} dev to-target onlink"
        ));
        self.target.must(&format!(
            "set -e
            ip addr add {TARGET}/24 dev eth0; ip addr add 2001:db8:1::10/64 dev eth0 nodad; ip link set eth0 up
            ip addr add {PRIVATE}/32 dev lo; ip addr add 169.254.169.254/32 dev lo
            ip route add default via 198.51.100.1; ip route add default via 2001:db8:1::1"
        ));
    }

    /// Adds a line to a section of the server's configuration.
    pub(crate) fn configure(&self, section: &'static str, line: &'static str) {
        self.internet.run(move || {
            let text = fs::read_to_string(SERVER_FILE).unwrap();
            fs::write(
                SERVER_FILE,
                text.replace(&format!("[{section}]\n"), &format!("[{section}]\n{line}\n")),
            )
            .unwrap();
        });
    }

    /// Makes the server's files and returns the first token.
    pub(crate) fn enrol(&self) -> String {
        let address = format!("{SERVER}:443");
        let (code, said) =
            self.internet.quicbond(&["server", "init", "--dir", SERVER_DIR, "--address", &address]);
        assert_eq!(code, 0, "{said}");
        // The target's addresses are for documentation, which a server may refuse unless told otherwise.
        self.configure("targets", "allow = [\"198.51.100.0/24\", \"2001:db8::/32\"]");
        token_in(&said)
    }

    pub(crate) fn serve(&self) -> Program {
        let mut server = self.internet.daemon(&["server", "run", "--config", SERVER_FILE]);
        server.wait_for("ready");
        server
    }

    pub(crate) fn client(&self, token: &str) -> Program {
        self.router.daemon(&["client", "up", token])
    }

    pub(crate) fn tunnel(self) -> Tunnel {
        let token = self.enrol();
        let server = self.serve();
        let mut client = self.client(&token);
        client.wait_for("ready");
        Tunnel { client, server, token, world: self }
    }

    /// A short download by the LAN host.
    pub(crate) fn download(&self) -> Result<(), String> {
        let (code, said) = self.lan.sh(&format!("curl -sS -m 5 http://{TARGET}/100000 | wc -c"));
        if code == 0 && said.trim() == "100000" { Ok(()) } else { Err(said) }
    }

    /// Tries a short download again and again: how long it took until one worked.
    pub(crate) fn recovers(&self, ends: [&Program; 2]) -> Duration {
        let begun = Instant::now();
        while let Err(why) = self.download() {
            let logs = ends.map(Program::said).join("\n");
            assert!(begun.elapsed() < PATIENCE, "nothing flows any more: {why}\n{logs}");
            sleep(ROUND);
        }
        begun.elapsed()
    }
}

impl Tunnel {
    /// For assertions to show.
    pub(crate) fn logs(&self) -> String {
        format!("--- client\n{}\n--- server\n{}", self.client.said(), self.server.said())
    }

    pub(crate) fn assert_download(&self) {
        let begun = Instant::now();
        while let Err(why) = self.world.download() {
            assert!(begun.elapsed() < PATIENCE, "{why}\n{}", self.logs());
            sleep(ROUND);
        }
    }
}

/// What `quicbond status --json` says in a place.
pub(crate) fn status(place: &Place) -> Value {
    let (code, said) = place.quicbond(&["status", "--json"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(said.trim()).unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// Waits until `look` finds something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(begun.elapsed() < PATIENCE, "{what}: {why}"),
        }
        sleep(ROUND);
    }
}

pub(crate) fn token_in(said: &str) -> String {
    let found = said.lines().find_map(|line| line.strip_prefix("token: "));
    found.unwrap_or_else(|| panic!("no token: {said}")).trim().to_owned()
}

/// `GET /N` is answered with N bytes.
fn serve_http(listener: &TcpListener) {
    for stream in listener.incoming().map_while(Result::ok) {
        thread::spawn(move || answer_http(stream));
    }
}

fn answer_http(mut stream: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let size: usize = head.split_whitespace().nth(1)?.strip_prefix('/')?.parse().ok()?;
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n").ok()?;
    let chunk = [7; 16_384];
    let mut left = size;
    while left > 0 {
        let n = stream.write(&chunk[..left.min(chunk.len())]).ok()?;
        left -= n;
    }
    Some(())
}
