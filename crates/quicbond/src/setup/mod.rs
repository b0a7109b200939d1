//! Setting up a server: `quicbond server init` and `quicbond server tenant`.
//!
//! Makes and changes files and prints tokens; a server that runs is only told to look again.

mod address;
mod init;
mod present;
mod tenant;

pub(crate) use init::run as init;
pub(crate) use tenant::run as tenant;

use core::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 86_400;

/// The time of day for people (RFC 3339, UTC).
fn now() -> String {
    rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// `seconds` since 1970.
fn rfc3339(seconds: u64) -> String {
    let (mut days, time) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

/// Binary data as PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        // base64 is ASCII.
        writeln!(pem, "{}", String::from_utf8_lossy(line)).ok();
    }
    writeln!(pem, "-----END {label}-----").ok();
    pem
}

#[cfg(test)]
mod tests;
