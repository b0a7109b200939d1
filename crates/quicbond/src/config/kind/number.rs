//! Whole numbers, sizes and durations, each within a range.

use super::{Found, Kind, Wrong};
use crate::parse;
use core::time::Duration;
use toml::de::DeValue;

/// A whole number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Kind for Count {
    type Value = u32;

    fn accepts(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn read(&self, found: &Found<'_>) -> Result<u32, Wrong> {
        let DeValue::Integer(number) = found.get_ref() else { return Err(self.refuse(found)) };
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        number.filter(|n| (self.min..=self.max).contains(n)).ok_or_else(|| self.refuse(found))
    }

    fn show(&self, value: &u32) -> Option<String> {
        Some(value.to_string())
    }
}

/// An amount of bytes, such as "256KiB".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Kind for Size {
    type Value = u64;

    fn accepts(&self) -> String {
        format!("a size from {} to {}, such as \"512KiB\"", size(self.min), size(self.max))
    }

    fn read(&self, found: &Found<'_>) -> Result<u64, Wrong> {
        let bytes = found.get_ref().as_str().and_then(|text| parse::size(text).ok());
        bytes.filter(|n| (self.min..=self.max).contains(n)).ok_or_else(|| self.refuse(found))
    }

    fn show(&self, value: &u64) -> Option<String> {
        Some(format!("\"{}\"", size(*value)))
    }
}

/// A length of time, such as "10s".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Kind for Lasting {
    type Value = Duration;

    fn accepts(&self) -> String {
        format!("a time from {} to {}, such as \"30s\" or \"5m\"", duration(self.min), duration(self.max))
    }

    fn read(&self, found: &Found<'_>) -> Result<Duration, Wrong> {
        let time = found.get_ref().as_str().and_then(|text| parse::duration(text).ok());
        time.filter(|t| (self.min..=self.max).contains(t)).ok_or_else(|| self.refuse(found))
    }

    fn show(&self, value: &Duration) -> Option<String> {
        Some(format!("\"{}\"", duration(*value)))
    }
}

/// In the largest unit that leaves no rest; [`parse::size`] reads it back.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// In the largest unit that leaves no rest; [`parse::duration`] reads it back.
fn duration(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let unit = units.into_iter().find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{ms}ms"), |(name, unit)| format!("{}{name}", ms / unit))
}
