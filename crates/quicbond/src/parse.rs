//! The values of options, as clap asks for them. Every error says what would be right; clap adds the option and
//! the value.

use crate::cli::Links;
use core::time::Duration;
use mpquic::Fingerprint;
use mpquic::policy::Entry;
use mpquic::policy::cc::{self, Controller};
use mpquic::policy::sched::{self, Scheduler};
use mpquic_sim::profile::{NamedLink, Profile};

/// A connection has at most this many paths.
pub(crate) const MAX_LINKS: usize = 16;
/// More than anyone waits for.
const MAX_SIZE: f64 = 1e12;
/// Longer than anything here lives.
const MAX_SECONDS: f64 = 86_400.0 * 365.0;

/// `500kB`, `200MB`, `1.5GB`, `64MiB`, `1000B` or `1000`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "write a number and B, kB, MB, GB, KiB, MiB or GiB, such as 200MB".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let unit = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let bytes = (number * unit).round();
    if !(1.0..=MAX_SIZE).contains(&bytes) {
        return Err("a size is at least 1B and at most 1000GB".to_owned());
    }
    Ok(bytes as u64)
}

/// `300ms`, `10s`, `1.5m`, `2h` or `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and ms, s, m, h or d, such as 10s".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let unit = match text[end..].trim() {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let seconds = number * unit;
    if seconds > MAX_SECONDS {
        return Err("a time is at most 365d".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// What `quicbond perf server` prints.
pub(crate) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|_| "write the 64 hexadecimal digits that the server printed".to_owned())
}

pub(crate) fn links(text: &str) -> Result<Links, String> {
    let links = NamedLink::parse_list(text).map_err(|e| e.to_string())?;
    if links.len() > MAX_LINKS {
        return Err(format!("these are {} links; write at most {MAX_LINKS}", links.len()));
    }
    Ok(Links(links))
}

pub(crate) fn profile(name: &str) -> Result<Profile, String> {
    let known = || Profile::all().iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    Profile::find(name).ok_or_else(|| format!("there is no such profile; write one of {}", known()))
}

pub(crate) fn scheduler(name: &str) -> Result<&'static Entry<dyn Scheduler>, String> {
    entry("scheduler", sched::ALL, name)
}

pub(crate) fn controller(name: &str) -> Result<&'static Entry<dyn Controller>, String> {
    entry("congestion controller", cc::ALL, name)
}

fn entry<T: ?Sized>(kind: &str, all: &[&'static Entry<T>], name: &str) -> Result<&'static Entry<T>, String> {
    let found = all.iter().find(|entry| entry.name == name).copied();
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|entry| entry.name).collect();
        format!("there is no such {kind}; write one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests;
