//! Replays the corpora of the fuzz targets, so that what the fuzzer once found stays fixed on every compiler.

#[path = "../../../fuzz/bodies/frames.rs"]
mod frames;
#[path = "../../../fuzz/bodies/packet.rs"]
mod packet;
#[path = "../../../fuzz/bodies/parameters.rs"]
mod parameters;

use std::{fs, io, path::Path};

/// Runs the body over each file, over each of its prefixes, and with one bit of each byte flipped.
fn replay(target: &str, body: fn(&[u8])) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)?.collect::<io::Result<_>>()?;
    files.sort_by_key(fs::DirEntry::path);
    assert!(files.len() >= 30, "{} holds {} files only", folder.display(), files.len());
    for file in files.iter().map(fs::DirEntry::path) {
        // The name of the file shows if the body panics.
        eprintln!("{}", file.display());
        let mut bytes = fs::read(&file)?;
        body(&bytes);
        (0..bytes.len()).for_each(|cut| body(&bytes[..cut]));
        for at in 0..bytes.len().min(400) {
            bytes[at] ^= 1 << (at % 8);
            body(&bytes);
            bytes[at] ^= 1 << (at % 8);
        }
    }
    Ok(())
}

#[test]
fn packets_of_the_corpus_walk_to_an_end() -> io::Result<()> {
    replay("packet", packet::run)
}

#[test]
fn frames_of_the_corpus_survive_the_round_trip() -> io::Result<()> {
    replay("frames", frames::run)
}

#[test]
fn parameters_of_the_corpus_survive_the_round_trip() -> io::Result<()> {
    replay("parameters", parameters::run)
}
