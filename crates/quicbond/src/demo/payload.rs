//! The data that is sent: generated from a seed or read from a file, hashed while it is made.
//!
//! A thread of its own makes the pieces, so that neither the disk nor the hash holds up the transfer; a short queue
//! keeps it from running ahead. What comes out is the same for the same seed and length.

pub(crate) use crate::digest::{Digest, Hasher};
use crate::pattern::{PIECE, Pattern};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces made ahead.
const AHEAD: usize = 16;

/// Where the data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Generated { seed: u64 },
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) source: Source,
    pub(crate) bytes: u64,
}

/// The pieces of a payload, in order.
pub(crate) struct Pieces {
    ready: mpsc::Receiver<Vec<u8>>,
    maker: JoinHandle<io::Result<Digest>>,
}

impl Payload {
    /// Starts making pieces. Only within a tokio runtime.
    pub(crate) fn pieces(&self) -> Pieces {
        let (to, ready) = mpsc::channel(AHEAD);
        let payload = self.clone();
        let maker = tokio::task::spawn_blocking(move || payload.make(&to));
        Pieces { ready, maker }
    }

    fn make(&self, to: &mpsc::Sender<Vec<u8>>) -> io::Result<Digest> {
        let mut hasher = Hasher::new();
        let mut emit = |piece: Vec<u8>| {
            hasher.update(&piece);
            to.blocking_send(piece).map_err(|_| io::Error::other("the transfer ended early"))
        };
        match &self.source {
            Source::Generated { seed } => Pattern::new(*seed).pieces(self.bytes, &mut emit)?,
            Source::File(path) => read(path, self.bytes, &mut emit)?,
        }
        Ok(hasher.finish())
    }
}

impl Pieces {
    /// `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.ready.recv().await
    }

    /// The hash of all pieces, or what kept them from being made.
    pub(crate) async fn digest(mut self) -> Result<Digest, String> {
        self.ready.close();
        self.maker.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }
}

/// The first `bytes` of a file, even if it has grown meanwhile.
fn read(path: &PathBuf, bytes: u64, emit: &mut dyn FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let mut file = File::open(path).map_err(named)?.take(bytes);
    let mut left = bytes;
    while left > 0 {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut piece).map_err(named)?;
        if piece.is_empty() {
            return Err(named(io::Error::other("the file became shorter while it was sent")));
        }
        left -= piece.len() as u64;
        emit(piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
