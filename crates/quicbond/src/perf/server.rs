//! The end that waits for tests.

use super::report::{self, Served};
use super::request::{Answer, Path, Request, Tally, hear, say};
use super::traffic::{self, Meter, Work};
use super::{ALPN, SERVER_NAME, transport, usage};
use crate::cli::PerfServer;
use crate::daemon::Stop;
use crate::output::Output;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use mpquic::{Bind, Connection, Endpoint, Identity, ServerConfig};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Beside iperf3's 5201, so that both can run.
const PORT: u16 = 5210;
/// A client has this long to say what it wants.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// Clients that are told that a test is running, at once.
const CONNECTIONS_MAX: usize = 64;

pub(super) async fn run(args: &PerfServer) -> Result<ExitCode, String> {
    let identity = Identity::self_signed(&[SERVER_NAME]).map_err(|error| error.to_string())?;
    let pin = identity.public_key_fingerprint().map_err(|error| error.to_string())?;
    let config = ServerConfig::new(identity, &[ALPN])
        .map_err(|error| error.to_string())?
        .transport(transport(&args.choices))
        .max_connections(CONNECTIONS_MAX);
    let endpoint = listen(config, &args.listen).await?;
    let addresses = endpoint.local_addrs();
    Output::Stdout.write(&if args.json {
        report::listening_json(&addresses, &pin)
    } else {
        report::listening(&addresses, &pin)
    });
    let mut asked = Stop::default().watch()?;
    let (busy, mut serving) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    loop {
        tokio::select! {
            connection = endpoint.accept() => {
                let connection = connection.ok_or("the endpoint stopped")?;
                serving.spawn(serve(connection, Arc::clone(&busy), args.json));
            }
            Some(ended) = serving.join_next() => {
                if args.once && matches!(ended, Ok(true)) {
                    break;
                }
            }
            _ = asked.wait() => break,
        }
    }
    endpoint.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

async fn listen(config: ServerConfig, wanted: &[SocketAddr]) -> Result<Endpoint, String> {
    let endpoint = Endpoint::server_on(config, &[]).map_err(|error| format!("no endpoint: {error}"))?;
    let everywhere = [(Ipv4Addr::UNSPECIFIED, PORT).into(), (Ipv6Addr::UNSPECIFIED, PORT).into()];
    let any = wanted.is_empty();
    let mut last = None;
    for address in if any { &everywhere[..] } else { wanted } {
        if let Err(error) = endpoint.add_socket(&Bind::from(*address)).await {
            let told = format!("cannot wait on UDP {address}: {error}; choose another with --listen");
            // A host without IPv6 still has the other.
            if !any || address.is_ipv4() {
                return Err(told);
            }
            last = Some(told);
        }
    }
    if endpoint.local_addrs().is_empty() {
        return Err(last.unwrap_or_else(|| "there is no address to wait on".to_owned()));
    }
    Ok(endpoint)
}

/// One connection; `true` if a test was made.
async fn serve(connection: Connection, busy: Arc<AtomicBool>, json: bool) -> bool {
    let peer = connection.peer_address().map_or_else(String::new, |peer| peer.to_string());
    let ended = test(&connection, &busy).await;
    // The client closes when it has read the tally.
    timeout(REQUEST_WAIT, connection.closed()).await.ok();
    connection.close(0, b"done");
    match ended {
        Ok(Some(test)) => {
            let written = if json { test.json(&peer) } else { test.line(&peer) };
            Output::Stdout.write(&written);
            true
        }
        Ok(None) => false,
        Err(why) => {
            Output::Stderr.write(&format!("{peer}: {why}\n"));
            false
        }
    }
}

/// Frees the server for the next test, however this one ends.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The test that the client asks for; none if it cannot be made.
async fn test(connection: &Connection, busy: &AtomicBool) -> Result<Option<Served>, String> {
    let hello = async {
        let (to, mut from) = connection.accept_bi().await.map_err(|error| error.to_string())?;
        let request: Request = hear(&mut from).await?;
        Ok::<_, String>((to, request))
    };
    let (mut to, request) =
        timeout(REQUEST_WAIT, hello).await.map_err(|_| "the client asked for nothing".to_owned())??;
    let free = !busy.swap(true, Ordering::AcqRel);
    let turn = free.then(|| Turn(busy));
    let checked =
        if turn.is_some() { request.check() } else { Err("the server is busy with another test".into()) };
    if let Err(why) = checked {
        say(&mut to, &Answer::Refused(why)).await?;
        to.finish().map_err(|error| error.to_string())?;
        return Ok(None);
    }
    let cpu = usage::cpu_seconds();
    say(&mut to, &Answer::Go).await?;
    let (meter, mut running) = (Arc::new(Meter::default()), JoinSet::new());
    let work = Work::of_server(&request);
    for number in 0..request.streams {
        let streams = connection.accept_bi().await.map_err(|error| error.to_string())?;
        traffic::start(&mut running, streams, number, work, &meter);
    }
    traffic::finish(&mut running).await?;
    let moved = meter.moved();
    let paths = connection.fresh_paths().await.map_err(|error| error.to_string())?;
    let tally = Tally {
        received_bytes: moved.received,
        received_seconds: moved.receiving().as_secs_f64(),
        cpu_seconds: usage::cpu_seconds() - cpu,
        paths: paths.iter().map(Path::of).collect(),
    };
    say(&mut to, &tally).await?;
    // The client may close as soon as it has read this.
    to.finish().ok();
    to.finished().await.ok();
    Ok(Some(Served { request, written: moved.written, tally }))
}
