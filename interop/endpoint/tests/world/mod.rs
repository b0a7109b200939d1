//! One test case as the runner plays it: folders with certificates and random files, our binary as the server and as the
//! client, and between them a tap and the project's link emulator in real time.

pub(crate) mod certs;
pub(crate) mod tap;

use mpquic_base::{Duration, Rate};
use mpquic_sim::emulator::{Emulator, Rebinding};
use mpquic_sim::link::{LinkSpec, Loss, Schedule, Ways};
use mpquic_sim::profile::NamedLink;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use tap::{Seen, Tap};

/// No case takes as long unless it fails, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(50);
const SEED: u64 = 7;
/// A client's last word reaches its server within this time and two delays of the link.
const LINGER: Duration = Duration::from_millis(100);

/// A case, its files and its network.
pub(crate) struct World {
    server_case: &'static str,
    client_case: &'static str,
    files: Vec<(String, usize)>,
    chain: usize,
    host: IpAddr,
    link: Option<LinkSpec>,
    lost: &'static [usize],
    events: Vec<(Trigger, Event)>,
}

/// When something happens: this much of the download has come through, or this long after what happened last.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    Bytes(usize),
    Later(Duration),
}

/// What happens to the link while the client runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Cut,
    Restore,
    Rebind(Rebinding),
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The client's and the server's lines about their connections.
    pub(crate) client: Vec<String>,
    pub(crate) server: Vec<String>,
    /// What the tap saw; nothing without a link.
    pub(crate) seen: Seen,
    pub(crate) key_logs: [String; 2],
}

impl World {
    /// Both roles play `case` and exchange files of `sizes`.
    pub(crate) fn new(case: &'static str, sizes: &[usize]) -> Self {
        Self {
            server_case: case,
            client_case: case,
            files: sizes.iter().enumerate().map(|(i, size)| (format!("file-{i}"), *size)).collect(),
            chain: 1,
            host: Ipv4Addr::LOCALHOST.into(),
            link: Some(LinkSpec::new(Rate::from_bits_per_second(50_000_000), Duration::from_millis(5))),
            lost: &[],
            events: Vec::new(),
        }
    }

    /// The runner gives the two ends different names in some cases.
    pub(crate) fn client(mut self, case: &'static str) -> Self {
        self.client_case = case;
        self
    }

    pub(crate) fn server(mut self, case: &'static str) -> Self {
        self.server_case = case;
        self
    }

    /// Straight over the loopback interface, where ECN marks survive, and with it the choice of the address.
    pub(crate) fn direct(mut self, host: IpAddr) -> Self {
        (self.link, self.host) = (None, host);
        self
    }

    pub(crate) fn link(mut self, megabits: u64, delay_ms: u64) -> Self {
        let rate = Rate::from_bits_per_second(megabits * 1_000_000);
        self.link = Some(LinkSpec::new(rate, Duration::from_millis(delay_ms)));
        self
    }

    pub(crate) fn loss(mut self, share: f64) -> Self {
        self.link = self.link.map(|link| link.loss(Loss::Bernoulli(share)));
        self
    }

    pub(crate) fn corruption(mut self, share: f64) -> Self {
        self.link = self.link.map(|link| link.both(|direction| direction.corrupt = share));
        self
    }

    pub(crate) fn chain(mut self, length: usize) -> Self {
        self.chain = length;
        self
    }

    /// Loses these datagrams of the client, counted from 1.
    pub(crate) fn losing(mut self, lost: &'static [usize]) -> Self {
        self.lost = lost;
        self
    }

    pub(crate) fn after_bytes(mut self, bytes: usize, event: Event) -> Self {
        self.events.push((Trigger::Bytes(bytes), event));
        self
    }

    pub(crate) fn later(mut self, ms: u64, event: Event) -> Self {
        self.events.push((Trigger::Later(Duration::from_millis(ms)), event));
        self
    }

    pub(crate) fn names(mut self, length: usize) -> Self {
        for (i, (name, _)) in self.files.iter_mut().enumerate() {
            *name = format!("{i:03}").chars().cycle().take(length).collect();
        }
        self
    }

    /// Plays it, and checks what holds in every case: the client is content and has the very files.
    pub(crate) fn play(self) -> Outcome {
        let folder = Folder::new();
        let (certs, www, downloads) = (folder.make("certs"), folder.make("www"), folder.make("downloads"));
        certs::make(&certs, self.chain);
        for (i, (name, size)) in self.files.iter().enumerate() {
            fs::write(www.join(name), noise(i as u64, *size)).unwrap();
        }
        let shared = [("CERTS", &certs), ("WWW", &www), ("DOWNLOADS", &downloads)];
        let logs = ["server.keys", "client.keys"].map(|name| folder.0.join(name));
        let mut server = command("server", self.server_case, &shared, &logs[0]);
        server.env("IP", self.host.to_string()).env("PORT", "0");
        let mut server = Server::start(server);
        let emulator = self.link.clone().map(|spec| {
            let links = vec![NamedLink { name: "link".into(), spec }];
            Emulator::start(links, server.address, &Schedule::new(), SEED).unwrap()
        });
        let network = emulator.as_ref().map_or(server.address, |e| e.client_addr(0).unwrap());
        let tap = emulator.as_ref().map(|_| Tap::start(network, self.lost));
        let target = tap.as_ref().map_or(network, |tap| tap.address);
        let requests: Vec<String> =
            self.files.iter().map(|(name, _)| format!("https://server4:443/{name}")).collect();
        let mut client = command("client", self.client_case, &shared, &logs[1]);
        client.env("IP", target.ip().to_string()).env("PORT", target.port().to_string());
        client.env("REQUESTS", requests.join(" "));
        let (code, client) = self.watch(client, emulator.as_ref(), tap.as_ref());
        // The client's last word is still on its way.
        let delay = self.link.as_ref().map_or(Duration::ZERO, |link| link.up.delay);
        std::thread::sleep(delay * 2 + LINGER);
        let server = server.stop();
        assert_eq!(code, Some(0), "seed {SEED}: client: {client:?} server: {server:?}");
        assert_eq!(fs::read_dir(&downloads).unwrap().count(), self.files.len(), "as many files as asked for");
        for (name, size) in &self.files {
            let got = fs::read(downloads.join(name)).unwrap();
            assert!(
                got == fs::read(www.join(name)).unwrap(),
                "{name}: {} bytes of {size}, or others",
                got.len()
            );
        }
        let key_logs = logs.map(|path| fs::read_to_string(path).unwrap_or_default());
        Outcome { client, server, seen: tap.map(|tap| tap.seen()).unwrap_or_default(), key_logs }
    }

    /// Runs the client to its end, and lets happen what was planned meanwhile.
    #[allow(clippy::disallowed_methods, reason = "links in real time")]
    fn watch(
        &self,
        mut client: Command,
        emulator: Option<&Emulator>,
        tap: Option<&Tap>,
    ) -> (Option<i32>, Vec<String>) {
        let mut child = Process(client.stderr(Stdio::piped()).spawn().unwrap());
        let mut stderr = child.0.stderr.take().unwrap();
        let lines = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).ok();
            text.lines().map(str::to_owned).collect()
        });
        let begun = Instant::now();
        let (mut events, mut last) = (self.events.iter().peekable(), begun);
        let status = loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "seed {SEED}: {} takes too long", self.client_case);
            let carried = tap.map_or(0, |tap| tap.seen().carried);
            let due = |(trigger, _): &&(Trigger, Event)| match trigger {
                Trigger::Bytes(bytes) => *bytes <= carried,
                Trigger::Later(time) => *time <= last.elapsed(),
            };
            if let Some((_, event)) = events.next_if(due) {
                last = Instant::now();
                match (event, emulator.expect("a link")) {
                    (Event::Cut, link) => link.cut(0, Ways::Both),
                    (Event::Restore, link) => link.restore(0, Ways::Both),
                    (Event::Rebind(rebinding), link) => link.rebind(0, *rebinding),
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(events.next().is_none(), "the client was done before everything had happened");
        (status.code(), lines.join().unwrap())
    }
}

/// The binary with the runner's variables and no others of ours.
pub(crate) fn command(role: &str, case: &str, folders: &[(&str, &PathBuf)], key_log: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpquic-interop-endpoint"));
    command.env("ROLE", role).env("TESTCASE", case).env("SSLKEYLOGFILE", key_log);
    for (name, folder) in folders {
        command.env(name, folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Server {
    process: Process,
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut process = Process(command.stderr(Stdio::piped()).spawn().unwrap());
        let stderr = BufReader::new(process.0.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first = lines.recv_timeout(PATIENCE).expect("the server says where it listens");
        let address = first.split_once('[').and_then(|(_, rest)| rest.split([',', ' ']).next());
        let address = address.map(|text| text.trim_end_matches(']')).and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| parse_v6(&first));
        Self { process, address, lines }
    }

    /// Ends it as the runner does; what it said of its connections.
    fn stop(&mut self) -> Vec<String> {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.process.0.wait().unwrap();
        assert!(status.success(), "the server ended with {status}");
        self.lines.iter().collect()
    }
}

/// `… listening on [[::1]:4433]`.
fn parse_v6(line: &str) -> SocketAddr {
    let list = line.split_once("listening on [").map(|(_, rest)| rest.trim_end_matches(']'));
    let text = list.unwrap_or_else(|| panic!("no address in {line:?}"));
    text.parse().unwrap_or_else(|_| panic!("no address in {line:?}"))
}

/// A folder that does not outlive its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mpquic-interop-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// The value of `name` in a line of JSON without nesting.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let label = format!("\"{name}\":");
    let (_, rest) = line.split_once(&label).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split([',', '}']).next().unwrap_or_default().trim_matches('"')
}

pub(crate) fn number(line: &str, name: &str) -> u64 {
    field(line, name).parse().unwrap_or_else(|_| panic!("{name} is no number in {line}"))
}
