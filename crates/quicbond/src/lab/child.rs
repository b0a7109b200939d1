//! The two ends of the tunnel as child processes: what they say is kept, and they end when asked to.

use crate::lock::lock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::place::Place;

/// What an error shows of what a process said last.
const LAST_LINES: usize = 12;
/// After this long, a process that was asked to end is killed.
const GRACE: Duration = Duration::from_secs(3);
const ROUND: Duration = Duration::from_millis(5);

pub(super) struct Daemon {
    name: &'static str,
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Log,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    last: VecDeque<String>,
    file: Option<File>,
}

impl Daemon {
    pub(super) fn start(
        name: &'static str,
        place: &Place,
        mut command: Command,
        logs: Option<&Path>,
    ) -> io::Result<Self> {
        // Its own group: a Ctrl-C is the command's and the lab's affair.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let log = Log::default();
        if let Some(folder) = logs {
            log.lock().file = Some(File::create(folder.join(format!("{name}.log")))?);
        }
        let mut child = place.spawn(command)?;
        let (tell, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            follow(stdout, log.clone(), Some(tell))?;
        }
        if let Some(stderr) = child.stderr.take() {
            follow(stderr, log.clone(), None)?;
        }
        Ok(Self { name, child, lines, log })
    }

    /// The first line on its standard output that `find` makes something of.
    pub(super) fn wait_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(found);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("did not say {what} within {} s", patience.as_secs())));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    // The other stream may have a word more.
                    sleep(ROUND * 4);
                    return Err(self.failure(&format!("ended ({status}) before it said {what}")));
                }
            }
        }
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// An error with the last words of the process.
    pub(super) fn failure(&self, what: &str) -> io::Error {
        let kept = self.log.lock();
        let last: String = kept.last.iter().map(|line| format!("\n  {line}")).collect();
        io::Error::other(format!(
            "`quicbond {}` {what}{}{last}",
            self.name,
            if last.is_empty() { "" } else { ":" }
        ))
    }

    /// Asks the process to end, and sees to it.
    pub(super) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.ended().is_some() {
            return;
        }
        signal(&self.child, Signal::SIGTERM);
        let deadline = Instant::now() + GRACE;
        while self.ended().is_none() {
            if Instant::now() >= deadline {
                self.child.kill().ok();
                self.child.wait().ok();
                return;
            }
            sleep(ROUND);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to a child that has not been waited for yet.
pub(super) fn signal(child: &Child, signal: Signal) {
    signal_to(child.id(), signal);
}

pub(super) fn signal_to(process: u32, signal: Signal) {
    if let Ok(id) = i32::try_from(process) {
        // It may have ended this moment.
        kill(Pid::from_raw(id), signal).ok();
    }
}

fn follow(
    stream: impl Read + Send + 'static,
    log: Log,
    tell: Option<mpsc::Sender<String>>,
) -> io::Result<()> {
    let read = move || {
        let mut lines = BufReader::new(stream);
        let mut bytes = Vec::new();
        while lines.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            log.keep(&line);
            if let Some(tell) = &tell {
                // Nobody listens once what was waited for has been said.
                tell.send(line).ok();
            }
        }
    };
    thread::Builder::new().name("log".into()).spawn(read)?;
    Ok(())
}

impl Log {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        lock(&self.0)
    }

    fn keep(&self, line: &str) {
        let mut kept = self.lock();
        if let Some(file) = &mut kept.file {
            // A full disk costs the log, not the measurement.
            writeln!(file, "{line}").ok();
        }
        if kept.last.len() == LAST_LINES {
            kept.last.pop_front();
        }
        kept.last.push_back(line.to_owned());
    }
}
