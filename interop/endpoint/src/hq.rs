//! HTTP/0.9 as the interop runner speaks it (ALPN `hq-interop`): `GET /path` on a stream of its own, and back comes the
//! file and the stream's end. There are no errors but a reset.

use crate::Failure;
use crate::files::below;
use mpquic::{Connection, RecvStream, SendStream};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

/// A request line is no longer than this: the runner's longest names have 250 bytes.
const REQUEST_MAX: usize = 4096;
/// What is read from a file, or from a stream, at once.
const CHUNK: usize = 64 * 1024;
/// RFC 9114 §8.1 has no say here; any code tells the client that there will be no file.
const NO_SUCH_FILE: u64 = 1;

/// Answers the client's requests until the connection is over.
pub(crate) async fn serve(connection: Connection, www: Arc<Path>) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        let www = Arc::clone(&www);
        tokio::spawn(answer(send, recv, www));
    }
}

/// Nobody learns of what goes wrong here but the client.
async fn answer(mut send: SendStream, mut recv: RecvStream, www: Arc<Path>) {
    let Some(path) = read_request(&mut recv).await else { return send.reset(NO_SUCH_FILE) };
    let Some(mut file) = below(&www, &path).and_then(|path| File::open(path).ok()) else {
        return send.reset(NO_SUCH_FILE);
    };
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) if send.write_all(&chunk[..n]).await.is_ok() => {}
            Ok(_) => return,
            Err(_) => return send.reset(NO_SUCH_FILE),
        }
    }
    if send.finish().is_ok() {
        // The stream is kept until the client has everything; a drop after the end would do as well.
        send.finished().await.ok();
    }
}

/// The path asked for. A line may lack its end if the stream ends there.
async fn read_request(recv: &mut RecvStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        let Some(chunk) = recv.read_chunk(REQUEST_MAX).await.ok()? else { break };
        line.extend_from_slice(&chunk);
        if line.len() > REQUEST_MAX {
            return None;
        }
    }
    path_of(&line)
}

fn path_of(line: &[u8]) -> Option<String> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let text = core::str::from_utf8(line).ok()?.trim_end();
    let path = text.strip_prefix("GET ")?;
    // Some clients name a version.
    Some(path.split(' ').next()?.to_owned())
}

/// Asks for `path`; what comes back is to be taken by [`take`].
pub(crate) async fn ask(connection: &Connection, path: &str) -> Result<RecvStream, Failure> {
    let wrong = |why: String| Failure::new(path, why);
    let (mut send, recv) = connection.open_bi().await.map_err(|e| wrong(e.to_string()))?;
    let line = format!("GET {path}\r\n");
    send.write_all(line.as_bytes()).await.map_err(|e| wrong(e.to_string()))?;
    send.finish().map_err(|e| wrong(e.to_string()))?;
    Ok(recv)
}

/// Puts the answer into the file `to`.
pub(crate) async fn take(mut recv: RecvStream, path: &str, to: &Path) -> Result<(), Failure> {
    let wrong = |why: &dyn core::fmt::Display| Failure::new(path, why);
    let mut file = File::create(to).map_err(|e| Failure::new(to.display(), e))?;
    while let Some(chunk) = recv.read_chunk(CHUNK).await.map_err(|e| wrong(&e))? {
        file.write_all(&chunk).map_err(|e| Failure::new(to.display(), e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn a_request_line_has_a_path_with_or_without_its_end() {
        for line in
            ["GET /file\r\n", "GET /file\n", "GET /file", "GET /file HTTP/0.9\r\n", "GET /file\r\nmore"]
        {
            assert_eq!(path_of(line.as_bytes()).as_deref(), Some("/file"), "{line:?}");
        }
        for line in ["POST /file\r\n", "", "GET\n"] {
            assert_eq!(path_of(line.as_bytes()), None, "{line:?}");
        }
    }
}
