//! Runs the cells of the in-process peers, each on a thread of its own, so that a panic or a hang stays in its cell.

use crate::cases::{self, Case, Pair};
use crate::stack::{Failure, Role, Stack};
use crate::stacks::{ABSENT, PEERS, mpquic};
use crate::table::{Cell, Outcome};
use crate::trust::Trust;
use std::any::Any;
use std::time::{Duration, Instant};

/// A cell that takes longer has failed. The largest takes about a second on an idle machine.
const CELL_MAX: Duration = Duration::from_secs(60);

/// Which cells are wanted; empty lists mean all.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub peers: Vec<String>,
    pub cases: Vec<String>,
}

impl Choice {
    #[must_use]
    pub fn has_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == name)
    }

    #[must_use]
    pub fn has_case(&self, name: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == name)
    }
}

/// Runs one cell after the other and calls `done` after each.
pub fn run(choice: &Choice, mut done: impl FnMut(&Cell)) -> Vec<Cell> {
    let mut cells = Vec::new();
    for peer in PEERS.iter().filter(|peer| choice.has_peer(peer.name)) {
        for role in [Role::Server, Role::Client] {
            for case in cases::ALL.iter().filter(|case| choice.has_case(case.name)) {
                let cell = Cell {
                    case: case.name,
                    peer: peer.name.into(),
                    role: role.to_string(),
                    outcome: play(peer, role, case),
                };
                done(&cell);
                cells.push(cell);
            }
        }
    }
    cells.extend(absent(choice));
    cells
}

/// A cell for each role of a peer that this program was built without.
fn absent(choice: &Choice) -> impl Iterator<Item = Cell> + '_ {
    let names = ABSENT.iter().filter(|(name, _)| choice.has_peer(name));
    names.flat_map(|(name, why)| {
        [Role::Server, Role::Client].map(|role| Cell {
            case: cases::ALL[0].name,
            peer: (*name).into(),
            role: role.to_string(),
            outcome: Outcome::Skipped { why: (*why).into() },
        })
    })
}

fn play(peer: &'static Stack, role: Role, case: &'static Case) -> Outcome {
    let pair = Pair { ours: &mpquic::STACK, peer, peer_role: role, trust: Trust::default() };
    if let Some(why) = pair.lacks(case.want) {
        return Outcome::not_tried(why);
    }
    let start = Instant::now();
    let thread = std::thread::spawn(move || on_this_thread(&pair, case));
    let result = thread.join().unwrap_or_else(|panic| Err(reason(&*panic).into()));
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(remark) => Outcome::Passed { milliseconds, remark },
        Err(error) => Outcome::Failed { milliseconds, why: error.to_string() },
    }
}

fn on_this_thread(pair: &Pair, case: &Case) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let result = tasks.block_on(&runtime, async { tokio::time::timeout(CELL_MAX, (case.run)(pair)).await });
    result.unwrap_or_else(|_| Err(format!("it took longer than {} s", CELL_MAX.as_secs()).into()))
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").into()
}
