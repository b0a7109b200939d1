//! `quicbond demo`: the plan, one run per direction, the comparison, the report.
//!
//! Every run has endpoints, links and a connection of its own, so that no run knows what an earlier one has learned.

mod payload;
mod plan;
mod report;
mod run;
mod session;
mod transfer;
mod view;

use crate::cli::DemoArgs;
use crate::output::Output;
use crate::text;
use mpquic_sim::profile::Profile;
use plan::{COMPARE_LIMIT, Direction, Plan};
use report::{Alone, LinkReport, Report, Verdict};
use run::{Job, Outcome, Stop};
use std::process::ExitCode;

const FAILED: u8 = 1;
/// What shells report of a program that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: u8 = 130;
/// Bonding and sending take a moment each; more workers would only be more threads on a small machine.
const WORKERS: usize = 2;

pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    let plan = match Plan::new(args) {
        Ok(plan) => plan,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(show(&plan)),
        Err(error) => {
            Output::Stderr.write(&format!("error: cannot start threads: {error}\n"));
            ExitCode::from(FAILED)
        }
    }
}

async fn show(plan: &Plan) -> ExitCode {
    // With --json, stdout belongs to the object.
    let out = if plan.json { Output::Stderr } else { Output::Stdout };
    let stop = Stop::on_ctrl_c();
    out.write(&plan.to_string());
    let mut reports = Vec::new();
    for &direction in &plan.directions {
        let mut report = measure(plan, direction, out, &stop).await;
        if plan.compare && matches!(report.verdict, Verdict::Verified(_)) {
            compare(plan, &mut report, out, &stop).await;
        }
        out.write(&report.table());
        if let Verdict::Failed(why) = &report.verdict {
            Output::Stderr.write(&format!("error: the transfer {} failed: {why}\n", direction.name()));
        }
        reports.push(report);
        if stop.is_requested() {
            break;
        }
    }
    if plan.json {
        Output::Stdout.write(&report::json(plan.profile.name, &reports));
    }
    exit_code(&reports, stop.is_requested())
}

fn exit_code(reports: &[Report], interrupted: bool) -> ExitCode {
    let bad = |r: &Report| matches!(r.verdict, Verdict::Failed(_) | Verdict::Wrong { .. });
    if reports.iter().any(bad) {
        ExitCode::from(FAILED)
    } else if interrupted {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::SUCCESS
    }
}

/// All links together.
async fn measure(plan: &Plan, direction: Direction, out: Output, stop: &Stop) -> Report {
    let links = plan.profile.links.len();
    let bytes = text::bytes(plan.payload.bytes);
    out.write(&format!("\n{}: {bytes} over {links} links on one stream\n", direction.name()));
    let job = Job {
        plan,
        profile: &plan.profile,
        payload: plan.payload.clone(),
        direction,
        limit: None,
        title: direction.name().to_owned(),
    };
    let outcome = run::run(&job, out, stop).await;
    let ended = matches!(outcome.verdict, Verdict::Verified(_));
    let mut notes = if ended { plan.cuts_after(outcome.time) } else { Vec::new() };
    if outcome.refused > 0 {
        notes.push(format!(
            "this host dropped {} packets between the emulated links: it may be too slow or too busy for these rates",
            outcome.refused
        ));
    }
    Report {
        direction,
        bytes: outcome.bytes,
        time: outcome.time,
        capacity: plan.capacity(direction),
        longest_gap: outcome.longest_gap,
        verdict: outcome.verdict.clone(),
        links: link_reports(&plan.profile, &outcome, direction),
        best: None,
        notes,
    }
}

/// The best link alone, with the cap that keeps this short.
async fn compare(plan: &Plan, report: &mut Report, out: Output, stop: &Stop) {
    let direction = report.direction;
    let link = plan.best_link(direction);
    let name = plan.profile.links[link].name.clone();
    let mut payload = plan.payload.clone();
    payload.bytes = plan.compare_bytes(link, direction);
    let bytes = text::bytes(payload.bytes);
    out.write(&format!("{}: now {name} alone, undisturbed, for comparison ({bytes})\n", direction.name()));
    let title = format!("{} {name} alone", direction.name());
    let profile = plan.alone(link);
    let job = Job { plan, profile: &profile, payload, direction, limit: Some(COMPARE_LIMIT), title };
    let outcome = run::run(&job, out, stop).await;
    match outcome.verdict {
        Verdict::Failed(why) => report.notes.push(format!("the comparison over {name} alone failed: {why}")),
        Verdict::Stopped if stop.is_requested() => {}
        verdict => {
            let stopped = verdict == Verdict::Stopped;
            report.best =
                Some(Alone { name, bytes: outcome.bytes, whole: report.bytes, time: outcome.time, stopped });
        }
    }
}

/// Links that the transfer never got to count as not up, with nothing sent.
fn link_reports(profile: &Profile, outcome: &Outcome, direction: Direction) -> Vec<LinkReport> {
    let received: u64 = outcome.links.iter().map(|link| link.received).sum();
    let named = profile.links.iter().enumerate();
    named
        .map(|(i, link)| {
            let state = outcome.links.get(i).copied().unwrap_or(session::LinkState::NOTHING);
            LinkReport {
                name: link.name.clone(),
                rate: link.spec.direction(direction.way()).rate,
                bytes: state.sent,
                share: if received == 0 { 0.0 } else { state.received as f64 / received as f64 },
                srtt: state.srtt,
                lost: state.lost,
                packets: state.packets,
                mtu: state.mtu,
                state: state.state,
            }
        })
        .collect()
}
