//! Network namespaces for tests: each is a thread of its own, and gone with it.

use std::fs;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::{Builder, Runtime};

type Job = Box<dyn FnOnce(&Runtime) + Send>;

/// A thread in a network and a mount namespace of its own, with a runtime of its own.
pub(super) struct Namespace {
    jobs: mpsc::Sender<Job>,
    pub(super) thread_id: i32,
}

/// The answer of a job that runs.
pub(super) struct Answer<T>(mpsc::Receiver<thread::Result<T>>);

impl<T> Answer<T> {
    pub(super) fn wait(self) -> T {
        self.0.recv().expect("the namespace's thread ended").unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Namespace {
    /// `None`, and a word of it, where namespaces cannot be made.
    pub(super) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (tell, entered) = mpsc::channel();
        thread::spawn(move || {
            let result = enter();
            let failed = result.is_err();
            tell.send(result.map(|()| nix::unistd::gettid().as_raw())).unwrap();
            if failed {
                return;
            }
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            for job in inbox {
                job(&runtime);
            }
        });
        match entered.recv().unwrap() {
            Ok(thread_id) => Some(Self { jobs, thread_id }),
            Err(errno) => {
                println!("skipped: namespaces cannot be made here: {errno}");
                None
            }
        }
    }

    /// Starts a job on the namespace's thread, after those that were started before.
    pub(super) fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Runtime) -> T + Send + 'static,
    ) -> Answer<T> {
        let (tell, answer) = mpsc::channel();
        let job = Box::new(move |runtime: &Runtime| {
            let result = catch_unwind(AssertUnwindSafe(|| job(runtime)));
            // Nobody may be waiting any more: the other side of the test has failed.
            drop(tell.send(result));
        });
        self.jobs.send(job).unwrap();
        Answer(answer)
    }

    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce(&Runtime) -> T + Send + 'static) -> T {
        self.start(job).wait()
    }

    /// Waits for a datagram and answers it; tells who it came from and what it said, if one came.
    pub(super) fn hear(&self, address: &'static str, wait: Duration) -> Answer<Option<String>> {
        let (tell, bound) = mpsc::channel();
        let answer = self.start(move |_| {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_read_timeout(Some(wait)).unwrap();
            tell.send(()).unwrap();
            let mut buffer = [0; 64];
            let (length, from) = socket.recv_from(&mut buffer).ok()?;
            socket.send_to(b"answer", from).unwrap();
            Some(format!("{} {}", from.ip(), String::from_utf8_lossy(&buffer[..length])))
        });
        bound.recv().unwrap();
        answer
    }

    /// A pair of interfaces, one here and one in the other namespace.
    pub(super) fn connect(&self, here: &str, other: &Self, there: &str) {
        let (here, there, thread_id) = (here.to_owned(), there.to_owned(), other.thread_id);
        self.run(move |_| {
            shell(&format!("ip link add {here} type veth peer name {there} netns /proc/{thread_id}/ns/net"));
        });
    }
}

fn enter() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    // Addresses that nobody asked for, and waiting for somebody to object to an address, make tests slow and uneven.
    fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1").unwrap();
    fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
    shell("ip link set lo up");
    Ok(())
}

/// Runs a script in the namespace of the calling thread; it has to succeed.
pub(super) fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {said}{complained}");
    said.into_owned()
}

/// Waits until every interface that is on has found its carrier; the kernel looks once a second.
pub(super) fn settle() {
    shell("n=0; while ip link | grep -q NO-CARRIER; do sleep 0.05; n=$((n + 1)); [ $n -lt 100 ]; done");
}

/// Everything about the network that quicbond could have changed, as text to compare.
pub(super) fn snapshot() -> String {
    let mut text = shell(
        "for what in addr link 'route show table all' '-6 route show table all' rule '-6 rule'; do
           echo \"== $what\"; ip -j $what | tr '}' '\\n'; echo
         done
         echo == nft; nft -j list ruleset",
    );
    for family in ["ipv4", "ipv6"] {
        let root = format!("/proc/sys/net/{family}/conf");
        let mut interfaces: Vec<_> =
            fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
        interfaces.sort();
        for interface in interfaces {
            let mut keys: Vec<_> =
                fs::read_dir(&interface).unwrap().map(|entry| entry.unwrap().path()).collect();
            keys.sort();
            for key in keys {
                // Some switches cannot be read before they are set.
                if let Ok(value) = fs::read_to_string(&key) {
                    text.push_str(&format!("{} = {value}", key.display()));
                }
            }
        }
    }
    text
}

/// Shows the lines that differ, not two pages of text.
pub(super) fn assert_same(before: &str, after: &str, when: &str) {
    let gone: Vec<_> = before.lines().filter(|line| !after.lines().any(|other| other == *line)).collect();
    let new: Vec<_> = after.lines().filter(|line| !before.lines().any(|other| other == *line)).collect();
    assert!(before == after, "{when}: the machine differs; gone: {gone:#?}; new: {new:#?}");
}

/// A folder of this test, removed with it.
pub(super) struct Folder(pub(super) std::path::PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("quicbond-host-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
