//! Moving bytes over a stream and counting them, for the tests of throughput.

use super::{Better, Figure};
use crate::Failure;
use crate::stack::{Receiver, Sender};

pub(super) const FIGURES: &[Figure] = &[
    Figure { key: "gbps", title: "Gbit/s", better: Better::Higher, digits: 2 },
    Figure { key: CPU_CLIENT, title: "client CPU s/GB", better: Better::Lower, digits: 2 },
    Figure { key: CPU_SERVER, title: "server CPU s/GB", better: Better::Lower, digits: 2 },
];
pub(super) const CPU_CLIENT: &str = "cpu_client_s_per_gb";
pub(super) const CPU_SERVER: &str = "cpu_server_s_per_gb";

/// What goes the other way: the request of a download, the receipt of an upload.
pub(super) const TOKEN: u64 = 1;

/// Bytes per write.
const PIECE: usize = 128 * 1024;
/// One for all streams: who sends a file from its cache does not touch new memory for each piece.
static PAYLOAD: [u8; PIECE] = [0x5a; PIECE];

/// Writes that many bytes and the end.
pub(super) async fn write(send: &mut dyn Sender, bytes: u64) -> Result<(), Failure> {
    let mut left = bytes;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        send.write_all(&PAYLOAD[..n]).await?;
        left -= n as u64;
    }
    send.finish().await
}

/// Reads up to the end, with that much room for each read, and checks that nothing is missing.
pub(super) async fn drain(recv: &mut dyn Receiver, room: usize, expected: u64) -> Result<(), Failure> {
    let mut buffer = vec![0; room];
    let mut got = 0;
    while let Some(n) = recv.read(&mut buffer).await? {
        got += n as u64;
    }
    if got == expected { Ok(()) } else { Err(format!("{got} bytes came instead of {expected}").into()) }
}
