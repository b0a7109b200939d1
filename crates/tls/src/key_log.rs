//! The secrets of handshakes on paper, for Wireshark and its like.
//!
//! Owns the file and its format (the NSS key log that `SSLKEYLOGFILE` is known for). Whoever reads it reads the
//! connections, so nothing is written unless a configuration was given one of these.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file that the secrets of handshakes are appended to.
pub struct KeyLog {
    file: Mutex<File>,
}

impl KeyLog {
    /// Appends to the file at `path`, which is made if it does not exist.
    ///
    /// # Errors
    /// What the system reports about the file.
    pub fn append_to(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }
}

impl rustls::KeyLog for KeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        // One write per line, so that processes that share the file do not tear each other's lines.
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A handshake does not fail because a disk is full.
        file.write_all(line.as_bytes()).ok();
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLog").finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
