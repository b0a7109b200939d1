//! The end that asks for a test.

use super::report::{Interval, Report};
use super::request::{Amount, Answer, Path, Request, Tally, VERSION, hear, say};
use super::traffic::{self, Meter, Work};
use super::{ALPN, SERVER_NAME, transport, usage};
use crate::cli::PerfClient;
use crate::daemon::Stop;
use crate::output::Output;
use core::time::Duration;
use mpquic::{Bind, ClientConfig, Connection, Endpoint, Pin};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

/// For each path beyond the first.
const PATH_WAIT: Duration = Duration::from_secs(10);
/// The server has this long to say what it saw.
const TALLY_WAIT: Duration = Duration::from_secs(10);
/// More lines would only scroll.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// What shells report of a program that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

pub(super) async fn run(args: &PerfClient) -> Result<ExitCode, String> {
    let out = if args.json { Output::Stderr } else { Output::Stdout };
    let mut asked = Stop::default().watch()?;
    let server = resolve(&args.server).await?;
    let binds: Vec<Bind> = if args.path.is_empty() {
        vec![any(server).into()]
    } else {
        args.path.iter().map(|path| bind(path, server)).collect::<Result<_, _>>()?
    };
    let endpoint = Endpoint::client_on(&[]).map_err(|error| format!("no endpoint: {error}"))?;
    let mut locals = Vec::new();
    for (bind, given) in binds.iter().zip(args.path.iter().map(String::as_str).chain(["the routing table"])) {
        let local = endpoint.add_socket(bind).await;
        locals.push(local.map_err(|error| {
            format!("no socket for {given}: {error}; name an address or interface of this host with --path")
        })?);
    }
    let tested = tokio::select! {
        tested = test(args, &endpoint, server, &locals, out) => tested.map(Some),
        () = asked.wait() => Ok(None),
    };
    endpoint.shutdown().await;
    let Some(report) = tested? else { return Ok(ExitCode::from(INTERRUPTED)) };
    out.write(&report.table());
    if args.json {
        Output::Stdout.write(&report.json());
    }
    Ok(ExitCode::SUCCESS)
}

async fn resolve(server: &str) -> Result<SocketAddr, String> {
    let found = tokio::net::lookup_host(server).await;
    let found = found.map_err(|error| format!("cannot find {server}: {error}; write HOST:PORT"))?;
    let mut all: Vec<SocketAddr> = found.collect();
    // A host with both is more often reached over IPv4 from several links at once.
    all.sort_by_key(SocketAddr::is_ipv6);
    all.first().copied().ok_or_else(|| format!("{server} has no address"))
}

fn any(server: SocketAddr) -> SocketAddr {
    let any =
        if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    (any, 0).into()
}

/// An address, or an interface whose traffic stays on it.
fn bind(path: &str, server: SocketAddr) -> Result<Bind, String> {
    let address =
        path.parse().map(|ip: IpAddr| SocketAddr::from((ip, 0))).or_else(|_| path.parse::<SocketAddr>());
    let Ok(address) = address else {
        return Ok(Bind { device: Some(path.to_owned()), ..any(server).into() });
    };
    if address.is_ipv4() == server.is_ipv4() {
        return Ok(address.into());
    }
    Err(format!("--path {path} and the server {server} are of different families"))
}

async fn test(
    args: &PerfClient,
    endpoint: &Endpoint,
    server: SocketAddr,
    locals: &[SocketAddr],
    out: Output,
) -> Result<Report, String> {
    let connection = connect(args, endpoint, server, locals, out).await?;
    let amount = args.bytes.map_or(Amount::Seconds(args.seconds), Amount::Bytes);
    let (up, down) = (args.bidir || !args.reverse, args.bidir || args.reverse);
    let request = Request { version: VERSION, streams: args.streams, up, down, amount };
    let told = |error: mpquic::Error| format!("the connection broke: {error}");
    let (mut to, mut from) = connection.open_bi().await.map_err(told)?;
    say(&mut to, &request).await?;
    if let Answer::Refused(why) = hear(&mut from).await? {
        return Err(format!("the server refused the test: {why}"));
    }
    let (meter, mut running) = (Arc::new(Meter::default()), JoinSet::new());
    let (began, cpu) = (Instant::now(), usage::cpu_seconds());
    for number in 0..request.streams {
        let streams = connection.open_bi().await.map_err(told)?;
        traffic::start(&mut running, streams, number, Work::of_client(&request), &meter);
    }
    let intervals = watch(args, &connection, &meter, began, &mut running, out).await?;
    let server = timeout(TALLY_WAIT, hear::<Tally>(&mut from)).await;
    let server = server.map_err(|_| "the server did not say what it saw".to_owned())??;
    let moved = meter.moved();
    let paths = connection.fresh_paths().await.map_err(told)?;
    let client = Tally {
        received_bytes: moved.received,
        received_seconds: moved.receiving().as_secs_f64(),
        cpu_seconds: usage::cpu_seconds() - cpu,
        paths: paths.iter().map(Path::of).collect(),
    };
    connection.close(0, b"done");
    Ok(Report { request, seconds: began.elapsed().as_secs_f64(), client, server, intervals })
}

async fn connect(
    args: &PerfClient,
    endpoint: &Endpoint,
    server: SocketAddr,
    locals: &[SocketAddr],
    out: Output,
) -> Result<Connection, String> {
    let config =
        ClientConfig::pinned(&[Pin::PublicKey(args.pin)], &[ALPN]).map_err(|error| error.to_string())?;
    let config = config.transport(transport(&args.choices));
    let [first, others @ ..] = locals else { return Err("there is no path".to_owned()) };
    out.write(&format!("connecting to {server}\n"));
    let connection = endpoint.connect(&config, SERVER_NAME, *first, server).await;
    let connection = connection.map_err(|error| {
        format!("no connection to {server}: {error}; is `quicbond perf server` running there, and UDP let through?")
    })?;
    for local in others {
        match timeout(PATH_WAIT, connection.open_path(*local, server, false)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("no path from {local}: {error}")),
            Err(_) => {
                return Err(format!("no path from {local}: no answer within {} s", PATH_WAIT.as_secs()));
            }
        }
    }
    let paths = if locals.len() == 1 { "one path".to_owned() } else { format!("{} paths", locals.len()) };
    out.write(&format!("connected to {server} over {paths}\n"));
    Ok(connection)
}

/// Prints a line per interval until all streams have ended.
async fn watch(
    args: &PerfClient,
    connection: &Connection,
    meter: &Meter,
    began: Instant,
    running: &mut JoinSet<Result<(), String>>,
    out: Output,
) -> Result<Vec<Interval>, String> {
    let mut tick = tokio::time::interval(args.interval.max(INTERVAL_MIN));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first tick is immediate, and there is nothing to see yet.
    tick.tick().await;
    let mut intervals = Vec::new();
    let mut last = Interval::default();
    let ended = traffic::finish(running);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            ended = &mut ended => return ended.map(|()| intervals),
            _ = tick.tick() => {
                let now = Interval::now(began.elapsed(), meter, connection);
                out.write(&now.line(&last));
                intervals.push(now.clone());
                last = now;
            }
        }
    }
}
