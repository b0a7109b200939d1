//! A host of a test: a network and mount namespace that nobody else has a name for, held by a thread.
//!
//! Every program that is started in it dies with that thread, and the namespaces with the last of them.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv6Addr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Long enough for any loaded machine; no test waits for it unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const ROUND: Duration = Duration::from_millis(20);

type Job = Box<dyn FnOnce() + Send>;

pub(crate) struct Place(mpsc::Sender<Job>);

impl Place {
    pub(crate) fn new() -> Self {
        let (jobs, todo) = mpsc::channel::<Job>();
        thread::spawn(move || {
            settle();
            todo.into_iter().for_each(|job| job());
        });
        let place = Self(jobs);
        place.must("ip link set dev lo up");
        place
    }

    /// Runs something on a thread of its own in this place.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let (tell, told) = mpsc::channel();
        // Threads begin in the namespaces of the one that starts them.
        self.0.send(Box::new(move || tell.send(thread::spawn(work)).unwrap())).unwrap();
        told.recv().expect("the place is there")
    }

    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.spawn(work).join() {
            Ok(done) => done,
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    }

    /// Whoever connects to `port` from now on waits in its queue.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.run(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap())
    }

    /// Starts a program, which ends with the place at the latest.
    pub(crate) fn start(&self, words: &[&str]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quicbond"));
        command.args(["__guard", "--"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (tell, told) = mpsc::channel();
        // Not on a thread of its own: with the thread that started it the kernel takes the program.
        self.0.send(Box::new(move || tell.send(command.spawn()).unwrap())).unwrap();
        Program::new(told.recv().expect("the place is there").unwrap())
    }

    /// Runs a shell script to its end: exit code and what it said on both outputs.
    pub(crate) fn sh(&self, script: &str) -> (i32, String) {
        let mut program = self.start(&["timeout", "60", "sh", "-c", script]);
        let status = program.wait();
        (status.code().unwrap_or(-1), program.said())
    }

    /// As [`Self::sh`], for scripts that cannot fail.
    pub(crate) fn must(&self, script: &str) -> String {
        let (code, said) = self.sh(script);
        assert_eq!(code, 0, "{script}: {said}");
        said
    }

    /// `quicbond` with these words, to its end.
    pub(crate) fn quicbond(&self, words: &[&str]) -> (i32, String) {
        let mut program = self.daemon(words);
        let status = program.wait();
        (status.code().unwrap_or(-1), program.said())
    }

    /// `quicbond` with these words.
    pub(crate) fn daemon(&self, words: &[&str]) -> Program {
        self.start(&[&[env!("CARGO_BIN_EXE_quicbond")], words].concat())
    }
}

fn settle() {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let resolver = fs::canonicalize("/etc/resolv.conf").unwrap_or_else(|_| "/etc/resolv.conf".into());
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    // The old one shows the devices of another namespace.
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
    let ours = "nameserver 198.51.100.10\noptions timeout:1 attempts:1\n";
    if resolver.starts_with("/run") {
        fs::create_dir_all(resolver.parent().unwrap()).unwrap();
        fs::write(&resolver, ours).unwrap();
    } else {
        fs::write("/run/resolv.conf", ours).unwrap();
        mount(Some("/run/resolv.conf"), &resolver, none, MsFlags::MS_BIND, none).unwrap();
    }
}

/// A running program, and what it has said so far.
pub(crate) struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    fn new(mut child: Child) -> Self {
        let said = Arc::default();
        let readers = vec![
            follow(child.stdout.take().unwrap(), Arc::clone(&said)),
            follow(child.stderr.take().unwrap(), Arc::clone(&said)),
        ];
        Self { child, said, readers }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    pub(crate) fn wait_for(&mut self, what: &str) {
        let begun = Instant::now();
        while !self.said().contains(what) {
            let over = self.child.try_wait().unwrap();
            if over.is_some() {
                self.wait();
            }
            let in_vain = over.is_some() && !self.said().contains(what);
            assert!(!in_vain, "it ended ({over:?}) and never said {what:?}: {}", self.said());
            assert!(begun.elapsed() < PATIENCE, "it did not say {what:?}: {}", self.said());
            sleep(ROUND);
        }
    }

    /// Its end, and all that it said.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE * 3, "it does not end: {}", self.said());
            sleep(ROUND / 4);
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().try_into().unwrap()), signal).unwrap();
    }

    /// Sends the signal and waits for the end.
    pub(crate) fn end_by(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn follow(stream: impl Read + Send + 'static, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut bytes = Vec::new();
        while lines.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes));
            bytes.clear();
        }
    })
}
