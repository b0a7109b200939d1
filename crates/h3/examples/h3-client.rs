//! Fetches or posts over HTTP/3: `cargo run --release -p mpquic-h3 --example h3-client -- --pin HASH URL`.

#![allow(clippy::print_stderr, reason = "an example that reports on its standard error")]

use base64::Engine;
use clap::Parser;
use http::{Method, Request, Response, Uri};
use mpquic::{ClientConfig, Connection, Endpoint, Fingerprint, Pin, TransportConfig};
use mpquic_h3::{ALPN, BodyReceiver, BodySender, Client};
use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Duration, Instant, timeout};

const CHUNK: usize = 64 * 1024;
/// RFC 9369 §3.1.
const VERSION_2: u32 = 0x6b33_43cf;
/// The longest content of each of several responses at once.
const PARALLEL_CONTENT_MAX: usize = 64 << 20;
/// A server that takes longer to allow one more request waits for one to end.
const OPENING_MAX: Duration = Duration::from_secs(5);

/// Fetches or posts over HTTP/3.
#[derive(Parser)]
#[command(group(clap::ArgGroup::new("trust").required(true).args(["ca", "pin"])))]
struct Arguments {
    /// What to fetch, such as https://127.0.0.1:4433/file.
    url: Uri,
    /// The method; GET, or POST if there is something to send.
    #[arg(short = 'X', long)]
    request: Option<Method>,
    /// What to send: text, @FILE, or @- for the standard input.
    #[arg(long)]
    data_binary: Option<String>,
    /// The largest UDP payload to try, in bytes.
    #[arg(long)]
    max_udp_payload: Option<u16>,
    /// Trust servers whose certificate chains to one in this file (PEM).
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Trust the server with this SHA-256: of its public key in base64, or of that or its certificate in hexadecimal.
    #[arg(long)]
    pin: Option<String>,
    /// Where to write the response's content; the standard output otherwise.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Make the request that many times at once. All responses have to have the same content, which is written once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Speak QUIC version 2 (RFC 9369) and no other.
    #[arg(long)]
    v2: bool,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let (connection, _endpoint) = connect(&arguments).await?;
    let client = Client::start(connection).await?;
    let has_content = arguments.data_binary.is_some();
    let default = if has_content { Method::POST } else { Method::GET };
    let method = arguments.request.unwrap_or(default);
    let head = Request::builder().method(method).uri(&arguments.url).header("user-agent", "h3-client");
    let mut head = head.body(())?;
    let content = match arguments.data_binary {
        Some(data) => Some(Content::open(data).await?),
        None => None,
    };
    if let Some(length) = content.as_ref().and_then(|content| content.length) {
        head.headers_mut().insert("content-length", length.into());
    }
    let start = Instant::now();
    if arguments.parallel > 1 {
        let content = match content {
            Some(content) => content.read().await?,
            None => Vec::new(),
        };
        let received = at_once(&client, &head, content.into(), arguments.parallel).await?;
        eprintln!("{} responses in {:.3} s", arguments.parallel, start.elapsed().as_secs_f64());
        return Ok(sink(arguments.output)?.write_all(&received)?);
    }
    let (send, recv) = client.request(head).await?.split();
    let (sent, received) = tokio::join!(upload(send, content), download(recv, arguments.output));
    let (response, bytes) = received?;
    // A server may answer without having read everything.
    let sent = sent.unwrap_or_else(|error| {
        eprintln!("not everything was sent: {error}");
        0
    });
    let seconds = start.elapsed().as_secs_f64();
    let rate = (sent + bytes) as f64 * 8e-6 / seconds;
    eprintln!(
        "{}, {sent} bytes sent, {bytes} bytes received in {seconds:.3} s ({rate:.1} Mbit/s)",
        response.status()
    );
    Ok(())
}

/// The endpoint has to live as long as the connection.
async fn connect(arguments: &Arguments) -> Result<(Connection, Endpoint), Failure> {
    let host = arguments.url.host().ok_or("the URL names no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = arguments.url.port_u16().unwrap_or(443);
    let config = match (&arguments.ca, &arguments.pin) {
        (Some(ca), _) => ClientConfig::with_roots_pem(&std::fs::read(ca)?, &[ALPN])?,
        (None, Some(pin)) => ClientConfig::pinned(&pins(pin)?, &[ALPN])?,
        (None, None) => return Err("whom to trust? give --ca or --pin".into()),
    };
    let mut transport = TransportConfig::default();
    if let Some(payload) = arguments.max_udp_payload {
        transport.mtu_ceiling = payload;
    }
    if arguments.v2 {
        transport.versions = vec![VERSION_2];
    }
    let config = config.transport(transport);
    let mut last = Failure::from("the host has no address");
    for peer in tokio::net::lookup_host((bare, port)).await? {
        let local = if peer.is_ipv4() {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        let endpoint = Endpoint::client(&[local])?;
        match endpoint.connect(&config, bare, endpoint.local_addrs()[0], peer).await {
            Ok(connection) => return Ok((connection, endpoint)),
            Err(error) => last = format!("{peer}: {error}").into(),
        }
    }
    Err(last)
}

fn pins(text: &str) -> Result<Vec<Pin>, Failure> {
    if let Ok(hash) = text.parse::<Fingerprint>() {
        return Ok(vec![Pin::Certificate(hash), Pin::PublicKey(hash)]);
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
    let hash = bytes.try_into().map_err(|_| "a pin is a SHA-256 hash: 32 bytes")?;
    Ok(vec![Pin::PublicKey(Fingerprint(hash))])
}

/// What a request carries.
struct Content {
    length: Option<u64>,
    source: Box<dyn AsyncRead + Unpin + Send>,
}

impl Content {
    async fn open(data: String) -> Result<Self, Failure> {
        let Some(name) = data.strip_prefix('@') else {
            let length = Some(data.len() as u64);
            return Ok(Self { length, source: Box::new(std::io::Cursor::new(data.into_bytes())) });
        };
        let name = if name == "-" { "/dev/stdin" } else { name };
        let file = File::open(name).await.map_err(|error| format!("{name}: {error}"))?;
        let about = file.metadata().await?;
        // Pipes have a length that means nothing.
        Ok(Self { length: about.is_file().then_some(about.len()), source: Box::new(file) })
    }

    async fn read(mut self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.source.read_to_end(&mut all).await?;
        Ok(all)
    }
}

/// Opens `count` requests before any of them ends, and returns what all of them brought.
async fn at_once(
    client: &Client,
    head: &Request<()>,
    content: Arc<[u8]>,
    count: u16,
) -> Result<Vec<u8>, Failure> {
    let mut requests = Vec::new();
    for open in 0..count {
        let opening = timeout(OPENING_MAX, client.request(head.clone())).await;
        let request = opening
            .map_err(|_| format!("the server allows {open} requests at once: ask for fewer (--parallel)"))?;
        requests.push(request?.split());
    }
    let ask = |(mut send, mut recv): (BodySender, BodyReceiver)| {
        let content = Arc::clone(&content);
        tokio::spawn(async move {
            let sending = async {
                send.send(&content).await?;
                send.finish()
            };
            let receiving = async {
                let status = recv.response().await?.status();
                Ok((status, recv.read_to_end(PARALLEL_CONTENT_MAX).await?))
            };
            tokio::try_join!(sending, receiving).map(|(_, received)| received)
        })
    };
    let asked: Vec<_> = requests.into_iter().map(ask).collect();
    let mut first = None;
    for (number, answer) in asked.into_iter().enumerate() {
        let (status, content) = answer.await??;
        if !status.is_success() {
            return Err(format!("response {number} says {status}").into());
        }
        if *first.get_or_insert_with(|| content.clone()) != content {
            return Err(format!("response {number} differs from the first one").into());
        }
    }
    Ok(first.unwrap_or_default())
}

fn sink(output: Option<PathBuf>) -> std::io::Result<Box<dyn Write>> {
    Ok(match output {
        Some(path) => Box::new(std::fs::File::create(path)?),
        None => Box::new(std::io::stdout()),
    })
}

async fn upload(mut send: BodySender, content: Option<Content>) -> Result<u64, Failure> {
    let mut sent = 0;
    if let Some(mut content) = content {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = content.source.read(&mut chunk).await?;
            if n == 0 {
                break;
            }
            send.send(&chunk[..n]).await?;
            sent += n as u64;
        }
    }
    send.finish()?;
    Ok(sent)
}

async fn download(mut recv: BodyReceiver, output: Option<PathBuf>) -> Result<(Response<()>, u64), Failure> {
    let response = recv.response().await?;
    let mut sink = sink(output)?;
    let mut received = 0;
    while let Some(chunk) = recv.chunk().await? {
        sink.write_all(&chunk)?;
        received += chunk.len() as u64;
    }
    sink.flush()?;
    Ok((response, received))
}
