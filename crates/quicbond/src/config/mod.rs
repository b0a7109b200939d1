//! Configuration files: what may stand in them, how they are read, and their documentation.
//!
//! [`Server`] and [`Client`] are declared with `section!`; reader, defaults and reference page follow from the
//! declarations. Reading a file needs nothing but the file: whether a certificate exists or an interface is up is for
//! those who use the value to find out.

mod client;
mod command;
mod kind;
mod reader;
mod reference;
mod section;
mod server;
mod shared;
mod source;
mod targets;

pub(crate) use client::Client;
pub(crate) use command::run;
pub(crate) use kind::quoted;
pub(crate) use reader::Problems;
pub(crate) use reference::{defaults, reference};
pub(crate) use section::Section;
pub(crate) use server::{Server, any};
pub(crate) use shared::{Log, Transport};
pub(crate) use source::InterfaceName;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where `quicbond server init` puts its files unless told otherwise.
pub(crate) const CONFIG_DIR: &str = "/etc/quicbond";
pub(crate) const SERVER_FILE: &str = "/etc/quicbond/server.toml";
pub(crate) const CLIENT_FILE: &str = "/etc/quicbond/client.toml";
pub(crate) const STATE_DIR: &str = "/run/quicbond";
pub(crate) const SERVER_CONTROL: &str = "/run/quicbond/server.sock";
pub(crate) const CLIENT_CONTROL: &str = "/run/quicbond/client.sock";

/// No configuration is longer; a disk image is.
const FILE_MAX: u64 = 1 << 20;

/// A whole configuration file.
pub(crate) trait Paths: Section {
    /// Makes every path count from `folder`, where the file is.
    fn resolve(&mut self, folder: &Path);

    /// Two keys that cannot both be right, in words.
    fn contradiction(&self) -> Option<String>;
}

/// Reads the file at `path`.
pub(crate) fn load<C: Paths>(path: &Path) -> Result<C, Problems> {
    let name = path.display().to_string();
    let text = text_of(path).map_err(|why| Problems::of_file(&name, why))?;
    let mut config: C = parse(&text, &name)?;
    config.resolve(path.parent().unwrap_or(Path::new("")));
    Ok(config)
}

/// Reads `text`, which problems call `name`. Paths stay as they are written.
pub(crate) fn parse<C: Paths>(text: &str, name: &str) -> Result<C, Problems> {
    let config: C = reader::read(text, name)?;
    match config.contradiction() {
        Some(why) => Err(Problems::of_file(name, why)),
        None => Ok(config),
    }
}

/// The text of a file that somebody wrote by hand, or why there is none.
pub(crate) fn text_of(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err("is larger than 1 MiB; is it the right file?".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is no text (UTF-8); is it the right file?".to_owned())
}

fn beside(folder: &Path, path: &mut PathBuf) {
    *path = folder.join(&*path);
}

#[cfg(test)]
mod tests;
