//! The text form of links and cuts, as options take it.
//!
//! `[NAME=]RATE/DELAY[±DEVIATION][/LOSS]`, such as `lte=40mbit/35±8ms/0.5%` (`+-` does for `±`), several of them
//! with commas between; `LINK@FROM-TO`, such as `lte@3s-8s` or `1@300ms-2s`. Every error names the whole text,
//! the part that is wrong, and what would be right.

use super::NamedLink;
use crate::link::{LinkSpec, Loss, Schedule, Ways};
use core::fmt;
use mpquic_base::{Duration, Rate};

/// Further than anything on Earth; more is a slip of the pen.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A terabit per second.
const FASTEST_BITS: f64 = 1e12;

/// A text that is no link or cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    message: String,
}

/// A link that is dead from one time to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Index into the list of links.
    pub link: usize,
    pub from: Duration,
    pub to: Duration,
}

/// An instant at which something happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Index into the list of links.
    pub link: usize,
    pub at: Duration,
}

/// What is wrong with a part, before it is known which text it stands in.
type Part<T> = Result<T, String>;

impl LinkSpec {
    /// Reads `RATE/DELAY[±DEVIATION][/LOSS]`.
    ///
    /// # Errors
    /// Names the part that is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        link(text).map_err(|wrong| SpecError { message: format!("link {text:?}: {wrong}") })
    }
}

impl NamedLink {
    /// Reads links with commas between them. A link without a name is called by its letter: `a` is the first.
    ///
    /// # Errors
    /// Names the link and the part that is wrong, and what would be right.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, SpecError> {
        let mut links: Vec<Self> = Vec::new();
        for (i, part) in text.split(',').enumerate() {
            let part = part.trim();
            let wrong = |wrong: String| SpecError { message: format!("link {part:?}: {wrong}") };
            let (name, spec) = match part.split_once('=') {
                Some((name, spec)) => (checked_name(name).map_err(wrong)?, spec),
                None => (letter(i), part),
            };
            let spec = link(spec).map_err(wrong)?;
            if links.iter().any(|l| l.name == name) {
                return Err(wrong(format!("there is another link called {name:?}; give each its own name")));
            }
            links.push(Self { name, spec });
        }
        Ok(links)
    }
}

impl NamedLink {
    /// The index in `links` of the one called `name`, or of that number from 1.
    ///
    /// # Errors
    /// Names the links that there are.
    pub fn find(name: &str, links: &[Self]) -> Result<usize, SpecError> {
        find_link(name, links).map_err(|message| SpecError { message })
    }
}

impl Cut {
    /// Reads `LINK@FROM-TO`, where LINK is a number from 1 or the name of one of `links`.
    ///
    /// # Errors
    /// Names the part that is wrong and what would be right.
    pub fn parse(text: &str, links: &[NamedLink]) -> Result<Self, SpecError> {
        cut(text, links).map_err(|wrong| SpecError { message: format!("cut {text:?}: {wrong}") })
    }

    /// Adds this cut, in both directions.
    #[must_use]
    pub fn on(self, schedule: Schedule) -> Schedule {
        schedule.cut(self.link, Ways::Both, self.from, self.to)
    }
}

impl Moment {
    /// Reads `LINK@TIME`, where LINK is a number from 1 or the name of one of `links`.
    ///
    /// # Errors
    /// Names the part that is wrong and what would be right.
    pub fn parse(text: &str, links: &[NamedLink]) -> Result<Self, SpecError> {
        let read = || {
            let (name, at) = text.split_once('@').ok_or("there is no @; write LINK@TIME, such as lte@3s")?;
            Ok(Self { link: find_link(name.trim(), links)?, at: parse_time(at.trim())? })
        };
        read().map_err(|wrong: String| SpecError { message: format!("moment {text:?}: {wrong}") })
    }
}

fn link(text: &str) -> Part<LinkSpec> {
    const SHAPE: &str = "write RATE/DELAY or RATE/DELAY/LOSS, such as 50mbit/20ms or 50mbit/40ms/0.5%";
    let mut parts = text.split('/').map(str::trim);
    let rate =
        parts.next().filter(|p| !p.is_empty()).ok_or_else(|| format!("the rate is missing; {SHAPE}"))?;
    let rate = parse_rate(rate)?;
    let delay =
        parts.next().filter(|p| !p.is_empty()).ok_or_else(|| format!("the delay is missing; {SHAPE}"))?;
    let (delay, deviation) = parse_delay(delay)?;
    let loss = parts.next().map_or(Ok(Loss::None), parse_loss)?;
    if let Some(more) = parts.next() {
        return Err(format!("{more:?} is one part too many; {SHAPE}"));
    }
    Ok(LinkSpec::new(rate, delay).jitter(deviation).loss(loss))
}

fn cut(text: &str, links: &[NamedLink]) -> Part<Cut> {
    const SHAPE: &str = "write LINK@FROM-TO, such as 1@3s-8s";
    let (name, times) = text.split_once('@').ok_or_else(|| format!("there is no @; {SHAPE}"))?;
    let (from, to) = times.split_once('-').ok_or_else(|| format!("{times:?} is no span of time; {SHAPE}"))?;
    let link = find_link(name.trim(), links)?;
    let (from, to) = (parse_time(from.trim())?, parse_time(to.trim())?);
    if from >= to {
        return Err(format!("{times:?} ends before it begins; write the earlier time first, such as 3s-8s"));
    }
    Ok(Cut { link, from, to })
}

fn find_link(name: &str, links: &[NamedLink]) -> Part<usize> {
    let by_number = name.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|&i| i < links.len());
    by_number.or_else(|| links.iter().position(|l| l.name == name)).ok_or_else(|| {
        let names: Vec<&str> = links.iter().map(|l| l.name.as_str()).collect();
        format!(
            "{name:?} is no link; write a number from 1 to {} or one of {}",
            links.len(),
            names.join(", ")
        )
    })
}

fn parse_rate(text: &str) -> Part<Rate> {
    let wrong = || format!("{text:?} is no rate; write a number and kbit, mbit or gbit, such as 50mbit");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(wrong()),
    };
    let bits = (number * scale).round();
    // Eight bits per second are the least that is not "no limit".
    if !(8.0..=FASTEST_BITS).contains(&bits) {
        return Err(format!("{text:?} is out of range; a rate is above 0 and at most 1000gbit"));
    }
    Ok(Rate::from_bits_per_second(bits as u64))
}

/// `35ms`, `35±8ms` or `35ms±8ms`: the delay and its deviation.
fn parse_delay(text: &str) -> Part<(Duration, Duration)> {
    let (delay, deviation) = match text.split_once('±').or_else(|| text.split_once("+-")) {
        None => (text.to_owned(), None),
        Some((delay, deviation)) => {
            let unit = number_and_unit(deviation).map_or("", |(_, unit)| unit);
            let has_unit = number_and_unit(delay).is_none_or(|(_, unit)| !unit.is_empty());
            (if has_unit { delay.to_owned() } else { format!("{delay}{unit}") }, Some(deviation))
        }
    };
    let read = |part: &str| {
        let time = parse_time(part).map_err(|_| {
            format!("{text:?} is no delay; write a number and ms or s, such as 20ms or 35±8ms")
        })?;
        if time > LONGEST_DELAY {
            return Err(format!("{text:?} is out of range; a delay is at most 60s"));
        }
        Ok(time)
    };
    Ok((read(&delay)?, deviation.map_or(Ok(Duration::ZERO), read)?))
}

fn parse_time(text: &str) -> Part<Duration> {
    let wrong = || format!("{text:?} is no time; write a number and ms or s, such as 300ms or 3s");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let scale = match unit {
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_nanos((number * scale).round() as u64))
}

fn parse_loss(text: &str) -> Part<Loss> {
    let wrong = || format!("{text:?} is no loss; write a number from 0 to 100 and %, such as 0.5%");
    match number_and_unit(text) {
        Some((percent, "%")) if (0.0..=100.0).contains(&percent) => {
            Ok(if percent == 0.0 { Loss::None } else { Loss::Bernoulli(percent / 100.0) })
        }
        _ => Err(wrong()),
    }
}

/// Splits `12.5ms` into 12.5 and `ms`. Digits and one point only: no sign, no exponent.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

fn checked_name(name: &str) -> Part<String> {
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if letters && begins {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{name:?} is no name; write letters, digits, - and _, with a letter first, such as lte=40mbit/35ms"
    ))
}

fn letter(index: usize) -> String {
    let letter = u8::try_from(index).ok().filter(|&i| i < 26).map(|i| char::from(b'a' + i));
    letter.map_or_else(|| format!("link{}", index + 1), String::from)
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for SpecError {}
