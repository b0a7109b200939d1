//! Cells, and how they are printed.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What came of one case with one peer in one role.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub case: &'static str,
    pub peer: String,
    /// What the peer was: "client" or "server".
    pub role: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Passed {
        milliseconds: u64,
        #[serde(skip_serializing_if = "String::is_empty")]
        remark: String,
    },
    Failed {
        milliseconds: u64,
        why: String,
    },
    /// The peer cannot do that.
    Lacks {
        why: String,
    },
    /// It fails, and whose fault that is has not been found out: left out so that the others count, and not to be taken for
    /// something that the peer cannot do.
    Open {
        why: String,
    },
    /// This machine cannot run it.
    Skipped {
        why: String,
    },
}

/// What a reason not to try a case begins with if the case is known to fail and nobody knows why.
const OPEN: &str = "open: ";

impl Outcome {
    /// Not tried, for a reason of the peer's list.
    #[must_use]
    pub fn not_tried(why: &str) -> Self {
        match why.strip_prefix(OPEN) {
            Some(why) => Self::Open { why: why.into() },
            None => Self::Lacks { why: why.into() },
        }
    }
}

impl Cell {
    #[must_use]
    pub const fn is_red(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }

    fn short(&self) -> String {
        match &self.outcome {
            Outcome::Passed { milliseconds, .. } if *milliseconds < 1_000 => format!("{milliseconds} ms"),
            Outcome::Passed { milliseconds, .. } => {
                format!("{}.{:02} s", milliseconds / 1_000, milliseconds % 1_000 / 10)
            }
            Outcome::Failed { .. } => "FAILED".into(),
            Outcome::Lacks { .. } => "-".into(),
            Outcome::Open { .. } => "OPEN".into(),
            Outcome::Skipped { .. } => "skipped".into(),
        }
    }

    /// Whose column it is.
    fn column(&self) -> (String, String) {
        (self.peer.clone(), self.role.clone())
    }

    fn name(&self) -> String {
        format!("{} as {}, {}", self.peer, self.role, self.case)
    }
}

/// The table with its notes, as text.
#[must_use]
pub fn text(title: &str, cells: &[Cell]) -> String {
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    for cell in cells {
        if !columns.contains(&cell.column()) {
            columns.push(cell.column());
        }
        if !rows.contains(&cell.case) {
            rows.push(cell.case);
        }
    }
    let shorts: Vec<Vec<String>> = rows.iter().map(|row| line(cells, row, &columns)).collect();
    let width = |i: usize| {
        let in_cells = shorts.iter().map(|line| line[i].len()).max().unwrap_or(0);
        in_cells.max(columns[i].0.len()).max(columns[i].1.len())
    };
    let first = rows.iter().map(|row| row.len()).max().unwrap_or(0).max(title.len());
    let mut out = String::new();
    let mut print = |name: &str, fields: Vec<&str>| {
        let fields: String =
            fields.iter().enumerate().map(|(i, field)| format!("  {field:>0$}", width(i))).collect();
        // Writing to a string cannot fail.
        writeln!(out, "{name:<first$}{fields}").ok();
    };
    print(title, columns.iter().map(|(peer, _)| peer.as_str()).collect());
    print("", columns.iter().map(|(_, role)| role.as_str()).collect());
    for (row, line) in rows.iter().zip(&shorts) {
        print(row, line.iter().map(String::as_str).collect());
    }
    out + &notes(cells)
}

/// What was noted about cells that passed, a line each.
#[must_use]
pub fn remarks(cells: &[Cell]) -> String {
    let noted = cells.iter().filter_map(|cell| match &cell.outcome {
        Outcome::Passed { remark, .. } if !remark.is_empty() => Some(format!("{}: {remark}\n", cell.name())),
        _ => None,
    });
    noted.collect()
}

fn line(cells: &[Cell], row: &str, columns: &[(String, String)]) -> Vec<String> {
    let find =
        |column: &(String, String)| cells.iter().find(|cell| cell.case == row && cell.column() == *column);
    columns.iter().map(|column| find(column).map_or_else(String::new, Cell::short)).collect()
}

/// Failures first, each alone; then what was not tried, by reason.
fn notes(cells: &[Cell]) -> String {
    let mut out = String::new();
    let mut reasons: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for cell in cells {
        match &cell.outcome {
            Outcome::Passed { .. } => {}
            Outcome::Failed { why, .. } => {
                writeln!(out, "FAILED {}: {why}", cell.name()).ok();
            }
            Outcome::Lacks { why } => {
                reasons.entry(("-", why)).or_default().push(cell.name());
            }
            Outcome::Open { why } => {
                reasons.entry(("OPEN", why)).or_default().push(cell.name());
            }
            Outcome::Skipped { why } => {
                reasons.entry(("skipped", why)).or_default().push(cell.name());
            }
        }
    }
    for ((sign, why), names) in reasons {
        writeln!(out, "{sign} {}: {why}", names.join("; ")).ok();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Cell, Outcome, text};

    fn cell(case: &'static str, role: &str, outcome: Outcome) -> Cell {
        Cell { case, peer: "peer".into(), role: role.into(), outcome }
    }

    fn passed(milliseconds: u64) -> Outcome {
        Outcome::Passed { milliseconds, remark: String::new() }
    }

    #[test]
    fn the_table_says_how_long_and_the_notes_say_why_not() {
        let cells = [
            cell("handshake", "client", passed(7)),
            cell("handshake", "server", passed(12_345)),
            cell("v2", "client", Outcome::Lacks { why: "it cannot".into() }),
            cell("v2", "server", Outcome::Failed { milliseconds: 1, why: "it broke".into() }),
        ];
        let expected = "\
            case         peer     peer\n           \
                       client   server\n\
            handshake    7 ms  12.34 s\n\
            v2              -   FAILED\n\
            FAILED peer as server, v2: it broke\n\
            - peer as client, v2: it cannot\n";
        assert_eq!(text("case", &cells), expected);
        assert_eq!(cells.iter().filter(|cell| cell.is_red()).count(), 1);
    }

    #[test]
    fn a_cell_is_one_flat_object_in_json() {
        let json = serde_json::to_string(&cell("v2", "client", passed(3))).unwrap();
        assert_eq!(
            json,
            r#"{"case":"v2","peer":"peer","role":"client","outcome":"passed","milliseconds":3}"#
        );
    }
}
