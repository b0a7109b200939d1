//! HTTP/1.1 as far as measuring needs it: data of any size, its hash, and a place to upload to.
//!
//! Made to cost little: data leaves from one block in memory by large gathering writes.

use crate::digest::{Digest, Hasher};
use crate::lock::lock;
use crate::parse;
use crate::pattern::{HEAD, PIECE, Pattern};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const SEED: u64 = 1;
/// Pieces per write: 1 MB, about what a fast socket takes at once.
const GATHER: usize = 16;
const READ_BUFFER: usize = 256 * 1024;
const LONGEST_LINE: u64 = 8 * 1024;
const MOST_HEADERS: usize = 100;

struct Site {
    pattern: Pattern,
    /// By size.
    digests: Mutex<BTreeMap<u64, Digest>>,
}

/// What a request says that matters here.
#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    length: Option<u64>,
    chunked: bool,
    expects_continue: bool,
    close: bool,
}

type Stream = BufReader<TcpStream>;

pub(super) async fn serve(listener: TcpListener) {
    let site = Arc::new(Site { pattern: Pattern::new(SEED), digests: Mutex::new(BTreeMap::new()) });
    loop {
        // Out of descriptors, for instance: those who wait are served when others have gone.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(core::time::Duration::from_millis(10)).await;
            continue;
        };
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            stream.set_nodelay(true).ok();
            let mut stream = BufReader::with_capacity(READ_BUFFER, stream);
            // A client that goes away is how this ends.
            while let Ok(true) = site.answer(&mut stream).await {}
        });
    }
}

impl Site {
    /// Answers one request. False if the connection ends with it.
    async fn answer(self: &Arc<Self>, stream: &mut Stream) -> io::Result<bool> {
        let Some(request) = Request::read(stream).await? else { return Ok(false) };
        let keep = !request.close;
        let path = request.path.trim_start_matches('/');
        match request.method.as_str() {
            "PUT" | "POST" => receive(stream, &request).await?,
            "GET" | "HEAD" => {
                let body = request.method == "GET";
                if let Some(size) = path.strip_suffix(".sha256").and_then(|size| parse::size(size).ok()) {
                    let digest = Arc::clone(self).digest(size).await?;
                    respond(stream, "200 OK", &format!("{}\n", digest.hex()), body).await?;
                } else if let Ok(size) = parse::size(path) {
                    self.send(stream, size, body).await?;
                } else {
                    let help = "ask for /SIZE, /SIZE.sha256 (such as /10MB) or upload to /upload\n";
                    respond(stream, "404 Not Found", help, body).await?;
                }
            }
            _ => {
                respond(stream, "405 Method Not Allowed", "GET, HEAD, PUT and POST are known\n", true)
                    .await?;
                return Ok(false);
            }
        }
        Ok(keep)
    }

    async fn send(&self, stream: &mut Stream, size: u64, body: bool) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut sent = if body { 0 } else { size };
        while sent < size {
            let number = sent / PIECE as u64;
            let pieces: [_; GATHER] = core::array::from_fn(|i| self.pattern.piece(number + i as u64));
            let slices = gather(&pieces, (sent % PIECE as u64) as usize, size - sent);
            let n = stream.get_mut().write_vectored(&slices).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            sent += n as u64;
        }
        Ok(())
    }

    async fn digest(self: Arc<Self>, size: u64) -> io::Result<Digest> {
        let hash = move || {
            let known = |site: &Self| lock(&site.digests).get(&size).copied();
            if let Some(digest) = known(&self) {
                return digest;
            }
            let mut hasher = Hasher::new();
            let mut left = size;
            for number in 0.. {
                let (head, tail) = self.pattern.piece(number);
                for part in [&head[..], tail] {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
                    hasher.update(&part[..n]);
                    left -= n as u64;
                }
                if left == 0 {
                    break;
                }
            }
            let digest = hasher.finish();
            lock(&self.digests).insert(size, digest);
            digest
        };
        tokio::task::spawn_blocking(hash).await.map_err(io::Error::other)
    }
}

/// The bytes from `skip` into the first piece on, `most` of them at the most.
fn gather<'a>(pieces: &'a [([u8; HEAD], &'a [u8])], skip: usize, most: u64) -> Vec<IoSlice<'a>> {
    let (mut skip, mut left) = (skip, usize::try_from(most).unwrap_or(usize::MAX));
    let mut slices = Vec::with_capacity(2 * pieces.len());
    for part in pieces.iter().flat_map(|(head, tail)| [&head[..], *tail]) {
        let from = skip.min(part.len());
        skip -= from;
        let part = &part[from..];
        let part = &part[..left.min(part.len())];
        left -= part.len();
        if !part.is_empty() {
            slices.push(IoSlice::new(part));
        }
    }
    slices
}

impl Request {
    /// `None` at the end of the connection.
    async fn read(stream: &mut Stream) -> io::Result<Option<Self>> {
        let first = line(stream).await?;
        let mut words = first.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
        // With a proxy in between, the whole address may be there.
        let path =
            path.strip_prefix("http://").map_or(path, |rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
        let mut request = Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() };
        request.close = words.next() == Some("HTTP/1.0");
        for _ in 0..MOST_HEADERS {
            let line = line(stream).await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(Some(request)) };
            let value = value.trim().to_ascii_lowercase();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => request.length = value.parse().ok(),
                "transfer-encoding" => request.chunked = value == "chunked",
                "expect" => request.expects_continue = value == "100-continue",
                "connection" => request.close |= value == "close",
                _ => {}
            }
        }
        Err(io::Error::other("too many headers"))
    }
}

/// A line without its end; an empty one at the end of the input.
async fn line(stream: &mut Stream) -> io::Result<String> {
    let mut line = String::new();
    stream.take(LONGEST_LINE).read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

/// Takes an upload and answers with its size and hash.
async fn receive(stream: &mut Stream, request: &Request) -> io::Result<()> {
    if request.expects_continue {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut hasher = Hasher::new();
    let mut bytes = 0;
    if request.chunked {
        loop {
            let size = line(stream).await?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            bytes += size;
            hash_exactly(stream, size, &mut hasher).await?;
            // The end of the chunk, or after the last one the end of trailers that nobody sends.
            line(stream).await?;
            if size == 0 {
                break;
            }
        }
    } else {
        bytes = request.length.unwrap_or(0);
        hash_exactly(stream, bytes, &mut hasher).await?;
    }
    let body = serde_json::json!({ "bytes": bytes, "sha256": hasher.finish().hex() });
    respond(stream, "200 OK", &format!("{body}\n"), true).await
}

async fn hash_exactly(stream: &mut Stream, bytes: u64, hasher: &mut Hasher) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        hasher.update(&buffer[..n]);
        stream.consume(n);
        left -= n as u64;
    }
    Ok(())
}

async fn respond(stream: &mut Stream, status: &str, text: &str, body: bool) -> io::Result<()> {
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: text/plain\r\n\r\n");
    stream.write_all(format!("{head}{}", if body { text } else { "" }).as_bytes()).await
}
