//! The two ends of the tunnel: with which words `quicbond server` and `quicbond client` are started.
//!
//! The one place that knows their command lines and the server's configuration file.

use super::args::Mode;
use super::child::Daemon;
use super::guard::guarded;
use super::place::{Place, ROOM};
use super::topology::{ROUTER_LAN, SERVER, TARGETS};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SERVER_PORT: u16 = 443;
pub(super) const SOCKS_PORT: u16 = 1080;
/// A handshake over the slowest profile takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const ROUND: Duration = Duration::from_millis(5);

/// Running ends; they stop when this is dropped.
pub(super) struct Tunnel {
    client: Daemon,
    server: Daemon,
}

impl Tunnel {
    pub(super) fn start(
        internet: &Place,
        router: &Place,
        mode: Mode,
        logs: Option<&Path>,
    ) -> io::Result<Self> {
        let folder = Path::new(ROOM).join("server");
        let token = enrol(internet, &folder)?;
        let config = folder.join("server.toml");
        let words = ["server".into(), "run".into(), "--config".into(), config.into_os_string()];
        let mut server = Daemon::start("server", internet, quicbond(&words)?, logs)?;
        wait_for_port(internet, &mut server)?;
        let mut client = Daemon::start("client", router, quicbond(&client_words(mode, &token))?, logs)?;
        client.wait_for("that it is ready", PATIENCE, |line| (line.trim() == "ready").then_some(()))?;
        Ok(Self { client, server })
    }

    /// What is wrong with the tunnel, if an end of it is gone.
    pub(super) fn trouble(&mut self) -> Option<io::Error> {
        [&mut self.client, &mut self.server].into_iter().find_map(|daemon| {
            let status = daemon.ended()?;
            Some(daemon.failure(&format!("ended too early ({status})")))
        })
    }

    /// The client first, so that it can say goodbye.
    pub(super) fn stop(self) {
        self.client.stop();
        self.server.stop();
    }
}

/// What the command needs to know to use the tunnel.
pub(super) fn environment(mode: Mode) -> Vec<(String, String)> {
    if mode != Mode::Socks {
        return Vec::new();
    }
    let proxy = format!("socks5h://{ROUTER_LAN}:{SOCKS_PORT}");
    ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"]
        .into_iter()
        .flat_map(|name| [(name.to_owned(), proxy.clone()), (name.to_lowercase(), proxy.clone())])
        .collect()
}

fn client_words(mode: Mode, token: &str) -> Vec<OsString> {
    let state = PathBuf::from(ROOM).join("client").into_os_string();
    let listen = format!("{ROUTER_LAN}:{SOCKS_PORT}");
    match mode {
        Mode::Lan | Mode::Host => {
            vec!["client".into(), "up".into(), token.into(), "--state-dir".into(), state]
        }
        Mode::Socks => vec!["client".into(), "socks".into(), "--listen".into(), listen.into(), token.into()],
    }
}

/// Makes the server's configuration and returns the client's token.
fn enrol(internet: &Place, folder: &Path) -> io::Result<String> {
    let address = format!("{SERVER}:{SERVER_PORT}");
    let words = [
        "server".into(),
        "init".into(),
        "--dir".into(),
        folder.as_os_str().to_owned(),
        "--address".into(),
        address.into(),
    ];
    let mut init = Daemon::start("server init", internet, quicbond(&words)?, None)?;
    let token = init.wait_for("the token", PATIENCE, |line| {
        line.trim().strip_prefix("token:").map(|token| token.trim().to_owned())
    })?;
    init.wait_for("goodbye", PATIENCE, |_| None::<()>).ok();
    let config = folder.join("server.toml");
    internet.run(move || allow_targets(&config))??;
    Ok(token)
}

/// The lab's target has addresses that are reserved for documentation, which a server refuses unless told otherwise.
fn allow_targets(config: &Path) -> io::Result<()> {
    let text = fs::read_to_string(config)?;
    let wrong = |e: &dyn core::fmt::Display| io::Error::other(format!("{}: {e}", config.display()));
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| wrong(&e))?;
    let targets = table.entry("targets").or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let Some(targets) = targets.as_table_mut() else { return Err(wrong(&"`targets` is no table")) };
    let allowed = TARGETS.iter().map(|&net| toml::Value::from(net)).collect();
    targets.insert("allow".to_owned(), toml::Value::Array(allowed));
    fs::write(config, toml::to_string(&table).map_err(|e| wrong(&e))?)
}

/// Waits until the server has its UDP socket.
fn wait_for_port(internet: &Place, server: &mut Daemon) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let port = format!(":{SERVER_PORT:04X} ");
    loop {
        let port = port.clone();
        let open = internet.run(move || {
            let table = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            ["udp", "udp6"].iter().any(|name| table(name).is_ok_and(|table| table.contains(&port)))
        })?;
        if open {
            return Ok(());
        }
        if let Some(status) = server.ended() {
            sleep(ROUND * 4);
            return Err(server.failure(&format!("ended ({status}) before it listened")));
        }
        if Instant::now() >= deadline {
            return Err(server.failure(&format!("does not listen on UDP port {SERVER_PORT}")));
        }
        sleep(ROUND);
    }
}

fn quicbond(words: &[OsString]) -> io::Result<Command> {
    guarded(std::env::current_exe()?.as_os_str(), words)
}
