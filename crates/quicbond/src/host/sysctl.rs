//! Kernel switches under `/proc/sys` of the calling thread's network namespace.

use super::error::{Error, Kind, Result};
use std::fs;
use std::io;

const ROOT: &str = "/proc/sys";

/// The value, `None` if this kernel (or this interface, any more) has no such switch.
pub(super) fn read(key: &str) -> Result<Option<String>> {
    match fs::read_to_string(path(key)) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(Error::io(format!("reading {}", path(key)), &error)),
    }
}

pub(super) fn write(key: &str, value: &str) -> Result<()> {
    fs::write(path(key), value).map_err(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => Error::new(
            Kind::Permission,
            format!(
                "{ROOT} is read-only here: set {} = {value} from outside the container",
                key.replace('/', ".")
            ),
        ),
        _ => Error::io(format!("writing {value} to {}", path(key)), &error),
    })
}

fn path(key: &str) -> String {
    format!("{ROOT}/{key}")
}

/// An interface that vanishes between the look-up and the read answers with one of these.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
}
