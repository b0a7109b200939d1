//! A host of the lab: a thread in network and mount namespaces of its own, which nobody else has a name for.
//!
//! Whatever is run in a place runs on its thread, and children that are started there live in its namespaces. The
//! namespaces end with the thread and the children. Knows nothing of links or addresses.

use super::guard;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::Builder;

/// What a place's processes may write to without leaving a trace: a file system in memory, its own in each place.
pub(super) const ROOM: &str = "/run/quicbond-lab";

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(super) struct Place {
    name: &'static str,
    /// By which `ip` finds the namespace while the thread lives.
    pub(super) thread: i32,
    jobs: mpsc::Sender<Job>,
    /// Its end of input is how the first process of the place learns that the lab is gone.
    init: Option<Child>,
}

impl Place {
    /// Makes a host with nothing but a loopback device, in which `hosts` and `resolver` stand for the files of `/etc`.
    pub(super) fn make(name: &'static str, hosts: &str, resolver: &str) -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (tell, made) = mpsc::channel();
        let (hosts, resolver) = (hosts.to_owned(), resolver.to_owned());
        Builder::new().name(name.to_owned()).spawn(move || {
            let settled = settle(&hosts, &resolver);
            let failed = settled.is_err();
            tell.send(settled.map(|()| nix::unistd::gettid().as_raw())).ok();
            if !failed {
                todo.into_iter().for_each(|job| job());
            }
        })?;
        let thread = made.recv().map_err(|_| gone(name))?;
        let thread =
            thread.map_err(|e| io::Error::new(e.kind(), format!("cannot make the host {name}: {e}")))?;
        Ok(Self { name, thread, jobs, init: None })
    }

    /// Runs something on this host and waits for what comes out.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (tell, done) = mpsc::channel();
        let job = Box::new(move || {
            // The receiver waits just below.
            tell.send(work()).ok();
        });
        self.jobs.send(job).map_err(|_| gone(self.name))?;
        done.recv().map_err(|_| gone(self.name))
    }

    /// Gives the host processes of its own: from here on, all that it starts dies with the first of them, and that one
    /// dies with the lab. No thread can be started on this host any more.
    pub(super) fn isolate_processes(&mut self) -> io::Result<()> {
        let init = self.run(|| {
            unshare(CloneFlags::CLONE_NEWPID)?;
            guard::first()?.stdin(Stdio::piped()).spawn()
        })??;
        self.init = Some(init);
        Ok(())
    }

    pub(super) fn spawn(&self, mut command: Command) -> io::Result<Child> {
        self.run(move || command.spawn())?
    }

    /// Runs `ip` with one command per line.
    pub(super) fn ip(&self, lines: &[String]) -> io::Result<()> {
        let script = lines.join("\n");
        self.run(move || ip(&script))?
    }

    /// Sets kernel settings below `/proc/sys/net`.
    pub(super) fn set(&self, settings: Vec<(String, &'static str)>) -> io::Result<()> {
        self.run(move || {
            settings.iter().try_for_each(|(key, value)| {
                let path = Path::new("/proc/sys/net").join(key);
                fs::write(&path, value).map_err(|e| at(&path, &e))
            })
        })?
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut init) = self.init.take() {
            // It may have gone already; and it takes all other processes of the place with it.
            init.kill().ok();
            init.wait().ok();
        }
    }
}

/// Moves the calling thread into namespaces of its own and furnishes them.
fn settle(hosts: &str, resolver: &str) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let names = [real("/etc/hosts"), real("/etc/resolv.conf")];
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755"))?;
    // The old one shows the devices of another namespace.
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none)?;
    fs::create_dir_all(ROOM)?;
    for (path, content) in names.iter().zip([hosts, resolver]) {
        if path.starts_with("/run") {
            // systemd keeps the file there, and our own /run has taken its place.
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            fs::write(path, content)?;
        } else {
            let ours = Path::new(ROOM).join(path.file_name().unwrap_or_default());
            fs::write(&ours, content)?;
            mount(Some(&ours), path, none, MsFlags::MS_BIND, none)
                .map_err(|e| at(path, &io::Error::from(e)))?;
        }
    }
    ip("link set dev lo up")
}

fn real(path: &str) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path))
}

fn ip(script: &str) -> io::Result<()> {
    let cannot = |e: io::Error| io::Error::new(e.kind(), format!("cannot run `ip` (of iproute2): {e}"));
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).map_err(cannot)?;
    }
    let output = child.wait_with_output().map_err(cannot)?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(io::Error::other(format!("`ip` refused: {why}")))
}

fn at(path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

fn gone(name: &str) -> io::Error {
    io::Error::other(format!("the thread of the host {name} has ended"))
}
