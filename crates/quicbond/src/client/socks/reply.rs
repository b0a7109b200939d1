//! Saying something to a client and making sure that it arrives.

use core::time::Duration;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client may take to read an answer.
const SEND_TIME: Duration = Duration::from_secs(10);
/// How long a client may take to read the last words, and how many bytes it may send meanwhile.
const FAREWELL_TIME: Duration = Duration::from_secs(2);
const FAREWELL_BYTES: u64 = 64 << 10;

/// Sends an answer to a client that might not read.
pub(super) async fn send(client: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    timeout(SEND_TIME, client.write_all(answer)).await?
}

/// Closes gently: closing a socket with unread bytes would send RST, which can overtake the answer.
pub(super) async fn farewell(mut client: TcpStream) {
    let unread = async {
        client.shutdown().await?;
        tokio::io::copy(&mut (&mut client).take(FAREWELL_BYTES), &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(FAREWELL_TIME, unread).await {
        tracing::trace!(%error, "a proxy client was gone before the last words");
    }
}
