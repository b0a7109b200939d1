//! HTTP/3 between programs: our example server and client, aioquic's through small programs of ours, and Chromium.
//!
//! Every cell has a server of its own. Where it is ours, its counters are part of the verdict: no datagram over the limit, and
//! more than one of them per system call.

mod program;

use crate::matrix::Choice;
use crate::stack::{Failure, Role};
use crate::table::{Cell, Outcome};
use program::{Serving, capture};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What is fetched, and what is posted and has to come back.
const FILE_LEN: usize = 5_000_000;
const ECHO_LEN: usize = 1_050_000;
/// What each of many requests at once posts.
const SMALL_LEN: usize = 10_500;
/// The same for aioquic, whose time grows with the square of its open streams: a thousand of these take it several seconds.
const SMALL_LEN_AIOQUIC: usize = 1_050;
/// A cell that takes longer has failed.
const CELL_MAX: Duration = Duration::from_secs(90);

/// The programs that there are.
#[derive(Clone, Debug, clap::Args)]
pub struct Tools {
    /// The folder of our h3-server and h3-client; without it there is no HTTP/3.
    #[arg(long)]
    h3: Option<PathBuf>,
    /// The folder of the peers' programs and the page.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers"))]
    peers: PathBuf,
    /// A Python that has aioquic.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Why there is none.
    #[arg(long, default_value = "no --python was given")]
    no_python: String,
    #[arg(long)]
    chromium: Option<PathBuf>,
    /// Why there is none.
    #[arg(long, default_value = "no --chromium was given")]
    no_chromium: String,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Our own other end: what is promised for the others has to hold here too.
    Ours,
    Aioquic,
    Chromium,
}

/// What a client is to do, and at which limits.
#[derive(Clone, Copy, Debug)]
struct Wish {
    /// GET the file, or POST so many bytes.
    post: Option<usize>,
    parallel: u32,
    payload: u16,
    retry: bool,
    chacha: bool,
    v2: bool,
    key_update: bool,
}

/// One row.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    wish: Wish,
}

const PLAIN: Wish = Wish {
    post: Some(ECHO_LEN),
    parallel: 1,
    payload: 1452,
    retry: false,
    chacha: false,
    v2: false,
    key_update: false,
};

const MANY: Wish = Wish { post: Some(SMALL_LEN), parallel: 1_000, ..PLAIN };

pub const CASES: &[Case] = &[
    Case { name: "get-5MB", about: "GET of 5 MB", wish: Wish { post: None, ..PLAIN } },
    Case {
        name: "echo-1200",
        about: "POST of 1.05 MB to /echo, datagrams of 1200 bytes at most",
        wish: Wish { payload: 1200, ..PLAIN },
    },
    Case { name: "echo-1452", about: "the same with 1452 bytes at most", wish: PLAIN },
    Case { name: "echo-100x", about: "100 POSTs of 10.5 kB at once", wish: Wish { parallel: 100, ..MANY } },
    Case {
        name: "echo-1000x-1200",
        about: "1,000 POSTs of 10.5 kB (aioquic: 1.05 kB) at once, datagrams of 1200 bytes at most",
        wish: Wish { payload: 1200, ..MANY },
    },
    Case { name: "echo-1000x-1452", about: "the same with 1452 bytes at most", wish: MANY },
    Case { name: "h3-retry", about: "the server demands a Retry", wish: Wish { retry: true, ..PLAIN } },
    Case {
        name: "h3-chacha20",
        about: "ChaCha20-Poly1305 and nothing else",
        wish: Wish { chacha: true, ..PLAIN },
    },
    Case { name: "h3-v2", about: "QUIC version 2", wish: Wish { v2: true, ..PLAIN } },
    Case {
        name: "h3-key-update",
        about: "the client changes the keys between two requests",
        wish: Wish { key_update: true, ..PLAIN },
    },
];

/// Runs one cell after the other and calls `done` after each.
pub fn run(tools: &Tools, choice: &Choice, mut done: impl FnMut(&Cell)) -> Vec<Cell> {
    let columns = [
        (Peer::Ours, Role::Client),
        (Peer::Aioquic, Role::Client),
        (Peer::Aioquic, Role::Server),
        (Peer::Chromium, Role::Client),
    ];
    let mut cells = Vec::new();
    let Some(programs) = &tools.h3 else { return cells };
    for (peer, role) in columns.into_iter().filter(|(peer, _)| choice.has_peer(peer.name())) {
        for case in CASES.iter().filter(|case| choice.has_case(case.name)) {
            let outcome = match tools.stands_in_the_way(peer) {
                Some(why) => Outcome::Skipped { why },
                None => match lacks(peer, role, &case.wish) {
                    Some(why) => Outcome::not_tried(why),
                    None => play(tools, programs, (peer, role), &case.wish),
                },
            };
            let cell = Cell { case: case.name, peer: peer.name().into(), role: role.to_string(), outcome };
            done(&cell);
            cells.push(cell);
        }
    }
    cells
}

impl Wish {
    /// The same with less in each of many requests.
    fn for_aioquic(&self) -> Self {
        let many = self.parallel >= 1_000;
        Self { post: self.post.map(|len| if many { SMALL_LEN_AIOQUIC } else { len }), ..*self }
    }
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "mpquic",
            Self::Aioquic => "aioquic",
            Self::Chromium => "chromium",
        }
    }
}

impl Tools {
    fn stands_in_the_way(&self, peer: Peer) -> Option<String> {
        match peer {
            Peer::Ours => None,
            Peer::Aioquic => self.python.is_none().then(|| self.no_python.clone()),
            Peer::Chromium => self.chromium.is_none().then(|| self.no_chromium.clone()),
        }
    }
}

fn lacks(peer: Peer, role: Role, wish: &Wish) -> Option<&'static str> {
    match (peer, role) {
        (Peer::Aioquic, Role::Client) => None,
        (Peer::Aioquic, Role::Server) if wish.chacha => Some("tried with its client"),
        (_, _) if wish.chacha => Some("neither our example client nor Chromium lets one choose the cipher"),
        (Peer::Chromium, _) if wish.v2 => Some("Chromium speaks version 1 only"),
        (_, _) if wish.key_update => Some("only aioquic's client has a key update to ask for"),
        _ => None,
    }
}

fn play(tools: &Tools, programs: &Path, (peer, role): (Peer, Role), wish: &Wish) -> Outcome {
    let start = Instant::now();
    let result = match role {
        Role::Client => against_us(tools, programs, peer, wish),
        Role::Server => against_aioquic(tools, programs, wish),
    };
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(remark) => Outcome::Passed { milliseconds, remark },
        Err(error) => Outcome::Failed { milliseconds, why: error.to_string() },
    }
}

/// Our server, and a client of the peer.
fn against_us(tools: &Tools, programs: &Path, peer: Peer, wish: &Wish) -> Result<String, Failure> {
    let folder = Folder::new(&tools.peers)?;
    let mut server = Command::new(programs.join("h3-server"));
    server.args(["--listen", "127.0.0.1:0", "--root"]).arg(&folder.path);
    server.args(["--max-udp-payload", &wish.payload.to_string()]);
    if wish.retry {
        server.arg("--retry");
    }
    let server = Serving::start(server)?;
    match peer {
        Peer::Ours => ask(programs, &folder, &server, "SPKI ", wish)?,
        Peer::Aioquic => ask_by_aioquic(tools, &folder, &server, &wish.for_aioquic())?,
        Peer::Chromium => ask_by_chromium(tools, &server, wish)?,
    }
    judge(&server.stop()?, wish)
}

/// aioquic's server, and our client.
fn against_aioquic(tools: &Tools, programs: &Path, wish: &Wish) -> Result<String, Failure> {
    let folder = Folder::new(&tools.peers)?;
    let python = tools.python.as_ref().ok_or("there is no Python")?;
    let mut server = Command::new(python);
    server.arg(tools.peers.join("aioquic_server.py")).arg("--root").arg(&folder.path);
    server.args(["--max-datagram-size", &wish.payload.to_string()]);
    server.args(wish.retry.then_some("--retry")).args(wish.v2.then_some("--v2"));
    let server = Serving::start(server)?;
    ask(programs, &folder, &server, "SHA-256 ", &wish.for_aioquic())?;
    Ok(String::new())
}

/// Our client. `key` says which line of the server tells what to trust.
fn ask(programs: &Path, folder: &Folder, server: &Serving, key: &str, wish: &Wish) -> Result<(), Failure> {
    let (path, expected) = match wish.post {
        None => ("file", folder.path.join("file")),
        Some(len) => ("echo", folder.content(len)?),
    };
    let got = folder.path.join("got");
    let mut client = Command::new(programs.join("h3-client"));
    client.args(["--pin", server.said(key)?, "--max-udp-payload", &wish.payload.to_string()]);
    client.args(["--parallel", &wish.parallel.to_string()]).arg("--output").arg(&got);
    client.args(wish.v2.then_some("--v2"));
    if wish.post.is_some() {
        client.args(["--data-binary", &format!("@{}", expected.display())]);
    }
    client.arg(format!("https://{}/{path}", server.address()?));
    capture(client, CELL_MAX)?;
    if std::fs::read(&got)? == std::fs::read(&expected)? {
        return Ok(());
    }
    Err(format!("what came has {} bytes and is not what was expected", std::fs::metadata(&got)?.len()).into())
}

fn ask_by_aioquic(tools: &Tools, folder: &Folder, server: &Serving, wish: &Wish) -> Result<(), Failure> {
    let python = tools.python.as_ref().ok_or("there is no Python")?;
    let mut client = Command::new(python);
    client.arg(tools.peers.join("aioquic_client.py"));
    client.args(["--max-datagram-size", &wish.payload.to_string()]);
    client.args(["--parallel", &wish.parallel.to_string()]);
    client.args(["--timeout", &CELL_MAX.as_secs().to_string()]);
    client.args(wish.chacha.then_some("--chacha20")).args(wish.v2.then_some("--v2"));
    client.args(wish.key_update.then_some("--key-update"));
    let path = match wish.post {
        None => {
            client.arg("--expect").arg(folder.path.join("file"));
            "file"
        }
        Some(len) => {
            client.args(["--post", &len.to_string()]);
            "echo"
        }
    };
    client.arg(format!("https://{}/{path}", server.address()?));
    capture(client, CELL_MAX).map(drop)
}

fn ask_by_chromium(tools: &Tools, server: &Serving, wish: &Wish) -> Result<(), Failure> {
    let query = match (wish.post, wish.parallel) {
        (None, _) => format!("get={FILE_LEN}"),
        (Some(len), 1) => format!("echo={len}"),
        (Some(len), count) => format!("parallel={count}&size={len}"),
    };
    // What drives it needs nothing but Python's own library.
    let mut client = Command::new("python3");
    client.arg(tools.peers.join("chromium.py"));
    client.arg(tools.chromium.as_ref().ok_or("there is no Chromium")?);
    client.args(["--spki", server.said("SPKI ")?, "--timeout", &CELL_MAX.as_secs().to_string()]);
    client.arg(format!("https://{}/?{query}", server.address()?));
    capture(client, CELL_MAX).map(drop)
}

/// Our server's counters.
fn judge(counters: &Value, wish: &Wish) -> Result<String, Failure> {
    let count = |name: &str| {
        counters[name].as_f64().ok_or_else(|| Failure::from(format!("the server's counters lack {name}")))
    };
    let (largest, over) = (count("largest_datagram_sent")?, count("datagrams_over_limit")?);
    let (batch, sent) = (count("datagrams_per_send_call")?, count("datagrams_sent")?);
    let failed = count("requests_failed")?;
    let remark = format!(
        "server: {sent} datagrams, largest {largest}, {over} over the limit of {}, {batch} per send call",
        wish.payload
    );
    let retried = count("retries")? > 0.0;
    if over > 0.0
        || largest > f64::from(wish.payload)
        || batch <= 1.0
        || failed > 0.0
        || retried != wish.retry
    {
        return Err(format!("{remark}; {failed} requests failed, a Retry was sent: {retried}").into());
    }
    Ok(remark)
}

/// What servers serve and clients write, gone when dropped.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(peers: &Path) -> Result<Self, Failure> {
        let stamp = Instant::now();
        let name = format!("interop-{}-{:?}", std::process::id(), stamp)
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        let folder = Self { path };
        std::fs::write(folder.path.join("file"), content(FILE_LEN))?;
        std::fs::copy(peers.join("page/index.html"), folder.path.join("index.html"))?;
        Ok(folder)
    }

    /// A file of so many bytes.
    fn content(&self, len: usize) -> Result<PathBuf, Failure> {
        let path = self.path.join("sent");
        std::fs::write(&path, content(len))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It lies in the folder for temporary files, where the system clears up what is left.
        std::fs::remove_dir_all(&self.path).ok();
    }
}

/// The same as in the peers' programs.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + i / 251) % 256).to_le_bytes()[0]).collect()
}
