//! The application of every test: the client says how much goes each way, both ends check every byte.
//!
//! On one bidirectional stream the client sends two big-endian `u64`, the bytes that it uploads and the bytes that it wants, then
//! the upload and its end. The server answers with the bytes received as a `u64`, then the download and its end.

use std::io;
use std::sync::LazyLock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The application protocol of the handshake.
pub const ALPN: &[u8] = b"mpquic-interop";
/// Bytes of the request and of the receipt.
pub const REQUEST_LEN: usize = 16;
pub const RECEIPT_LEN: usize = 8;

/// How much goes each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub up: u64,
    pub down: u64,
}

impl Load {
    #[must_use]
    pub const fn up(bytes: u64) -> Self {
        Self { up: bytes, down: 0 }
    }

    #[must_use]
    pub const fn down(bytes: u64) -> Self {
        Self { up: 0, down: bytes }
    }

    #[must_use]
    pub fn request(self) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        bytes[..8].copy_from_slice(&self.up.to_be_bytes());
        bytes[8..].copy_from_slice(&self.down.to_be_bytes());
        bytes
    }

    #[must_use]
    pub fn from_request(bytes: &[u8; REQUEST_LEN]) -> Self {
        let (up, down) = bytes.split_at(8);
        let number = |b: &[u8]| b.iter().fold(0, |n, byte| (n << 8) | u64::from(*byte));
        Self { up: number(up), down: number(down) }
    }
}

/// The period of the content: a prime, so that no packet, page or window boundary repeats with it.
const PERIOD: usize = 65_521;

static CONTENT: LazyLock<Content> = LazyLock::new(Content::default);

/// What every byte of a transfer must be.
#[derive(Debug)]
pub struct Content {
    /// Two periods, so that a piece of up to one period is always in one place.
    block: Vec<u8>,
}

impl Default for Content {
    fn default() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        block.extend_from_within(..);
        Self { block }
    }
}

impl Content {
    /// The bytes at `offset` of a transfer of `total`: as many as lie together, none at its end.
    #[must_use]
    pub fn piece(&self, offset: u64, total: u64) -> &[u8] {
        let at = usize::try_from(offset % PERIOD as u64).expect("below the period");
        let n = usize::try_from(total.saturating_sub(offset)).unwrap_or(usize::MAX).min(PERIOD);
        &self.block[at..at + n]
    }

    /// # Panics
    /// If `data` is not what belongs at `offset`.
    pub fn check(&self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let right = self.piece(offset, u64::MAX);
            let n = right.len().min(data.len());
            assert!(data[..n] == right[..n], "wrong bytes between {offset} and {}", offset + n as u64);
            data = &data[n..];
            offset += n as u64;
        }
    }
}

/// The client's part over a peer's stream.
///
/// # Errors
/// What the stream says.
///
/// # Panics
/// If the server's receipt or content is wrong.
pub async fn ask(
    mut send: impl AsyncWrite + Unpin,
    mut recv: impl AsyncRead + Unpin,
    load: Load,
) -> io::Result<()> {
    send.write_all(&load.request()).await?;
    write_content(&mut send, load.up).await?;
    send.shutdown().await?;
    let mut receipt = [0; RECEIPT_LEN];
    recv.read_exact(&mut receipt).await?;
    assert_eq!(u64::from_be_bytes(receipt), load.up, "the server counted another number of bytes");
    let got = read_content(&mut recv).await?;
    assert_eq!(got, load.down, "the download has another length");
    Ok(())
}

/// The server's part over a peer's stream; how much went each way.
///
/// # Errors
/// What the stream says.
///
/// # Panics
/// If the client's content is wrong.
pub async fn answer(mut send: impl AsyncWrite + Unpin, mut recv: impl AsyncRead + Unpin) -> io::Result<Load> {
    let mut request = [0; REQUEST_LEN];
    recv.read_exact(&mut request).await?;
    let load = Load::from_request(&request);
    let got = read_content(&mut recv).await?;
    assert_eq!(got, load.up, "the upload has another length");
    send.write_all(&got.to_be_bytes()).await?;
    write_content(&mut send, load.down).await?;
    send.shutdown().await?;
    Ok(load)
}

async fn write_content(send: &mut (impl AsyncWrite + Unpin), total: u64) -> io::Result<()> {
    let content = &*CONTENT;
    let mut sent = 0;
    while sent < total {
        let piece = content.piece(sent, total);
        send.write_all(piece).await?;
        sent += piece.len() as u64;
    }
    Ok(())
}

async fn read_content(recv: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    let content = &*CONTENT;
    let mut buffer = vec![0; 64 * 1024];
    let mut got = 0;
    loop {
        let n = recv.read(&mut buffer).await?;
        if n == 0 {
            return Ok(got);
        }
        content.check(got, &buffer[..n]);
        got += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Load};

    #[test]
    fn a_request_reads_back() {
        let load = Load { up: 7 << 33, down: 5 };
        assert_eq!(Load::from_request(&load.request()), load);
    }

    #[test]
    #[should_panic(expected = "wrong bytes")]
    fn one_wrong_byte_is_noticed() {
        let content = Content::default();
        let mut data = content.piece(100_000, 200_000).to_vec();
        data[77] ^= 1;
        content.check(100_000, &data);
    }
}
