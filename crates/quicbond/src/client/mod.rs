//! `quicbond client`: up, down and socks.
//!
//! `session` keeps the connection to the server over the links in `paths`; `tunnel` is the door through which flows go;
//! `tcp`, `ip` and `socks` are the three ways in. What is changed on this machine is in `up`.

mod dial;
mod doubt;
mod ip;
mod paths;
mod session;
mod socks;
mod status;
mod tcp;
mod tunnel;
mod up;

use crate::cli::{Down, Socks, Up};
use crate::config;
use crate::control::{self, AskError, Request, Response, Socket};
use crate::daemon::{self, Stop};
use crate::host::{Journal, Link, LinkWatch};
use crate::logging;
use crate::output::Output;
use crate::token::Token;
use core::time::Duration;
use mpquic::{ClientConfig, Endpoint, Pin};
use session::{Keeper, Shared, Trouble};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tunnel::{Session, Tunnel};

/// A session survives so long without any link, unless the server's `idle_timeout` is shorter.
const SESSION_IDLE: Duration = Duration::from_secs(120);
/// Looking up the server's name.
const LOOKUP_WAIT: Duration = Duration::from_secs(10);
/// `down` waits for a running client to put everything back.
const DOWN_WAIT: Duration = Duration::from_secs(10);
const DOWN_ROUND: Duration = Duration::from_millis(50);
/// The file in the state folder that says what has to be put back.
const STATE_FILE: &str = "client.state";

pub(crate) fn up(args: &Up) -> ExitCode {
    let begun = args.config().and_then(logged);
    daemon::run(async move {
        let (config, token) = begun?;
        up::run(&config, token).await
    })
}

pub(crate) fn down(args: &Down) -> ExitCode {
    let (state, control) = (args.state_dir.join(STATE_FILE), args.control.clone());
    daemon::run(async move { take_down(&state, &control).await })
}

pub(crate) fn socks(args: &Socks) -> ExitCode {
    let begun = args.config().and_then(logged);
    // Users without privileges have no place for a control socket unless they name one.
    let (listen, control) = (args.listen, args.control.clone());
    daemon::run(async move {
        let (config, token) = begun?;
        serve_socks(&config, token, listen, control.as_deref()).await
    })
}

/// Starts the log on the way.
fn logged(begun: (config::Client, Token)) -> Result<(config::Client, Token), String> {
    logging::start(&begun.0.log).map(|()| begun)
}

/// Asks a running client to stop; puts back what one that was killed has left.
async fn take_down(state: &Path, control: &Path) -> Result<(), String> {
    match control::ask(control, Request::Stop) {
        Ok(Response::Failed { why }) => return Err(why),
        Ok(_) => {
            let tries = DOWN_WAIT.as_millis() / DOWN_ROUND.as_millis();
            for _ in 0..tries {
                if !state.exists() && !control.exists() {
                    Output::Stdout.write("the client is down\n");
                    return Ok(());
                }
                tokio::time::sleep(DOWN_ROUND).await;
            }
            return Err("the client was told to stop but has not ended; look at its log".to_owned());
        }
        Err(AskError::NobodyThere) => {}
        Err(error) => return Err(error.to_string()),
    }
    let undone = Journal::recover(state).await.map_err(|error| error.to_string())?;
    Output::Stdout.write(&match undone {
        0 => "no client is running and nothing was left behind\n".to_owned(),
        n => format!("no client was running; {n} changes that one left behind were undone\n"),
    });
    Ok(())
}

/// What `up` and `socks` have in common: a session that is kept alive.
pub(super) struct Base {
    pub(super) token: Token,
    pub(super) tunnel: Tunnel,
    pub(super) endpoint: Endpoint,
    pub(super) view: Shared,
    pub(super) links: watch::Receiver<Vec<Link>>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Base {
    /// Begins to connect. `mark` is for sockets whose packets must not enter the tunnel.
    pub(super) async fn start(
        config: &config::Client,
        token: Token,
        mark: Option<u32>,
    ) -> Result<Self, String> {
        let watched = LinkWatch::start(core::slice::from_ref(&config.interface))
            .await
            .map_err(|error| error.to_string())?;
        let links = follow_links(watched, config.links.clone(), config.exclude.clone());
        let servers = resolve(&token).await?;
        let endpoint = Endpoint::client_on(&[]).map_err(|error| format!("no endpoint: {error}"))?;
        let pin = Pin::PublicKey(token.pin);
        let transport = daemon::transport(&config.transport, SESSION_IDLE, config.limits.session_buffer);
        let trusted = ClientConfig::pinned(&[pin], &[mpquic_h3::ALPN]).map_err(|error| error.to_string())?;
        let (publish, sessions) = watch::channel::<Option<Session>>(None);
        let view = Shared::default();
        let keeper = Keeper {
            endpoint: endpoint.clone(),
            config: trusted.transport(transport),
            token: token.clone(),
            links: links.clone(),
            paths: paths::Paths::new(endpoint.clone(), servers, mark),
            publish,
            view: Arc::clone(&view),
        };
        let tunnel = Tunnel::new(sessions, config.limits.flows as usize);
        Ok(Self { token, tunnel, endpoint, view, links, keeper: tokio::spawn(keeper.run()) })
    }

    /// The first session. Trouble that lasts is an error; trouble that may pass is waited out, and is in the log.
    pub(super) async fn first_session(&self) -> Result<Session, String> {
        loop {
            tokio::select! {
                session = self.tunnel.session() => {
                    return session.ok_or_else(|| "the session ended before it began".to_owned());
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            let trouble = crate::lock::lock(&self.view).trouble.clone();
            if let Some(Trouble::Lasting(why)) = trouble {
                return Err(why);
            }
        }
    }

    pub(super) async fn end(self) {
        self.keeper.abort();
        self.endpoint.shutdown().await;
    }
}

/// The links that are to be used, as they come and go.
fn follow_links(mut watched: LinkWatch, only: Vec<String>, never: Vec<String>) -> watch::Receiver<Vec<Link>> {
    let chosen = move |all: Vec<Link>| -> Vec<Link> {
        let wanted =
            |link: &Link| (only.is_empty() || only.contains(&link.name)) && !never.contains(&link.name);
        all.into_iter().filter(wanted).collect()
    };
    let (tell, links) = watch::channel(chosen(watched.now()));
    tokio::spawn(async move {
        loop {
            let now = tokio::select! {
                links = watched.changed() => chosen(links),
                () = tell.closed() => return,
            };
            tell.send_if_modified(|before| {
                let differs = *before != now;
                *before = now;
                differs
            });
        }
    });
    links
}

/// The server's addresses, looked up before the tunnel takes all traffic.
async fn resolve(token: &Token) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = (token.server.host(), token.server.port());
    if let Some(ip) = token.server.ip() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let advice = "check the network's resolver, or make a token with an address: quicbond server tenant add";
    let found = tokio::time::timeout(LOOKUP_WAIT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| format!("the server's name {host} was not resolved in time: {advice}"))?
        .map_err(|error| format!("the server's name {host} cannot be resolved ({error}): {advice}"))?;
    // IPv4 first: the links' usual family.
    let mut all: Vec<SocketAddr> = found.collect();
    all.sort_by_key(SocketAddr::is_ipv6);
    if all.is_empty() {
        return Err(format!("the server's name {host} has no address: {advice}"));
    }
    Ok(all)
}

async fn serve_socks(
    config: &config::Client,
    token: Token,
    listen: SocketAddr,
    control: Option<&Path>,
) -> Result<(), String> {
    let stop = Stop::default();
    let mut asked = stop.watch()?;
    let listener = TcpListener::bind(listen).await.map_err(|error| explain_listen(listen, &error))?;
    let control = control.map(Socket::bind).transpose().map_err(|error| error.to_string())?;
    let base = tokio::select! {
        base = Base::start(config, token, None) => base?,
        () = asked.wait() => return Ok(()),
    };
    let traffic = Arc::new(socks::Counters::default());
    let meter = status::Meter::start(&base.view);
    if let Some(control) = control {
        let facts = status::Facts::new(&base, None, status::Traffic::Socks(Arc::clone(&traffic)), meter);
        tokio::spawn(control.serve(status::handler(facts, stop.clone())));
    }
    let proxy = async {
        base.first_session().await?;
        Output::Stdout.write("ready\n");
        let tunnel = base.tunnel.clone();
        let limits =
            socks::Settings { connections: config.limits.flows as usize, ..socks::Settings::default() };
        socks::serve(listener, tunnel, limits, traffic).await;
        Ok(())
    };
    let ended = tokio::select! {
        ended = proxy => ended,
        () = asked.wait() => Ok(()),
    };
    base.end().await;
    ended
}

fn explain_listen(address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "TCP {address} is in use: stop the other program (`ss -tlpn` names it) or choose another --listen"
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("TCP {address} needs root: choose a port from 1024 on")
        }
        _ => format!("TCP {address}: {error}; choose another --listen"),
    }
}
