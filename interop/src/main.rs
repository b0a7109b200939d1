//! The interop matrix: peer, case, role, and how long it took. `interop/run` builds what it needs and starts it.

use clap::Parser;
use mpquic_interop::matrix::{Choice, run};
use mpquic_interop::table::{Cell, Outcome, remarks, text};
use mpquic_interop::{cases, h3};
use std::process::ExitCode;

/// Runs mpquic against other QUIC stacks and prints which cases pass, in which role of the peer, and how long they took.
#[derive(Parser)]
struct Arguments {
    /// Only this peer (may be given more than once).
    #[arg(long)]
    peer: Vec<String>,
    /// Only this case (may be given more than once).
    #[arg(long)]
    case: Vec<String>,
    /// Print one JSON array instead of tables.
    #[arg(long)]
    json: bool,
    /// Print the cases and what they are about.
    #[arg(long)]
    list: bool,
    /// Print what was noted about each cell below its table.
    #[arg(long)]
    remarks: bool,
    /// Leave out the peers that are linked into this program.
    #[arg(long)]
    only_h3: bool,
    #[command(flatten)]
    h3: h3::Tools,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        cases::ALL.iter().for_each(|case| println!("{:<14}{}", case.name, case.about));
        h3::CASES.iter().for_each(|case| println!("{:<14}{}", case.name, case.about));
        return ExitCode::SUCCESS;
    }
    // A panic ends one cell; where it was is worth a line, and how one got there is not.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let choice = Choice { peers: arguments.peer, cases: arguments.case };
    let quic = if arguments.only_h3 { Vec::new() } else { run(&choice, tell) };
    let h3 = h3::run(&arguments.h3, &choice, tell);
    if arguments.json {
        let all: Vec<&Cell> = quic.iter().chain(&h3).collect();
        match serde_json::to_string_pretty(&all) {
            Ok(json) => println!("{json}"),
            Err(error) => {
                eprintln!("the cells cannot be written as JSON: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        for (title, cells) in [("QUIC", &quic), ("HTTP/3", &h3)] {
            if !cells.is_empty() {
                print!("\n{}", text(title, cells));
                if arguments.remarks {
                    print!("{}", remarks(cells));
                }
            }
        }
    }
    let red = quic.iter().chain(&h3).filter(|cell| cell.is_red()).count();
    let green = quic.iter().chain(&h3).filter(|cell| matches!(cell.outcome, Outcome::Passed { .. })).count();
    let open = quic.iter().chain(&h3).filter(|cell| matches!(cell.outcome, Outcome::Open { .. })).count();
    eprintln!("{green} cells passed, {red} failed, {open} are known to fail and open");
    if red == 0 && green > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line for each cell as soon as it is done.
fn tell(cell: &Cell) {
    let Cell { case, peer, role, outcome } = cell;
    match outcome {
        Outcome::Passed { milliseconds, remark } => {
            eprintln!(
                "{peer} as {role}: {case}: passed in {milliseconds} ms{}{remark}",
                if remark.is_empty() { "" } else { "; " }
            );
        }
        Outcome::Failed { milliseconds, why } => {
            eprintln!("{peer} as {role}: {case}: FAILED after {milliseconds} ms: {why}");
        }
        Outcome::Lacks { .. } | Outcome::Open { .. } | Outcome::Skipped { .. } => {}
    }
}
