//! Rounds: every test with every stack in turn, again and again, so that whatever else the machine does meets all alike.
//! A round that fails is told to the report, and the others go on.

use crate::apart::Executables;
use crate::report::Report;
use crate::role::{End, FAILED, Job};
use crate::stack::Stack;
use crate::tests::{Measured, Test};
use crate::{Failure, Options, host, stacks};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// A round that takes longer has failed. The slowest that is still of interest: 0.2 Gbit/s, 200 handshakes a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// A stack that failed a test so often is not asked again.
const FAILURES_MAX: usize = 2;

pub(crate) fn run(
    tests: &[&'static Test],
    options: &Options,
    executables: &Executables,
    report: &mut Report,
) {
    let wanted = |stack: &&Stack| options.want(stack);
    for round in 1..=options.rounds {
        for test in tests {
            for stack in stacks::ALL.iter().filter(wanted).filter(|stack| stack.takes_part_in(test.name)) {
                if report.failures(test, stack) >= FAILURES_MAX {
                    continue;
                }
                let head = format!("round {round} of {}: {} {}", options.rounds, test.name, stack.name);
                match attempt(test, stack, options, executables.of(stack)) {
                    Ok(measured) => {
                        let figure = &test.figures[0];
                        let (value, digits) = (measured[figure.key], figure.digits);
                        let load = host::load();
                        eprintln!("{head}: {value:.digits$} {} (load {load:.1})", figure.title);
                        report.add(test, stack, measured);
                    }
                    Err(failure) => {
                        eprintln!("{head}: failed: {failure}");
                        report.failed(test, stack, failure.to_string());
                    }
                }
            }
        }
    }
}

fn attempt(test: &Test, stack: &Stack, options: &Options, player: &Path) -> Result<Measured, Failure> {
    let amount = (test.amount)(options);
    let played = play(test, stack, amount, player);
    match (played, test.second_try) {
        (Err(failure), Some(part)) => {
            eprintln!("{} {}: failed: {failure}; trying {}", test.name, stack.name, amount / part);
            play(test, stack, amount / part, player)
        }
        (played, _) => played,
    }
}

/// One round: both ends, and what they measured together.
fn play(test: &Test, stack: &Stack, amount: u64, player: &Path) -> Result<Measured, Failure> {
    let job =
        |end, server| Job { end, test: test.name.to_owned(), stack: stack.name.to_owned(), amount, server };
    let ends = Ends::new(player);
    let mut server = ends.start(&job(End::Server, None))?;
    let (_, listening) = ends.line()?;
    let mut client = ends.start(&job(End::Client, Some(listening)))?;
    let mut measured = Measured::new();
    for _ in [&mut server, &mut client] {
        let (end, line) = ends.line()?;
        measured.extend(
            serde_json::from_str::<Measured>(&line)
                .map_err(|_| format!("the {} printed {line:?}", end.name()))?,
        );
    }
    match test.figures.iter().find(|figure| !measured.contains_key(figure.key)) {
        Some(figure) => Err(format!("nobody measured {}", figure.key).into()),
        None => Ok(measured),
    }
}

/// The two processes of a round, and whatever either prints.
struct Ends<'a> {
    /// The executable of both.
    player: &'a Path,
    deadline: Instant,
    said: mpsc::Sender<(End, Option<String>)>,
    heard: mpsc::Receiver<(End, Option<String>)>,
}

impl<'a> Ends<'a> {
    fn new(player: &'a Path) -> Self {
        let (said, heard) = mpsc::channel();
        Self { player, deadline: Instant::now() + PATIENCE, said, heard }
    }

    fn start(&self, job: &Job) -> Result<Process, Failure> {
        let mut command = Command::new(self.player);
        command.args(["role", job.end.name()]);
        command.args(["--test", &job.test, "--stack", &job.stack, "--amount", &job.amount.to_string()]);
        command.args(job.server.iter().flat_map(|line| ["--server", line]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child =
            child.map_err(|error| format!("{} does not start: {error}", self.player.display()))?;
        let out = child.stdout.take().ok_or("no output")?;
        let (end, said) = (job.end, self.said.clone());
        thread::spawn(move || forward(out, end, &said));
        Ok(Process { child })
    }

    /// The next line of either end. An end that failed or ended silently fails the round at once.
    fn line(&self) -> Result<(End, String), Failure> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok((end, Some(line))) => match line.strip_prefix(FAILED) {
                    Some(why) => return Err(format!("{}: {why}", end.name()).into()),
                    None if line == ENDED => {}
                    None => return Ok((end, line)),
                },
                Ok((end, None)) => return Err(format!("the {} died", end.name()).into()),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(format!("not done after {} s", PATIENCE.as_secs()).into());
                }
            }
        }
    }
}

/// Says that an end has closed its output after a result.
const ENDED: &str = "ended";

fn forward(out: ChildStdout, end: End, said: &mpsc::Sender<(End, Option<String>)>) {
    let mut out = BufReader::new(out.take(1 << 20));
    let (mut line, mut result) = (String::new(), false);
    while out.read_line(&mut line).is_ok_and(|n| n > 0) {
        result = line.starts_with('{') || line.starts_with(FAILED);
        if said.send((end, Some(line.trim_end().to_owned()))).is_err() {
            return;
        }
        line.clear();
    }
    // Nobody listens any more if the round is over.
    said.send((end, result.then(|| ENDED.to_owned()))).ok();
}

/// A child that dies with its handle.
struct Process {
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended by itself, as a rule.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
