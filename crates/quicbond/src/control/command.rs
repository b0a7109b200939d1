//! `quicbond status`.

use super::view;
use super::{AskError, Request, Response, Status, ask};
use crate::cli::StatusArgs;
use crate::config::{CLIENT_CONTROL, SERVER_CONTROL};
use crate::output::Output;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;

const PERIOD: Duration = Duration::from_secs(1);
/// To the top left, and everything below away.
const REPAINT: &str = "\x1b[H\x1b[J";
const CLEAR: &str = "\x1b[2J";

pub(crate) fn run(args: &StatusArgs) -> ExitCode {
    let paths = args.control.clone().map_or_else(
        || vec![PathBuf::from(CLIENT_CONTROL), PathBuf::from(SERVER_CONTROL)],
        |path| vec![path],
    );
    if !args.watch {
        return once(&paths, args.json);
    }
    let repaint = !args.json && Output::Stdout.is_terminal();
    if repaint {
        Output::Stdout.write(CLEAR);
    }
    loop {
        let text = match all(&paths) {
            Ok(answers) => shown(&answers, args.json),
            // A daemon that restarts comes back.
            Err(why) if repaint => format!("{why}\n"),
            Err(why) => return failed(&why),
        };
        let lead = if repaint { REPAINT } else { "" };
        if !Output::Stdout.try_write(&format!("{lead}{text}")) {
            return ExitCode::SUCCESS;
        }
        sleep(PERIOD);
    }
}

fn once(paths: &[PathBuf], json: bool) -> ExitCode {
    match all(paths) {
        Ok(answers) => {
            Output::Stdout.write(&shown(&answers, json));
            ExitCode::SUCCESS
        }
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    Output::Stderr.write(&format!("error: {why}\n"));
    ExitCode::FAILURE
}

/// The status of every daemon that answers, or why none does.
fn all(paths: &[PathBuf]) -> Result<Vec<Status>, String> {
    let mut answers = Vec::new();
    let mut why = Vec::new();
    for path in paths {
        match ask(path, Request::Status) {
            Ok(Response::Status(status)) => answers.push(*status),
            Ok(Response::Failed { why: reason }) => why.push(format!("{}: {reason}", path.display())),
            Ok(Response::Done { .. }) => why.push(format!("{}: the answer is no status", path.display())),
            Err(AskError::NobodyThere) => {}
            Err(error) => why.push(format!("{}: {error}", path.display())),
        }
    }
    if !answers.is_empty() {
        return Ok(answers);
    }
    Err(if why.is_empty() { nobody(paths) } else { why.join("; ") })
}

fn nobody(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path: &PathBuf| Path::display(path).to_string()).collect();
    format!(
        "no quicbond is running here (nobody answers on {}); start one with `quicbond client up` or `quicbond \
         server run`, or name its socket with --control",
        names.join(" or ")
    )
}

fn shown(answers: &[Status], json: bool) -> String {
    if !json {
        return answers.iter().map(view::text).collect::<Vec<_>>().join("\n");
    }
    // Types without maps or non-UTF-8 text always have a JSON form.
    answers.iter().filter_map(|status| serde_json::to_string(status).ok()).map(|line| line + "\n").collect()
}
