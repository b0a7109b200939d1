//! Where the lines of `tracing` go: stderr, for people or as JSON.
//!
//! The environment variable `QUICBOND_LOG` wins over the configuration, so that one run can be looked at closely without
//! touching a file.

use crate::config::Log;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "QUICBOND_LOG";

/// Starts logging. To be called once, before anything worth a line happens.
pub(crate) fn start(log: &Log) -> Result<(), String> {
    let wish = std::env::var(VARIABLE).ok();
    let filter = filter(wish.as_deref(), log.level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if log.format == "json" {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    started.map_err(|error| format!("logging cannot start: {error}"))
}

fn filter(wish: Option<&str>, level: &str) -> Result<EnvFilter, String> {
    let Some(wish) = wish.filter(|wish| !wish.trim().is_empty()) else {
        return EnvFilter::try_new(level).map_err(|error| format!("log.level: {error}"));
    };
    EnvFilter::try_new(wish).map_err(|error| {
        format!(
            "{VARIABLE}={wish:?} will not do ({error}); write a level, or something like info,mpquic=trace"
        )
    })
}

#[cfg(test)]
mod tests;
