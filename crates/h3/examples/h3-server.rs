//! Serves a folder over HTTP/3, echoes what is posted to `/echo`, and tells its counters at `/.counters` and in the end:
//! `cargo run --release -p mpquic-h3 --example h3-server -- --listen 127.0.0.1:4433 --root DIR`.

#![allow(clippy::print_stdout, reason = "an example that reports on its standard output")]

use base64::Engine;
use clap::Parser;
use core::sync::atomic::{AtomicU64, Ordering};
use http::{HeaderValue, Method, Response, StatusCode};
use mpquic::{Admission, Connection, Endpoint, Identity, RetryPolicy, ServerConfig, TransportConfig};
use mpquic_h3::{ALPN, BodyReceiver, BodySender, Request, Server, code};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

const CHUNK: usize = 64 * 1024;
/// Requests that a client may have open at once: room for a thousand, and for those that just ended.
const REQUESTS_MAX: u64 = 1_200;

/// Serves a folder over HTTP/3; POST /echo sends back what it gets, GET /.counters tells what was sent so far.
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
    /// The largest UDP payload to send, in bytes.
    #[arg(long, default_value_t = 1452, value_parser = clap::value_parser!(u16).range(1200..))]
    max_udp_payload: u16,
    /// Demand of every client to prove its address first (a Retry).
    #[arg(long)]
    retry: bool,
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
    endpoint: Endpoint,
    max_udp_payload: u16,
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
    let transport = TransportConfig {
        mtu_ceiling: arguments.max_udp_payload,
        max_streams_bidi: REQUESTS_MAX,
        ..TransportConfig::default()
    };
    let retry = if arguments.retry { RetryPolicy::Always } else { Admission::default().retry };
    let config = ServerConfig::new(identity, &[ALPN])?.transport(transport);
    let config = config.admission(Admission { retry, ..Admission::default() });
    let endpoint = Endpoint::server(config, &arguments.listen)?;
    for address in endpoint.local_addrs() {
        println!("listening on {address}");
    }
    println!("SPKI {spki}");
    let site = Arc::new(Site {
        root,
        endpoint: endpoint.clone(),
        max_udp_payload: arguments.max_udp_payload,
        counters: Counters::default(),
    });
    let mut terminated = signal(SignalKind::terminate())?;
    let accepting = async {
        while let Some(connection) = endpoint.accept().await {
            tokio::spawn(serve(connection, Arc::clone(&site)));
        }
    };
    tokio::select! {
        () = accepting => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    println!("{}", site.counters().await);
    endpoint.shutdown().await;
    Ok(())
}

impl Site {
    /// One JSON object: what the requests came to, and what the endpoint's sockets counted.
    async fn counters(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { connections, requests, failed, received, sent } = &self.counters;
        let stats = self.endpoint.stats().await.unwrap_or_default();
        let fields = [
            ("connections", count(connections)),
            ("requests", count(requests)),
            ("requests_failed", count(failed)),
            ("content_received", count(received)),
            ("content_sent", count(sent)),
            ("max_udp_payload", self.max_udp_payload.into()),
            ("datagrams_sent", stats.datagrams_sent),
            ("datagrams_received", stats.datagrams_received),
            ("largest_datagram_sent", stats.largest_sent),
            ("datagrams_over_limit", stats.over_limit),
            ("send_calls", stats.send_calls),
            ("receive_calls", stats.receive_calls),
            ("retries", stats.retries),
        ];
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let batch = stats.datagrams_sent as f64 / stats.send_calls.max(1) as f64;
        format!("{{{},\"datagrams_per_send_call\":{batch:.2}}}", fields.join(","))
    }
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
        (&Method::GET, "/.counters") => {
            let mut head = Response::new(());
            head.headers_mut().insert("content-type", HeaderValue::from_static(kind("counters.json")));
            let (mut send, _) = request.respond(head).await?;
            send.send(site.counters().await.as_bytes()).await?;
            Ok(send.finish()?)
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
