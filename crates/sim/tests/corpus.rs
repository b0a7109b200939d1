//! Replays the corpora of the fuzz targets that drive whole connections, so that what the fuzzer once found stays fixed.

#[path = "../../../fuzz/bodies/connection.rs"]
mod connection;

use std::{fs, io, path::Path};

/// Runs the body over each file, over some of its prefixes, and with one bit of some of its bytes flipped.
fn replay(target: &str, body: fn(&[u8])) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)?.collect::<io::Result<_>>()?;
    files.sort_by_key(fs::DirEntry::path);
    assert!(files.len() >= 20, "{} holds {} files only", folder.display(), files.len());
    for file in files.iter().map(fs::DirEntry::path) {
        // The name of the file shows if the body panics.
        eprintln!("{}", file.display());
        let mut bytes = fs::read(&file)?;
        body(&bytes);
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 8) {
            body(&bytes[..at]);
            bytes[at] ^= 1 << (at % 8);
            body(&bytes);
            bytes[at] ^= 1 << (at % 8);
        }
    }
    Ok(())
}

#[test]
fn connections_survive_the_corpus() -> io::Result<()> {
    replay("connection", connection::run)
}
