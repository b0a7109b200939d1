//! `quicbond lab`: a little Internet on this machine, both ends of a tunnel in it, and a command that uses it.
//!
//! Owns the course of events: set up, run, measure, tear down. The namespaces are anonymous and every process in them
//! ends with the lab, so that tearing down is nothing but ending.

mod args;
mod child;
pub(crate) mod guard;
mod measure;
mod place;
mod plan;
mod report;
mod run;
mod target;
mod topology;
mod tunnel;

pub(crate) use args::{ABOUT, EXAMPLES, LabArgs};

use crate::output::Output;
use mpquic_base::Duration;
use plan::{Plan, Wires};
use run::Signals;
use std::io;
use std::process::ExitCode;
use std::time::Instant;
use topology::Topology;
use tunnel::Tunnel;

/// The lab itself failed, as containers' tools say it: no code of the command.
const FAILED: u8 = 125;

pub(crate) fn run(args: &LabArgs) -> ExitCode {
    let plan = match Plan::new(args) {
        Ok(plan) => plan,
        Err(wrong) => {
            // Nobody is left to be told.
            wrong.print().ok();
            return ExitCode::from(2);
        }
    };
    if !nix::unistd::geteuid().is_root() {
        say("it needs root, because it makes network namespaces and TUN devices; start it with sudo");
        return ExitCode::from(FAILED);
    }
    match conduct(&plan) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            say(&e.to_string());
            ExitCode::from(FAILED)
        }
    }
}

/// Everything from the first namespace to the report. What it made ends when it returns.
fn conduct(plan: &Plan) -> io::Result<u8> {
    let begun = Instant::now();
    if let Some(folder) = &plan.logs {
        std::fs::create_dir_all(folder).map_err(|e| {
            io::Error::new(e.kind(), format!("cannot make the folder {}: {e}", folder.display()))
        })?;
    }
    let signals = Signals::watch()?;
    say(&format!("setting up {}", described(&plan.wires)));
    let mut topology = Topology::make(plan)?;
    target::start(&topology.target)?;
    for place in [&mut topology.lan, &mut topology.router, &mut topology.internet] {
        place.isolate_processes()?;
    }
    say(&format!("hosts and links are up after {} ms", begun.elapsed().as_millis()));
    let tunnel = match plan.tunnel {
        true => {
            say("starting server and client");
            Some(Tunnel::start(&topology.internet, &topology.router, plan.mode, plan.logs.as_deref())?)
        }
        false => None,
    };
    let set_up = begun.elapsed();
    say(&format!("ready after {} ms", set_up.as_millis()));
    let done = run::command(plan, topology, tunnel, &signals)?;
    let report = done.report(set_up);
    Output::Stderr.write(&report.table());
    if plan.json {
        Output::Stdout.write(&format!("{}\n", report.json()));
    }
    Ok(report.exit_code)
}

fn described(wires: &Wires) -> String {
    match wires {
        Wires::Plain => "a plain wire".to_owned(),
        Wires::Emulated(emulated) => {
            let link = |link: &mpquic_sim::profile::NamedLink| {
                format!("{}={}", link.name, crate::text::link(&link.spec))
            };
            emulated.profile.links.iter().map(link).collect::<Vec<_>>().join(", ")
        }
    }
}

fn say(text: &str) {
    Output::Stderr.write(&format!("lab: {text}\n"));
}

/// From then to now.
fn since(then: Instant) -> Duration {
    then.elapsed()
}
