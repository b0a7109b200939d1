//! One transfer from its first packet to its last, watched: view, stall, time limit, Ctrl-C.

use super::payload::Payload;
use super::plan::{Direction, Plan};
use super::report::Verdict;
use super::session::{LinkState, Session};
use super::transfer::{self, Digests, Meter};
use super::view::{Moment, View};
use crate::output::Output;
use mpquic_base::Duration;
use mpquic_sim::profile::Profile;
use std::time::Instant;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

/// A transfer that delivers nothing for this long has failed; longer than the connection's idle timeout.
const STALL_LIMIT: Duration = Duration::from_secs(45);
/// How old the paths' statistics may be: asked for later, the last packets are counted.
const STATISTICS_AGE: Duration = Duration::from_millis(60);
/// Sockets and threads end well before this, or are left to the end of the process.
const CLOSING_LIMIT: Duration = Duration::from_secs(3);

pub(crate) struct Job<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) profile: &'a Profile,
    pub(crate) payload: Payload,
    pub(crate) direction: Direction,
    /// The transfer is stopped after this long.
    pub(crate) limit: Option<Duration>,
    pub(crate) title: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) bytes: u64,
    /// From the request to the last byte.
    pub(crate) time: Duration,
    pub(crate) longest_gap: Duration,
    pub(crate) verdict: Verdict,
    /// Empty if the links never came up.
    pub(crate) links: Vec<LinkState>,
    pub(crate) refused: u64,
}

/// Whether somebody pressed Ctrl-C.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    requested: watch::Receiver<bool>,
}

impl Stop {
    /// The first Ctrl-C asks for the end, the second one does not wait for it.
    pub(crate) fn on_ctrl_c() -> Self {
        let (tell, requested) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                tell.send_replace(true);
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(i32::from(super::INTERRUPTED));
                }
            }
            // Without a signal to wait for there is nothing to tell, ever.
            core::future::pending::<()>().await;
        });
        Self { requested }
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    async fn requested(&self) {
        let mut requested = self.requested.clone();
        if requested.wait_for(|&requested| requested).await.is_err() {
            core::future::pending::<()>().await;
        }
    }
}

pub(crate) async fn run(job: &Job<'_>, out: Output, stop: &Stop) -> Outcome {
    let opened = tokio::select! {
        opened = Session::open(job.profile, job.plan) => opened.map_err(Verdict::Failed),
        () = stop.requested() => Err(Verdict::Stopped),
    };
    let session = match opened {
        Ok(session) => session,
        Err(verdict) => return Outcome::nothing(verdict),
    };
    let meter = Meter::default();
    session.begin();
    let began = Instant::now();
    let verdict = watch_transfer(job, &session, &meter, began, out, stop).await;
    let seen = meter.seen();
    let stopped = if verdict == Verdict::Stopped { Some(Instant::now()) } else { seen.last };
    tokio::time::sleep(STATISTICS_AGE).await;
    let outcome = Outcome {
        bytes: seen.bytes,
        time: stopped.map_or(Duration::ZERO, |end| end.duration_since(began)),
        longest_gap: seen.longest_gap,
        verdict,
        links: session.states(job.direction),
        refused: session.refused(),
    };
    // What an end in disorder costs is seen above; a slow goodbye costs nothing.
    timeout(CLOSING_LIMIT, session.close()).await.ok();
    outcome
}

async fn watch_transfer(
    job: &Job<'_>,
    session: &Session,
    meter: &Meter,
    began: Instant,
    out: Output,
    stop: &Stop,
) -> Verdict {
    let names = job.profile.links.iter().map(|link| link.name.clone()).collect();
    let mut view = View::new(out, &job.title, names, job.payload.bytes);
    let moment = || Moment {
        at: began.elapsed(),
        received: meter.seen().bytes,
        links: session.moments(job.direction),
    };
    let carry = transfer::carry(job.direction, &job.payload, session.client(), session.server(), meter);
    tokio::pin!(carry);
    let keep_paths = session.keep_paths();
    tokio::pin!(keep_paths);
    let mut tick = interval(view.period());
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first tick is immediate, and there is nothing to see yet.
    tick.tick().await;
    let verdict = loop {
        tokio::select! {
            ended = &mut carry => break verdict(ended),
            () = &mut keep_paths => {}
            () = stop.requested() => break Verdict::Stopped,
            () = until(job.limit.map(|limit| began + limit)) => break Verdict::Stopped,
            _ = tick.tick() => {
                view.draw(moment());
                let quiet = meter.seen().last.unwrap_or(began).elapsed();
                if quiet > STALL_LIMIT {
                    break Verdict::Failed(format!("no byte was delivered for {} s", quiet.as_secs()));
                }
            }
        }
    };
    view.clear();
    verdict
}

fn verdict(ended: Result<Digests, String>) -> Verdict {
    match ended {
        Ok(Digests { sent, received }) if sent == received => Verdict::Verified(received),
        Ok(Digests { sent, received }) => Verdict::Wrong { sent, received },
        Err(why) => Verdict::Failed(why),
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end.into()).await,
        None => core::future::pending().await,
    }
}

impl Outcome {
    const fn nothing(verdict: Verdict) -> Self {
        let (time, longest_gap) = (Duration::ZERO, Duration::ZERO);
        Self { bytes: 0, time, longest_gap, verdict, links: Vec::new(), refused: 0 }
    }
}
