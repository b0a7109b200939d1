//! Replays the corpus of the HTTP/3 fuzz target, so that what the fuzzer once found stays fixed.

#[path = "../../../fuzz/bodies/h3.rs"]
mod h3;

use std::{fs, io, path::Path};

#[test]
fn bytes_of_the_corpus_are_understood_alike_twice() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/h3");
    let mut files: Vec<_> = fs::read_dir(&folder)?.collect::<io::Result<_>>()?;
    files.sort_by_key(fs::DirEntry::path);
    assert!(files.len() >= 30, "{} holds {} files only", folder.display(), files.len());
    for file in files.iter().map(fs::DirEntry::path) {
        // The name of the file shows if the body panics.
        eprintln!("{}", file.display());
        let mut bytes = fs::read(&file)?;
        h3::run(&bytes);
        (0..bytes.len()).for_each(|cut| h3::run(&bytes[..cut]));
        for at in 0..bytes.len().min(400) {
            bytes[at] ^= 1 << (at % 8);
            h3::run(&bytes);
            bytes[at] ^= 1 << (at % 8);
        }
    }
    Ok(())
}
