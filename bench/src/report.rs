//! Medians, as a table for people and as one line of JSON for machines.

use crate::stacks;
use crate::tests::{Measured, Test};
use core::fmt;
use serde_json::{Map, Value, json};

#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// All rounds of one test with one stack.
#[derive(Debug)]
struct Row {
    test: &'static Test,
    stack: &'static str,
    rounds: Vec<Measured>,
}

impl Row {
    fn median(&self, key: &str) -> f64 {
        median(self.rounds.iter().filter_map(|round| round.get(key).copied()).collect())
    }
}

impl Report {
    pub(crate) fn add(&mut self, test: &'static Test, stack: &'static str, measured: Measured) {
        let found = self.rows.iter_mut().find(|row| row.test.name == test.name && row.stack == stack);
        match found {
            Some(row) => row.rounds.push(measured),
            None => self.rows.push(Row { test, stack, rounds: vec![measured] }),
        }
    }

    pub(crate) fn json(&self) -> String {
        let result = |row: &Row| {
            let mut object = Map::new();
            object.insert("test".into(), row.test.name.into());
            object.insert("stack".into(), row.stack.into());
            for figure in row.test.figures {
                object.insert(figure.key.into(), rounded(row.median(figure.key)));
            }
            Value::Object(object)
        };
        json!({ "results": self.rows.iter().map(result).collect::<Vec<_>>() }).to_string()
    }
}

impl fmt::Display for Report {
    /// One table per test, one line per stack, then ours divided by each of the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tests: Vec<&'static Test> = Vec::new();
        for row in &self.rows {
            if !tests.iter().any(|test| test.name == row.test.name) {
                tests.push(row.test);
            }
        }
        for test in tests {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.test.name == test.name).collect();
            writeln!(f, "\n{}: {}, median of {}\n", test.name, test.about, rows[0].rounds.len())?;
            let titles: Vec<&str> = test.figures.iter().map(|figure| figure.title).collect();
            writeln!(f, "| stack | {} |", titles.join(" | "))?;
            writeln!(f, "|---|{}", "---|".repeat(titles.len()))?;
            let line = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn Fn(&str) -> f64| {
                let values = test.figures.iter().map(|figure| format!("{:.2}", value(figure.key)));
                writeln!(f, "| {name} | {} |", values.collect::<Vec<_>>().join(" | "))
            };
            for row in &rows {
                line(f, row.stack, &|key| row.median(key))?;
            }
            let (ours, others): (Vec<_>, Vec<_>) =
                rows.into_iter().partition(|row| row.stack == stacks::ALL[0].name);
            for (ours, other) in ours.iter().flat_map(|ours| others.iter().map(move |other| (ours, other))) {
                let name = format!("{} / {}", ours.stack, other.stack);
                line(f, &name, &|key| ours.median(key) / other.median(key))?;
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
#[test]
fn medians_of_odd_and_even_counts() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
}
