//! Serves a folder over HTTP/3, and echoes what is posted to `/echo`:
//! `cargo run --release -p mpquic-h3 --example h3-server -- --listen 127.0.0.1:4433 --root DIR`.

#![allow(clippy::print_stdout, reason = "an example that reports on its standard output")]

use base64::Engine;
use clap::Parser;
use core::sync::atomic::{AtomicU64, Ordering};
use http::{HeaderValue, Method, Response, StatusCode};
use mpquic::{Connection, Endpoint, Identity, ServerConfig};
use mpquic_h3::{ALPN, BodyReceiver, BodySender, Request, Server, code};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

const CHUNK: usize = 64 * 1024;

/// Serves a folder over HTTP/3; POST /echo sends back what it gets.
#[derive(Parser)]
struct Arguments {
    /// Where to listen (may be given more than once).
    #[arg(long, default_value = "127.0.0.1:4433")]
    listen: Vec<SocketAddr>,
    /// The folder to serve; without it only /echo is there.
    #[arg(long)]
    root: Option<PathBuf>,
    /// Certificate chain (PEM); made up when missing.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Private key (PEM).
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    failed: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// What all connections share.
struct Site {
    /// Absolute and free of links.
    root: Option<PathBuf>,
    counters: Counters,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let identity = match (&arguments.cert, &arguments.key) {
        (Some(cert), Some(key)) => Identity::from_pem(&std::fs::read(cert)?, &std::fs::read(key)?)?,
        _ => Identity::self_signed(&["localhost", "127.0.0.1", "::1"])?,
    };
    let spki = base64::engine::general_purpose::STANDARD.encode(identity.public_key_fingerprint()?.0);
    let root = arguments.root.map(std::fs::canonicalize).transpose()?;
    let endpoint = Endpoint::server(ServerConfig::new(identity, &[ALPN])?, &arguments.listen)?;
    for address in endpoint.local_addrs() {
        println!("listening on {address}");
    }
    println!("SPKI {spki}");
    let site = Arc::new(Site { root, counters: Counters::default() });
    let accepting = async {
        while let Some(connection) = endpoint.accept().await {
            tokio::spawn(serve(connection, Arc::clone(&site)));
        }
    };
    tokio::select! {
        () = accepting => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let Counters { connections, requests, failed, received, sent } = &site.counters;
    println!(
        "{} connections, {} requests ({} failed), {} bytes received, {} bytes sent",
        count(connections),
        count(requests),
        count(failed),
        count(received),
        count(sent)
    );
    endpoint.shutdown().await;
    Ok(())
}

async fn serve(connection: Connection, site: Arc<Site>) {
    add(&site.counters.connections, 1);
    let Ok(server) = Server::start(connection).await else { return };
    loop {
        match server.accept().await {
            Ok(Some(request)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    add(&site.counters.requests, 1);
                    let line = format!("{} {}", request.head.method(), request.head.uri());
                    if let Err(error) = answer(request, &site).await {
                        add(&site.counters.failed, 1);
                        println!("{line}: {error}");
                    }
                });
            }
            Ok(None) => return,
            Err(error) => {
                println!("{error}");
                return;
            }
        }
    }
}

async fn answer(request: Request, site: &Site) -> Result<(), Failure> {
    let (method, path) = (request.head.method().clone(), request.head.uri().path().to_owned());
    match (&method, path.as_str()) {
        (&Method::POST, "/echo") => {
            let mut head = Response::new(());
            if let Some(length) = request.head.headers().get("content-length") {
                head.headers_mut().insert("content-length", length.clone());
            }
            let (send, recv) = request.respond(head).await?;
            echo(send, recv, site).await
        }
        (&Method::GET | &Method::HEAD, _) => match find(site, &path).await {
            Some(file) => send_file(request, file, &path, site).await,
            None => refuse(request, StatusCode::NOT_FOUND).await,
        },
        _ => refuse(request, StatusCode::METHOD_NOT_ALLOWED).await,
    }
}

async fn echo(mut send: BodySender, mut recv: BodyReceiver, site: &Site) -> Result<(), Failure> {
    while let Some(chunk) = recv.chunk().await? {
        add(&site.counters.received, chunk.len() as u64);
        send.send(&chunk).await?;
        add(&site.counters.sent, chunk.len() as u64);
    }
    Ok(send.finish()?)
}

async fn send_file(request: Request, mut file: File, path: &str, site: &Site) -> Result<(), Failure> {
    let length = file.metadata().await?.len();
    let mut head = Response::new(());
    head.headers_mut().insert("content-length", length.into());
    head.headers_mut().insert("content-type", HeaderValue::from_static(kind(path)));
    let bare = request.head.method() == Method::HEAD;
    let (mut send, _) = request.respond(head).await?;
    let mut chunk = vec![0; CHUNK];
    let mut left = if bare { 0 } else { length };
    while left > 0 {
        // A file may grow or shrink meanwhile; what was announced counts.
        let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let n = file.read(&mut chunk[..most]).await?;
        if n == 0 {
            send.reset(code::INTERNAL_ERROR);
            return Err("the file became shorter while it was sent".into());
        }
        send.send(&chunk[..n]).await?;
        add(&site.counters.sent, n as u64);
        left -= n as u64;
    }
    Ok(send.finish()?)
}

async fn refuse(request: Request, status: StatusCode) -> Result<(), Failure> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    let (mut send, _) = request.respond(head).await?;
    send.send(format!("{status}\n").as_bytes()).await?;
    Ok(send.finish()?)
}

/// The file that a path names, if it lies within the root whatever dots and links say.
async fn find(site: &Site, path: &str) -> Option<File> {
    let root = site.root.as_deref()?;
    let decoded = decode(path)?;
    let names = || decoded.split('/').filter(|name| !name.is_empty());
    if names().any(|name| name == ".." || name.contains(['\\', '\0', ':'])) {
        return None;
    }
    let mut found = names().fold(root.to_owned(), |folder, name| folder.join(name));
    if found.is_dir() {
        found.push("index.html");
    }
    let real = tokio::fs::canonicalize(found).await.ok()?;
    let regular = real.starts_with(root) && real.is_file();
    if regular { File::open(real).await.ok() } else { None }
}

fn decode(path: &str) -> Option<String> {
    let (mut out, mut bytes) = (Vec::new(), path.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(core::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

fn kind(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("html") | None => "text/html; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some(_) => "application/octet-stream",
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
