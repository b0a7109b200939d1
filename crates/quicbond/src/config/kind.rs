//! The kinds of value that a key can have: what they accept, how they read TOML and how they are written back.
//!
//! Knows one value at a time. What it stands for and what it has to agree with is the business of the sections.

mod net;
mod number;

pub(crate) use net::{Address, AnyNet, Interface, Ip, Net4, Net6};
pub(crate) use number::{Count, Lasting, Size};

use super::reader::nearest;
use crate::token::Token;
use core::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeValue;

/// A value in a file, with its place.
pub(crate) type Found<'a> = Spanned<DeValue<'a>>;

/// How one kind of value is read, checked and shown.
pub(crate) trait Kind {
    type Value;

    /// What may be written, as the end of "write ...".
    fn accepts(&self) -> String;

    fn read(&self, found: &Found<'_>) -> Result<Self::Value, Wrong>;

    /// The value in TOML; `None` if it is unset.
    fn show(&self, value: &Self::Value) -> Option<String>;

    /// A value in TOML for somebody who sees this kind for the first time.
    fn example(&self) -> String {
        String::new()
    }

    /// The answer to a value that is not of this kind.
    fn refuse(&self, found: &Found<'_>) -> Wrong {
        Wrong::new(found, format!("{} will not do; write {}", spelt(found.get_ref()), self.accepts()))
    }
}

/// A value that will not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) at: Range<usize>,
    /// What is wrong and what would be right.
    pub(crate) why: String,
}

impl Wrong {
    pub(crate) fn new(found: &Found<'_>, why: String) -> Self {
        Self { at: found.span(), why }
    }
}

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn accepts(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<bool, Wrong> {
        found.get_ref().as_bool().ok_or_else(|| self.refuse(found))
    }

    fn show(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

/// One of a few names.
#[derive(Clone, Debug)]
pub(crate) struct Choice(pub(crate) Vec<&'static str>);

impl Kind for Choice {
    type Value = &'static str;

    fn accepts(&self) -> String {
        let quoted: Vec<String> = self.0.iter().map(|name| format!("{name:?}")).collect();
        format!("one of {}", quoted.join(", "))
    }

    fn read(&self, found: &Found<'_>) -> Result<&'static str, Wrong> {
        let text = found.get_ref().as_str().ok_or_else(|| self.refuse(found))?;
        self.0.iter().copied().find(|name| *name == text).ok_or_else(|| {
            let mut wrong = self.refuse(found);
            if let Some(near) = nearest(text, &self.0) {
                wrong.why.push_str(&format!(" (did you mean {near:?}?)"));
            }
            wrong
        })
    }

    fn show(&self, value: &&'static str) -> Option<String> {
        Some(format!("{value:?}"))
    }
}

/// The path of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn accepts(&self) -> String {
        "a path in quotes".to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<PathBuf, Wrong> {
        let text = found.get_ref().as_str().filter(|text| !text.is_empty() && !text.contains('\0'));
        text.map(PathBuf::from).ok_or_else(|| self.refuse(found))
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(quoted(&value.to_string_lossy()))
    }

    fn example(&self) -> String {
        "\"/etc/quicbond/token\"".to_owned()
    }
}

/// A token, whose text no error repeats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenText;

impl Kind for TokenText {
    type Value = Token;

    fn accepts(&self) -> String {
        "the token that the server printed, in quotes".to_owned()
    }

    fn read(&self, found: &Found<'_>) -> Result<Token, Wrong> {
        let text = found.get_ref().as_str();
        let text = text.ok_or_else(|| Wrong::new(found, format!("write {}", self.accepts())))?;
        text.parse().map_err(|error| Wrong::new(found, format!("{error}")))
    }

    fn show(&self, value: &Token) -> Option<String> {
        Some(format!("{:?}", value.encoded()))
    }

    fn example(&self) -> String {
        "\"qb1...\"".to_owned()
    }
}

/// A list; a single value without brackets is a list of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<K> {
    pub(crate) of: K,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn accepts(&self) -> String {
        let of = self.of.accepts();
        let least = if self.min > 0 { format!("at least {}, ", self.min) } else { String::new() };
        format!("a list in brackets ({least}at most {}), each {of}", self.max)
    }

    fn read(&self, found: &Found<'_>) -> Result<Self::Value, Wrong> {
        let list = match found.get_ref() {
            DeValue::Array(list) => {
                list.iter().map(|one| self.of.read(one)).collect::<Result<Vec<_>, _>>()?
            }
            _ => vec![self.of.read(found)?],
        };
        if (self.min..=self.max).contains(&list.len()) {
            return Ok(list);
        }
        Err(Wrong::new(found, format!("a list of {} will not do; write {}", list.len(), self.accepts())))
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        let parts: Vec<String> = value.iter().filter_map(|one| self.of.show(one)).collect();
        Some(format!("[{}]", parts.join(", ")))
    }
}

/// A key that may be left out without a default taking its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Optional<K>(pub(crate) K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn accepts(&self) -> String {
        self.0.accepts()
    }

    fn read(&self, found: &Found<'_>) -> Result<Self::Value, Wrong> {
        self.0.read(found).map(Some)
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }

    fn example(&self) -> String {
        self.0.example()
    }
}

/// A value as its author sees it.
fn spelt(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

/// A text as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
