//! Programs as children: servers that say where they listen, clients that have to end in time. None outlives its value.

use crate::stack::Failure;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a server may take to end once it was asked to.
const STOP_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Characters of a client's complaint that are worth repeating.
const COMPLAINT_MAX: usize = 400;

/// A server, killed when dropped.
#[derive(Debug)]
pub(super) struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
    /// What it said before it was ready: where it listens, and what clients should trust.
    said: Vec<String>,
}

impl Serving {
    pub(super) fn start(mut command: Command) -> Result<Self, Failure> {
        let name = name(&command);
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut child = started.map_err(|error| format!("{name} cannot be started: {error}"))?;
        let out = BufReader::new(child.stdout.take().ok_or("a child without output")?);
        let mut serving = Self { child, out, said: Vec::new() };
        // Both servers say two lines: the address, and the key or the certificate.
        for _ in 0..2 {
            let mut line = String::new();
            if serving.out.read_line(&mut line)? == 0 {
                return Err(format!("{name} ended before it listened").into());
            }
            serving.said.push(line.trim_end().to_owned());
        }
        Ok(serving)
    }

    pub(super) fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.said("listening on ")?.parse()?)
    }

    /// The rest of the line that begins so.
    pub(super) fn said(&self, beginning: &str) -> Result<&str, Failure> {
        let found = self.said.iter().find_map(|line| line.strip_prefix(beginning));
        found.ok_or_else(|| format!("the server did not say {beginning:?}").into())
    }

    /// Asks it to end; the last line that it says and that begins like an object has to be one of JSON.
    pub(super) fn stop(mut self) -> Result<Value, Failure> {
        // The standard library knows no signal but SIGKILL.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !asked.success() {
            return Err("the server was gone before it was asked to end".into());
        }
        ended(&mut self.child, STOP_MAX).ok_or("the server does not end")?;
        let mut rest = String::new();
        self.out.read_to_string(&mut rest)?;
        let last = rest.lines().rfind(|line| line.starts_with('{'));
        let last = last.ok_or("the server did not tell its counters in the end")?;
        serde_json::from_str(last).map_err(|error| format!("{last:?} is no JSON: {error}").into())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// Runs a client to its end. What it says on its standard error is the reason if it fails.
pub(super) fn capture(mut command: Command, patience: Duration) -> Result<Output, Failure> {
    let name = name(&command);
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("{name} cannot be started: {error}"))?;
    let (stdout, stderr) = (drained(child.stdout.take()), drained(child.stderr.take()));
    let status = ended(&mut child, patience);
    kill(&mut child);
    let (stdout, stderr) = (collected(stdout), collected(stderr));
    let Some(status) = status else {
        return Err(format!("{name} took longer than {} s", patience.as_secs()).into());
    };
    if status.success() {
        return Ok(Output { status, stdout, stderr });
    }
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let from = said.char_indices().rev().nth(COMPLAINT_MAX).map_or(0, |(at, _)| at);
    Err(format!("{name}: {status}: {}", said[from..].trim()).into())
}

fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let program = words.map(|word| word.to_string_lossy()).find(|word| !word.ends_with("python3"));
    program.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or("a program").to_owned()
}

fn ended(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < patience {
        // A child that cannot be waited for has not ended.
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    None
}

fn kill(child: &mut Child) {
    // Both fail only for a child that has ended.
    child.kill().ok();
    child.wait().ok();
}

/// Reads a pipe on a thread, so that it cannot fill up.
fn drained(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // What was read until an error counts.
        pipe.map(|mut pipe| pipe.read_to_end(&mut all).ok());
        all
    })
}

fn collected(reader: JoinHandle<Vec<u8>>) -> Vec<u8> {
    reader.join().unwrap_or_default()
}
