//! Two network namespaces with cables between them: one is the calling thread's, the other a thread's of its own. Both end
//! with their threads.

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, gettid};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// The other namespace.
pub(crate) struct Far {
    thread: i32,
    jobs: Sender<Job>,
}

/// Runs in the calling thread's namespace.
pub(crate) fn sh(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Plays `story` in a namespace with `links` cables: `wan0`, `wan1`... at 10.78.0.1, 10.78.1.1... lead to 10.78.0.2...
pub(crate) fn play(links: u8, story: impl FnOnce(Far) + Send + 'static) {
    if !Uid::effective().is_root() {
        println!("skipped: needs root");
        return;
    }
    let (jobs, work) = channel::<Job>();
    let (say, hear) = channel();
    let there = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        say.send(gettid().as_raw()).unwrap();
        work.into_iter().for_each(|job| job());
    });
    let here = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let far = Far { thread: hear.recv().unwrap(), jobs };
        (0..links).for_each(|link| far.lay(link));
        story(far);
    });
    let ended = here.join();
    there.join().unwrap();
    ended.unwrap();
}

impl Far {
    /// Does something in the other namespace.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.jobs.send(Box::new(move || drop(done.send(job())))).unwrap();
        result.recv().unwrap()
    }

    fn lay(&self, link: u8) {
        sh(&format!("ip link add wan{link} type veth peer name lan{link}"));
        sh(&format!("ip link set lan{link} netns {}", self.thread));
        sh(&format!("ip addr add 10.78.{link}.1/24 dev wan{link}"));
        sh(&format!("ip link set wan{link} up"));
        self.run(move || {
            sh(&format!("ip addr add 10.78.{link}.2/24 dev lan{link}"));
            sh(&format!("ip link set lan{link} up"));
        });
    }
}
