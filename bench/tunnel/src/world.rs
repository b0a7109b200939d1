//! Three hosts in a row, and processes on them.
//!
//! ```text
//! client 10.0.1.2 ==wire== 10.0.1.1 server 198.51.100.1 ---- 198.51.100.10 target
//! ```

use crate::Failure;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const SERVER: &str = "10.0.1.1";
pub(crate) const TARGET: &str = "198.51.100.10";
pub(crate) const TARGET_NET: &str = "198.51.100.0/24";
/// Nothing here takes longer to start.
const PATIENCE: Duration = Duration::from_secs(20);
const ROUND: Duration = Duration::from_millis(10);
/// TCP windows may grow to 64 MB, so that they decide nothing.
const SETTINGS: &str = "net.ipv4.tcp_rmem=4096,131072,67108864 net.ipv4.tcp_wmem=4096,131072,67108864 \
                        net.ipv4.tcp_no_metrics_save=1 net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
                        net.ipv4.conf.default.rp_filter=0 net.ipv6.conf.default.accept_dad=0";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Host {
    Client,
    Server,
    Target,
}

const HOSTS: [Host; 3] = [Host::Client, Host::Server, Host::Target];

impl Host {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Target => "target",
        }
    }

    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name()]).arg(program);
        command
    }

    /// `ip` with the words of `line`.
    pub(crate) fn ip(self, line: &str) -> Result<(), Failure> {
        run("ip", &format!("-n {} {line}", self.name()))
    }
}

/// The hosts; gone when this is dropped, with what was configured on them.
#[derive(Debug)]
pub(crate) struct World(());

impl World {
    pub(crate) fn make() -> Result<Self, Failure> {
        let world = Self(());
        for host in HOSTS {
            run("ip", &format!("netns add {}", host.name()))?;
            host.ip("link set lo up")?;
            for setting in SETTINGS.split_whitespace() {
                let mut set = host.command("sysctl");
                finish(set.arg("-qw").arg(setting.replace(',', " ")))?;
            }
        }
        Host::Client.ip("link add wire type veth peer name wire netns server")?;
        Host::Server.ip("link add to-target type veth peer name eth0 netns target")?;
        Host::Server.ip(&format!("addr add {SERVER}/24 dev wire"))?;
        Host::Server.ip("link set wire up")?;
        Host::Server.ip("addr add 198.51.100.1/24 dev to-target")?;
        Host::Server.ip("link set to-target up")?;
        Host::Client.ip("addr add 10.0.1.2/24 dev wire")?;
        Host::Client.ip("link set wire up")?;
        Host::Client.ip(&format!("route add default via {SERVER} dev wire"))?;
        Host::Target.ip(&format!("addr add {TARGET}/24 dev eth0"))?;
        Host::Target.ip("link set eth0 up")?;
        Host::Target.ip("route add default via 198.51.100.1 dev eth0")?;
        Ok(world)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in HOSTS {
            // One that was never made is as good as gone.
            run("ip", &format!("netns del {}", host.name())).ok();
        }
    }
}

/// A process on a host; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| format!("{command:?}: {error}"))?;
        let (say, lines) = mpsc::channel();
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as _),
            child.stderr.take().map(|pipe| Box::new(pipe) as _),
        ];
        for pipe in pipes.into_iter().flatten() {
            let say = say.clone();
            // Read to the end even if nobody listens any more, or the daemon would wait.
            thread::spawn(move || {
                let lines = BufReader::new(pipe).lines().map_while(Result::ok);
                lines.for_each(|line| say.send(line).unwrap_or(()));
            });
        }
        Ok(Self { child, lines })
    }

    /// Waits for a line that is `wanted`.
    pub(crate) fn says(&mut self, wanted: &str) -> Result<(), Failure> {
        let (until, mut said) = (Instant::now() + PATIENCE, Vec::new());
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if line.trim() == wanted {
                return Ok(());
            }
            said.push(line);
        }
        Err(format!("a daemon did not say {wanted:?} but:\n{}", said.join("\n")).into())
    }

    /// Waits until it listens on a port, of "tcp" or "udp".
    pub(crate) fn listens(&mut self, protocol: &str, port: u16) -> Result<(), Failure> {
        let local = format!(":{port:04X} ");
        let listening = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            let here = words.next().is_some_and(|word| format!("{word} ").ends_with(&local));
            // TCP_LISTEN, or a UDP socket without a peer (net/tcp_states.h).
            here && words.nth(1) == Some(if protocol == "tcp" { "0A" } else { "07" })
        };
        let tables = ["", "6"].map(|six| format!("/proc/{}/net/{protocol}{six}", self.pid()));
        self.until(&format!("listen on {protocol} port {port}"), || {
            tables.iter().any(|table| fs::read_to_string(table).is_ok_and(|text| text.lines().any(listening)))
        })
    }

    /// Waits until something is so.
    pub(crate) fn until(&mut self, what: &str, so: impl Fn() -> bool) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while !so() {
            if Instant::now() >= until || self.child.try_wait()?.is_some() {
                let said: Vec<_> = self.lines.try_iter().collect();
                return Err(format!("a daemon does not {what}; it said:\n{}", said.join("\n")).into());
            }
            thread::sleep(ROUND);
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of all its threads so far, seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // proc_pid_stat(5): utime and stime are fields 14 and 15; the second may hold blanks but ends with ')'.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        // USER_HZ is 100 on every architecture that Rust's standard library runs on with Linux.
        Ok(ticks / 100.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a program to its end with the words of `line`.
pub(crate) fn run(program: &str, line: &str) -> Result<(), Failure> {
    finish(Command::new(program).args(line.split_whitespace())).map(drop)
}

/// Runs a command to its end and returns what it wrote.
pub(crate) fn finish(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed ({}): {said}{error}", output.status).into())
}
