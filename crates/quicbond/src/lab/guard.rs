//! `quicbond __guard`: how the lab's children begin, so that none of them outlives the lab.
//!
//! The first process of a host waits for the lab's end and takes all others with it, because it is the first of their
//! process namespace. The others get a `/proc` that shows this namespace and become what they are to be.

use clap::Args;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

/// What shells say when a command cannot be started, and when there is none of that name.
const NOT_STARTED: u8 = 126;
const NOT_FOUND: u8 = 127;
/// How often a process without children looks for new ones: only the dead ones of others come to it.
const ROUND: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(crate) struct GuardArgs {
    /// Be the first process: wait for the end of the input
    #[arg(long)]
    first: bool,
    /// What to become
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// The first process of a place, whose standard input stays open as long as the lab lives.
pub(super) fn first() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["__guard", "--first"]).process_group(0);
    Ok(command)
}

/// A command that has become one of the lab's processes when it starts.
pub(super) fn guarded(program: &OsStr, args: &[OsString]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["__guard", "--"]).arg(program).args(args);
    Ok(command)
}

pub(crate) fn run(args: &GuardArgs) -> ExitCode {
    // The lab kills the whole namespace in any case; without this a little later.
    set_pdeathsig(Signal::SIGKILL).ok();
    if args.first {
        wait_for_the_end();
    }
    let Some((program, rest)) = args.command.split_first() else { return ExitCode::from(NOT_STARTED) };
    if let Err(e) = own_proc() {
        eprintln!("quicbond lab: cannot mount /proc: {e}");
        return ExitCode::from(NOT_STARTED);
    }
    let error = Command::new(program).args(rest).exec();
    eprintln!("quicbond lab: cannot start {}: {error}", program.display());
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED })
}

fn own_proc() -> io::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)?;
    Ok(())
}

fn wait_for_the_end() -> ! {
    std::thread::spawn(|| {
        // The lab never writes, so this returns at its end.
        io::stdin().lock().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    loop {
        // Orphans of the host come to its first process, which has to take note of their ends.
        if nix::sys::wait::wait().is_err() {
            sleep(ROUND);
        }
    }
}
