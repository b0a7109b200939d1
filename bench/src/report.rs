//! Medians, as a table for people and as one line of JSON for machines.

use crate::host;
use crate::stack::{Kind, Stack};
use crate::tests::{Better, Figure, Measured, Test};
use core::fmt;
use serde_json::{Map, Value, json};

#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// Load averages over one minute, before and after.
    load: [f64; 2],
}

/// All rounds of one test with one stack.
#[derive(Debug)]
struct Row {
    test: &'static Test,
    stack: &'static Stack,
    rounds: Vec<Measured>,
    failures: Vec<String>,
}

impl Row {
    /// Not a number if nothing was measured.
    fn median(&self, figure: &Figure) -> f64 {
        median(self.rounds.iter().filter_map(|round| round.get(figure.key).copied()).collect())
    }
}

impl Report {
    pub(crate) fn begin() -> Self {
        Self { rows: Vec::new(), load: [host::load(); 2] }
    }

    pub(crate) fn end(&mut self) {
        self.load[1] = host::load();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.rounds.is_empty())
    }

    pub(crate) fn add(&mut self, test: &'static Test, stack: &'static Stack, measured: Measured) {
        self.row(test, stack).rounds.push(measured);
    }

    pub(crate) fn failed(&mut self, test: &'static Test, stack: &'static Stack, why: String) {
        self.row(test, stack).failures.push(why);
    }

    pub(crate) fn failures(&mut self, test: &'static Test, stack: &'static Stack) -> usize {
        self.row(test, stack).failures.len()
    }

    fn row(&mut self, test: &'static Test, stack: &'static Stack) -> &mut Row {
        let known =
            self.rows.iter().position(|row| row.test.name == test.name && row.stack.name == stack.name);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row { test, stack, rounds: Vec::new(), failures: Vec::new() });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    /// Results, failures and the load, in this order of keys.
    pub(crate) fn json(&self) -> String {
        let result = |row: &Row| {
            let mut object = Map::new();
            object.insert("test".into(), row.test.name.into());
            object.insert("stack".into(), row.stack.name.into());
            for figure in row.test.figures {
                object.insert(figure.key.into(), rounded(row.median(figure)));
            }
            object.insert("rounds".into(), row.rounds.len().into());
            Value::Object(object)
        };
        let failure = |row: &Row| {
            let (failed, of) = (row.failures.len(), row.failures.len() + row.rounds.len());
            let why = row.failures.last();
            json!({ "test": row.test.name, "stack": row.stack.name, "failed": failed, "of": of, "error": why })
        };
        let measured = self.rows.iter().filter(|row| !row.rounds.is_empty());
        let failed = self.rows.iter().filter(|row| !row.failures.is_empty());
        json!({
            "results": measured.map(result).collect::<Vec<_>>(),
            "failures": failed.map(failure).collect::<Vec<_>>(),
            "load": self.load,
        })
        .to_string()
    }

    /// The best peer by one figure, and what it reached.
    fn best(rows: &[&Row], figure: &Figure) -> Option<(&'static str, f64)> {
        let peers = rows.iter().filter(|row| row.stack.kind == Kind::Peer && !row.rounds.is_empty());
        let values = peers.map(|row| (row.stack.name, row.median(figure)));
        match figure.better {
            Better::Higher => values.max_by(|a, b| a.1.total_cmp(&b.1)),
            Better::Lower => values.min_by(|a, b| a.1.total_cmp(&b.1)),
            Better::Neither => None,
        }
    }

    fn table(&self, f: &mut fmt::Formatter<'_>, test: &Test) -> fmt::Result {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.test.name == test.name).collect();
        let rounds = rows.iter().map(|row| row.rounds.len()).max().unwrap_or(0);
        writeln!(f, "\n{}: {}, median of {rounds}\n", test.name, test.about)?;
        let titles: Vec<&str> = test.figures.iter().map(|figure| figure.title).collect();
        writeln!(f, "| stack | {} |", titles.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(titles.len()))?;
        for row in &rows {
            line(f, row.stack.name, test, &|figure| {
                let value = row.median(figure);
                let failed = || if row.failures.is_empty() { "-" } else { "failed" }.to_owned();
                if value.is_nan() { failed() } else { format!("{value:.*}", figure.digits) }
            })?;
        }
        let ours = rows.iter().find(|row| row.stack.kind == Kind::Ours && !row.rounds.is_empty());
        let limit =
            rows.iter().find(|row| matches!(row.stack.kind, Kind::Limit { .. }) && !row.rounds.is_empty());
        let ratio = |figure: &Figure, to: f64| match (ours, figure.better) {
            (Some(row), Better::Higher | Better::Lower) => format!("{:.2}", row.median(figure) / to),
            _ => String::new(),
        };
        let best = |figure: &Figure| Self::best(&rows, figure);
        if ours.is_some() && best(&test.figures[0]).is_some() {
            line(f, "mpquic / best peer", test, &|figure| {
                best(figure).map_or(String::new(), |(name, to)| format!("{} ({name})", ratio(figure, to)))
            })?;
        }
        if let (Some(_), Some(limit)) = (ours, limit) {
            line(f, "mpquic / limit", test, &|figure| ratio(figure, limit.median(figure)))?;
        }
        for row in rows.iter().filter(|row| !row.failures.is_empty()) {
            let (failed, of) = (row.failures.len(), row.failures.len() + row.rounds.len());
            let why = row.failures.last().map_or("", String::as_str);
            writeln!(f, "\n{}: {failed} of {of} rounds failed: {why}", row.stack.name)?;
        }
        Ok(())
    }
}

fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    test: &Test,
    cell: &dyn Fn(&Figure) -> String,
) -> fmt::Result {
    let cells: Vec<String> = test.figures.iter().map(cell).collect();
    writeln!(f, "| {name} | {} |", cells.join(" | "))
}

impl fmt::Display for Report {
    /// One table per test: one line per stack, then ours against the best peer of each column and against the limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "load average {:.1} before, {:.1} after", self.load[0], self.load[1])?;
        let mut shown: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !shown.contains(&row.test.name) {
                shown.push(row.test.name);
                self.table(f, row.test)?;
            }
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Four digits behind the point: more is noise.
fn rounded(value: f64) -> Value {
    ((value * 1e4).round() / 1e4).into()
}

#[cfg(test)]
mod tests;
