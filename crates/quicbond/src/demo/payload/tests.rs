use super::{Digest, Hasher, PIECE, Payload, Source};
use std::path::PathBuf;

/// What comes out of `payload`, and its digest.
fn collect(payload: &Payload) -> (Vec<u8>, Result<Digest, String>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let mut pieces = payload.pieces();
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend(piece);
        }
        (all, pieces.digest().await)
    })
}

fn generated(seed: u64, bytes: u64) -> Payload {
    Payload { source: Source::Generated { seed }, bytes }
}

fn hash(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

fn temporary(name: &str, content: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("quicbond-{}-{name}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn the_digest_is_that_of_everything_that_came_out() {
    for bytes in [1, 1000, PIECE as u64, 3 * 1024 * 1024 + 7] {
        let (all, digest) = collect(&generated(1, bytes));
        assert_eq!(all.len() as u64, bytes);
        assert_eq!(digest.unwrap(), hash(&all), "{bytes}");
    }
}

#[test]
fn the_digest_is_sha_256() {
    assert_eq!(hash(b"abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn a_seed_replays_its_data_and_no_piece_equals_another() {
    let bytes = 20 * PIECE as u64;
    let (all, _) = collect(&generated(7, bytes));
    assert_eq!(all, collect(&generated(7, bytes)).0);
    assert_ne!(all, collect(&generated(8, bytes)).0);
    let mut pieces: Vec<&[u8]> = all.chunks(PIECE).collect();
    pieces.sort_unstable();
    pieces.dedup();
    assert_eq!(pieces.len(), 20);
}

#[test]
fn a_file_comes_out_as_it_is_up_to_the_length_it_had() {
    let content: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let path = temporary("whole", &content);
    let bytes = 700_001;
    let (all, digest) = collect(&Payload { source: Source::File(path.clone()), bytes });
    std::fs::remove_file(path).unwrap();
    assert_eq!(all, content[..700_001]);
    assert_eq!(digest.unwrap(), hash(&all));
}

#[test]
fn a_file_that_shrinks_is_named() {
    let path = temporary("short", b"only this");
    let (_, digest) = collect(&Payload { source: Source::File(path.clone()), bytes: 1000 });
    std::fs::remove_file(&path).unwrap();
    let error = digest.unwrap_err();
    assert!(error.contains(&path.display().to_string()) && error.contains("shorter"), "{error}");
}

#[test]
fn pieces_that_nobody_takes_stop_being_made() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let digest = runtime.block_on(async {
        let mut pieces = generated(1, 1 << 40).pieces();
        assert_eq!(pieces.next().await.unwrap().len(), PIECE);
        pieces.digest().await
    });
    assert!(digest.unwrap_err().contains("ended early"));
}
