//! The command in the lab: its start, what happens to the links meanwhile, signals, its end.

use super::args::Mode;
use super::child::signal_to;
use super::guard::guarded;
use super::measure::{Counters, Measured, Meter};
use super::plan::{Emulated, Event, Plan, WIRE, Wires};
use super::report::{LinkReport, Report};
use super::topology::Topology;
use super::tunnel::{self, Tunnel};
use super::{say, since};
use mpquic_base::Duration;
use mpquic_sim::emulator::LinkStats;
use nix::sys::signal::Signal;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::Builder;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

/// How often the tunnel is looked after.
const ROUND: Duration = Duration::from_millis(200);
/// A command that was asked to end and has not after this long is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What was asked of the lab from outside.
pub(super) struct Signals {
    came: mpsc::Receiver<Signal>,
    /// The command gets them; before there is one, they end the lab.
    forwarded: Arc<AtomicBool>,
}

pub(super) struct Done {
    measured: Measured,
    links: Vec<LinkReport>,
    time: Duration,
    ending: Ending,
}

/// How the command ended, and which signal to the lab made it.
struct Ending {
    status: ExitStatus,
    asked: Option<Signal>,
}

impl Done {
    pub(super) fn report(self, set_up: Duration) -> Report {
        let Ending { status, asked } = self.ending;
        let signal = asked.map(|signal| signal as i32).or_else(|| status.signal());
        let code = status.code().or_else(|| signal.map(|signal| 128 + signal));
        let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(super::FAILED);
        Report::new(&self.measured, self.links, self.time, code, set_up)
    }
}

/// Runs the command and takes everything down after it.
pub(super) fn command(
    plan: &Plan,
    topology: Topology,
    mut tunnel: Option<Tunnel>,
    signals: &Signals,
) -> io::Result<Done> {
    signals.forwarded.store(true, Ordering::Release);
    serve_iperf(&topology);
    let child = start(plan, &topology)?;
    let begun = Instant::now();
    let before = Carried::read(&topology)?;
    if let (Wires::Emulated(emulated), Some(emulator)) = (&plan.wires, &topology.emulator) {
        emulator.reschedule(&emulated.profile.schedule);
    }
    let meter = meter(plan, &topology)?;
    let ending = wait(plan, &topology, tunnel.as_mut(), signals, child, begun)?;
    let time = since(begun);
    let measured = meter.stop();
    let links = Carried::read(&topology)?.since(&before, measured.busy);
    if let Some(tunnel) = tunnel {
        tunnel.stop();
    }
    Ok(Done { measured, links, time, ending })
}

fn start(plan: &Plan, topology: &Topology) -> io::Result<Child> {
    let shell = || std::env::var_os("SHELL").unwrap_or_else(|| OsString::from("/bin/sh"));
    let (program, args) = match plan.command.split_first() {
        Some((program, args)) => (program.clone(), args),
        None => (shell(), &[][..]),
    };
    let mut command = guarded(&program, args)?;
    if plan.tunnel {
        command.envs(tunnel::environment(plan.mode));
    }
    command.env("QUICBOND_LAB", "1");
    let place = if plan.mode == Mode::Host { &topology.router } else { &topology.lan };
    place.spawn(command)
}

/// An iperf3 server at the target, where iperf3 is installed. It ends with the target's namespace.
fn serve_iperf(topology: &Topology) {
    let started = guarded(OsStr::new("iperf3"), &[OsString::from("-s")]).and_then(|mut command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        topology.target.spawn(command)
    });
    if let Err(error) = started {
        tracing::debug!(%error, "no iperf3 at the target");
    }
}

fn meter(plan: &Plan, topology: &Topology) -> io::Result<Meter> {
    if plan.mode != Mode::Host {
        return Meter::start(Some(Counters::of_lan(topology)?), || (0, 0));
    }
    match &topology.emulator {
        Some(emulator) => {
            let watched = Arc::clone(emulator);
            Meter::start(None, move || {
                let stats = watched.stats();
                let sum = |bytes: fn(&LinkStats) -> u64| stats.iter().map(bytes).sum();
                (sum(|s| s.link.down.delivered_bytes), sum(|s| s.link.up.delivered_bytes))
            })
        }
        None => Meter::start(Some(topology.router.run(|| Counters::open(WIRE, 0))??), || (0, 0)),
    }
}

/// Waits for the command, and does to the links what is due.
fn wait(
    plan: &Plan,
    topology: &Topology,
    mut tunnel: Option<&mut Tunnel>,
    signals: &Signals,
    mut child: Child,
    begun: Instant,
) -> io::Result<Ending> {
    let process = child.id();
    let (tell, ended) = mpsc::channel();
    Builder::new().name("command".into()).spawn(move || tell.send(child.wait()))?;
    let mut events = match &plan.wires {
        Wires::Emulated(emulated) => {
            emulated.events.iter().map(|&(at, event)| (at, event, &**emulated)).collect()
        }
        Wires::Plain => Vec::new(),
    };
    events.reverse();
    let mut asked: Option<(Signal, Instant)> = None;
    loop {
        let next = events.last().map_or(ROUND, |&(at, ..)| at.saturating_sub(since(begun)).min(ROUND));
        match ended.recv_timeout(next) {
            // Killed or not, it has ended because it was asked to.
            Ok(status) => return Ok(Ending { status: status?, asked: asked.map(|(signal, _)| signal) }),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("nobody waits for the command"));
            }
        }
        while let Some((_, event, emulated)) = events.pop_if(|(at, ..)| *at <= since(begun)) {
            happen(event, emulated, topology)?;
        }
        if let Some(trouble) = tunnel.as_mut().and_then(|tunnel| tunnel.trouble()) {
            say(&trouble.to_string());
            tunnel = None;
        }
        for signal in signals.came.try_iter() {
            // A terminal has sent Ctrl-C to the command as well, and what the command makes of it is its own affair.
            if signal == Signal::SIGINT && io::stdin().is_terminal() {
                continue;
            }
            signal_to(process, signal);
            asked.get_or_insert((signal, Instant::now()));
        }
        if asked.is_some_and(|(_, then)| since(then) >= GRACE) {
            signal_to(process, Signal::SIGKILL);
        }
    }
}

fn happen(event: Event, emulated: &Emulated, topology: &Topology) -> io::Result<()> {
    match event {
        Event::Plug(link) => {
            topology.plug(emulated, link)?;
            say(&format!("{} is plugged in", emulated.devices[link]));
        }
        Event::Unplug(link) => {
            topology.unplug(link);
            say(&format!("{} is pulled out", emulated.devices[link]));
        }
    }
    Ok(())
}

/// What has crossed the links so far.
enum Carried {
    Wire { up: u64, down: u64 },
    Links(Vec<LinkStats>),
}

impl Carried {
    fn read(topology: &Topology) -> io::Result<Self> {
        Ok(match &topology.emulator {
            Some(emulator) => Self::Links(emulator.stats()),
            None => {
                let (down, up) = topology.router.run(|| Counters::open(WIRE, 0))??.bytes();
                Self::Wire { up, down }
            }
        })
    }

    fn since(&self, before: &Self, time: Duration) -> Vec<LinkReport> {
        match (self, before) {
            (Self::Links(now), Self::Links(before)) => {
                now.iter().zip(before).map(|(now, before)| LinkReport::emulated(now, before, time)).collect()
            }
            (Self::Wire { up, down }, Self::Wire { up: up0, down: down0 }) => {
                vec![LinkReport::plain(WIRE, up - up0, down - down0, time)]
            }
            _ => Vec::new(),
        }
    }
}

impl Signals {
    /// From now on, a signal to end ends no more than the command.
    pub(super) fn watch() -> io::Result<Self> {
        let (tell, came) = mpsc::channel();
        let (ready, watched) = mpsc::channel();
        let forwarded = Arc::new(AtomicBool::new(false));
        let forward = Arc::clone(&forwarded);
        let watch = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let streams = (
                    signal(SignalKind::interrupt()),
                    signal(SignalKind::terminate()),
                    signal(SignalKind::hangup()),
                );
                let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = streams else { return };
                ready.send(()).ok();
                loop {
                    let came = tokio::select! {
                        _ = interrupt.recv() => Signal::SIGINT,
                        _ = terminate.recv() => Signal::SIGTERM,
                        _ = hangup.recv() => Signal::SIGHUP,
                    };
                    if !forward.load(Ordering::Acquire) {
                        // Everything that was made so far ends with this process.
                        std::process::exit(128 + came as i32);
                    }
                    if tell.send(came).is_err() {
                        return;
                    }
                }
            });
        };
        Builder::new().name("signals".into()).spawn(watch)?;
        watched.recv().map_err(|_| io::Error::other("cannot watch for signals"))?;
        Ok(Self { came, forwarded })
    }
}
