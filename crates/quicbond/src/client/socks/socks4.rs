//! SOCKS4 and SOCKS4a, which are refused: they know neither IPv6 nor UDP, and every client of today speaks SOCKS5.

use super::{Request, reply};
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Code 91: request rejected or failed. The address and port that follow mean nothing.
const REJECTED: [u8; 8] = [0, 91, 0, 0, 0, 0, 0, 0];

/// Reads the fixed part of the request and rejects it.
pub(super) async fn refuse(client: &mut TcpStream) -> io::Result<Request> {
    let mut fixed = [0; 7];
    client.read_exact(&mut fixed).await?;
    reply::send(client, &REJECTED).await?;
    Ok(Request::Answered("it speaks SOCKS4: set it to SOCKS5"))
}
