//! Rounds: every test with every stack in turn, again and again, so that whatever else the machine does meets all alike.

use crate::report::Report;
use crate::role::{End, Job};
use crate::stack::Stack;
use crate::tests::{Measured, Test};
use crate::{Failure, Options, stacks};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Time that one gigabyte may take before the round counts as failed, and the least for any round.
const PATIENCE_PER_GB: Duration = Duration::from_secs(60);
const PATIENCE_MIN: Duration = Duration::from_secs(60);

pub(crate) fn run(tests: &[&'static Test], options: &Options, report: &mut Report) -> Result<(), Failure> {
    for name in &options.stacks {
        if !stacks::ALL.iter().any(|stack| stack.name == name) {
            return Err(format!("there is no stack {name:?}").into());
        }
    }
    let wanted = |stack: &&Stack| options.stacks.is_empty() || options.stacks.iter().any(|n| n == stack.name);
    for round in 1..=options.rounds {
        for test in tests {
            for stack in stacks::ALL.iter().filter(wanted) {
                let measured = play(test, stack, options.bytes).map_err(|failure| {
                    format!("{} with {}, round {round}: {failure}", test.name, stack.name)
                })?;
                let first = measured[test.figures[0].key];
                eprintln!(
                    "round {round}: {} {}: {first:.2} {}",
                    test.name, stack.name, test.figures[0].title
                );
                report.add(test, stack.name, measured);
            }
        }
    }
    Ok(())
}

/// One round: both ends, and what they measured together.
fn play(test: &Test, stack: &Stack, bytes: u64) -> Result<Measured, Failure> {
    let job =
        |end, server| Job { end, test: test.name.to_owned(), stack: stack.name.to_owned(), bytes, server };
    let patience = PATIENCE_MIN.max(PATIENCE_PER_GB.mul_f64(bytes as f64 / 1e9));
    let mut server = Process::start(&job(End::Server, None))?;
    let listening = server.line(patience)?;
    let mut client = Process::start(&job(End::Client, Some(listening)))?;
    let mut measured: Measured = serde_json::from_str(&client.line(patience)?)?;
    measured.extend(serde_json::from_str::<Measured>(&server.line(patience)?)?);
    for figure in test.figures {
        if !measured.contains_key(figure.key) {
            return Err(format!("nobody measured {}", figure.key).into());
        }
    }
    Ok(measured)
}

/// A child that dies with its handle.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn start(job: &Job) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["role", if job.end == End::Server { "server" } else { "client" }]);
        command.args(["--test", &job.test, "--stack", &job.stack, "--bytes", &job.bytes.to_string()]);
        command.args(job.server.iter().flat_map(|line| ["--server", line]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || forward(out, &sender));
        Ok(Self { child, lines })
    }

    fn line(&mut self, patience: Duration) -> Result<String, Failure> {
        self.lines.recv_timeout(patience).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("no answer within {patience:?}").into(),
            mpsc::RecvTimeoutError::Disconnected => "a process ended early; its reason is above".into(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended by itself, as a rule.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn forward(out: ChildStdout, lines: &mpsc::Sender<String>) {
    let mut out = BufReader::new(out.take(1 << 20));
    let mut line = String::new();
    while out.read_line(&mut line).is_ok_and(|n| n > 0) {
        if lines.send(line.trim_end().to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}
