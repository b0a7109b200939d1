//! From a TOML text to a section, with every problem and the line it is on.
//!
//! Collects instead of stopping at the first problem: whoever mends a file wants to see them all at once.

use super::kind::{Kind, Wrong};
use super::section::{Chapter, Section};
use core::fmt;
use core::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Below this likeness a suggestion would only confuse (1 is equal).
const LIKENESS_MIN: f64 = 0.7;

/// What is wrong with a file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems {
    file: String,
    list: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// From 1; 0 is the file as a whole.
    line: usize,
    text: String,
}

impl Problems {
    /// One problem of the whole file.
    pub(crate) fn of_file(file: &str, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), list: vec![Problem { line: 0, text: text.into() }] }
    }

    /// One problem at the byte `offset` of `text`.
    pub(crate) fn at(file: &str, text: &str, offset: usize, problem: impl Into<String>) -> Self {
        let problem = Problem { line: line_of(text, offset), text: problem.into() };
        Self { file: file.to_owned(), list: vec![problem] }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { line, text }) in self.list.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            match line {
                0 => write!(f, "{end}{}: {text}", self.file)?,
                _ => write!(f, "{end}{}:{line}: {text}", self.file)?,
            }
        }
        Ok(())
    }
}

impl core::error::Error for Problems {}

/// Reads `text`, which errors call `file`.
pub(crate) fn read<S: Section>(text: &str, file: &str) -> Result<S, Problems> {
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Problems::at(file, text, at, format!("this is no TOML: {}", error.message().replace('\n', "; ")))
    })?;
    let mut reader = Reader { text, chapters: S::chapters(""), list: Vec::new() };
    let read = S::read(document.get_ref(), "", &mut reader);
    if reader.list.is_empty() {
        return Ok(read);
    }
    reader.list.sort();
    Err(Problems { file: file.to_owned(), list: reader.list })
}

/// Gives out values and keeps what was wrong with them.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    /// Everything that the file may hold, to say where a stranger belongs.
    chapters: Vec<Chapter>,
    list: Vec<Problem>,
}

impl Reader<'_> {
    pub(crate) fn value<K: Kind>(
        &mut self,
        table: &DeTable<'_>,
        section: &str,
        key: &str,
        kind: &K,
    ) -> Option<K::Value> {
        let value = table.get(key)?;
        match kind.read(value) {
            Ok(value) => Some(value),
            Err(Wrong { at, why }) => {
                self.note(at, format!("{}: {why}", full(section, key)));
                None
            }
        }
    }

    pub(crate) fn section<S: Section>(&mut self, table: &DeTable<'_>, name: &'static str) -> S {
        let Some(value) = table.get(name) else { return S::default() };
        if let DeValue::Table(inner) = value.get_ref() {
            return S::read(inner, name, self);
        }
        self.note(
            value.span(),
            format!("{name} is a section: write [{name}] on a line of its own, then its keys"),
        );
        S::default()
    }

    pub(crate) fn refuse_strangers(&mut self, table: &DeTable<'_>, section: &str, known: &[&str]) {
        let strangers: Vec<(String, Range<usize>)> = table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .map(|key: &Spanned<_>| (key.get_ref().to_string(), key.span()))
            .collect();
        for (name, span) in strangers {
            let advice = self.advice(section, &name, known);
            self.note(span, format!("there is no key {}{advice}", full(section, &name)));
        }
    }

    /// Where a key that does not exist may have been meant to be.
    fn advice(&self, section: &str, name: &str, known: &[&str]) -> String {
        let at_home =
            |chapter: &&Chapter| chapter.name != section && chapter.keys.iter().any(|k| k.name == name);
        if let Some(chapter) = self.chapters.iter().find(at_home) {
            return match chapter.name {
                "" => format!("; {name} belongs at the top of the file, before the first [section]"),
                home => format!("; {name} belongs to the section [{home}]"),
            };
        }
        match nearest(name, known) {
            Some(near) => format!("; did you mean {near}?"),
            None => format!("; here may stand: {}", known.join(", ")),
        }
    }

    fn note(&mut self, span: Range<usize>, text: String) {
        self.list.push(Problem { line: line_of(self.text, span.start), text });
    }
}

/// The likeliest of `known` for a name with a slip in it.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |other: &&str| strsim::jaro_winkler(&name.to_ascii_lowercase(), other);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= LIKENESS_MIN).then_some(best)
}

fn full(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}
