//! `quicbond server run`: the other end of all tunnels.
//!
//! Owns starting and stopping. `session` is one client, `state` what all share, `connect_*` the three kinds of request,
//! `pool` the inner addresses, `status` what is told about all of it.

mod connect_ip;
mod connect_tcp;
mod connect_udp;
mod pool;
mod session;
mod state;
mod status;
mod strangers;

use crate::cli::Run;
use crate::config;
use crate::control::{Request, Response, Socket};
use crate::daemon::{self, Asked, Stop};
use crate::host::{Journal, ServerRouting, Tun, check_privilege};
use crate::logging;
use crate::output::Output;
use crate::tenants::Tenants;
use aws_lc_rs::hmac;
use connect_ip::Device;
use core::time::Duration;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mpquic::{Bind, Endpoint, Identity, ServerConfig};
use state::State;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Sets this use of the private key apart from every other.
const SECRET_PURPOSE: &[u8] = b"quicbond tokens and stateless resets v1";
/// How often the file of tenants is looked at, besides when somebody says that it changed.
const TENANTS_EVERY: Duration = Duration::from_secs(2);
/// The device takes packets of any usual size; what the paths carry is told by ICMP.
const DEVICE_MTU: u16 = 1500;
/// Beyond this, connections are ignored until some end. Those without a proof are far fewer.
const CONNECTIONS_MAX: usize = 70_000;

pub(crate) fn run(args: &Run) -> ExitCode {
    let begun = config::load::<config::Server>(&args.config).map_err(|problems| problems.to_string());
    let begun = begun.and_then(|mut config| {
        if args.log_json {
            config.log.format = "json";
        }
        logging::start(&config.log).map(|()| config)
    });
    daemon::run(async move { serve(begun?).await })
}

async fn serve(config: config::Server) -> Result<(), String> {
    let stop = Stop::default();
    let asked = stop.watch()?;
    check_privilege("`server run` makes a network device and firewall rules")
        .map_err(|error| error.to_string())?;
    let tenants = Tenants::load(&config.tenants).map_err(|problems| problems.to_string())?;
    let identity = identity(&config)?;
    let control = Socket::bind(&config.control).map_err(|error| error.to_string())?;
    let endpoint = listen(&config, identity).await?;
    let mut journal =
        Journal::open(&config.control.with_extension("state")).await.map_err(|error| error.to_string())?;
    let opened = open_device(&config, &mut journal).await;
    let ended = match opened {
        Ok(device) => {
            let state = Arc::new(State::new(config, tenants));
            serve_clients(&state, &device, &endpoint, control, (stop, asked)).await
        }
        Err(why) => Err(why),
    };
    endpoint.shutdown().await;
    let restored = journal.undo_all().await.map_err(|error| error.to_string());
    ended.and(restored)
}

async fn serve_clients(
    state: &Arc<State>,
    device: &Arc<Device>,
    endpoint: &Endpoint,
    control: Socket,
    (stop, mut asked): (Stop, Asked),
) -> Result<(), String> {
    let meter = status::Meter::start(state);
    let handler = {
        let (state, stop, meter) = (Arc::clone(state), stop.clone(), Arc::clone(&meter));
        move |request| match request {
            Request::Status => Response::Status(Box::new(status::status(&state, &meter))),
            Request::Reload => reload(&state),
            Request::Stop => {
                stop.now();
                Response::Done { message: "stopping".to_owned() }
            }
        }
    };
    tokio::spawn(control.serve(handler));
    for address in endpoint.local_addrs() {
        tracing::info!(%address, "serving");
    }
    Output::Stdout.write("ready\n");
    tokio::select! {
        () = asked.wait() => Ok(()),
        () = accept(state, device, endpoint) => Err("the endpoint ended".to_owned()),
        ended = device.distribute(state) => Err(match ended {
            Ok(()) => "the tunnel's device ended".to_owned(),
            Err(error) => format!("the tunnel's device failed: {error}"),
        }),
        () = watch_tenants(state) => Ok(()),
    }
}

async fn accept(state: &Arc<State>, device: &Arc<Device>, endpoint: &Endpoint) {
    while let Some(connection) = endpoint.accept().await {
        tokio::spawn(session::serve(Arc::clone(state), Arc::clone(device), connection));
    }
}

async fn watch_tenants(state: &State) {
    loop {
        tokio::time::sleep(TENANTS_EVERY).await;
        if let Response::Failed { why } = reload(state) {
            tracing::warn!("{why}; the tenants stay as they were");
        }
    }
}

fn reload(state: &State) -> Response {
    let reloaded = state.tenants().reload_if_changed();
    match reloaded {
        Ok(changed) => {
            if changed {
                tracing::info!("tenants read again");
                state.expel();
            }
            Response::Done { message: "the tenants are up to date".to_owned() }
        }
        Err(problems) => Response::Failed { why: problems.to_string() },
    }
}

fn identity(config: &config::Server) -> Result<Identity, String> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            format!("{}: {error}; `quicbond server init` makes key and certificate", path.display())
        })
    };
    let (chain, key) = (read(&config.certificate)?, read(&config.key)?);
    Identity::from_pem(&chain, &key).map_err(|error| format!("{}: {error}", config.certificate.display()))
}

/// Sockets on all the addresses of the configuration. A host without IPv6 does without those.
async fn listen(config: &config::Server, identity: Identity) -> Result<Endpoint, String> {
    let transport =
        daemon::transport(&config.transport, config.limits.idle_timeout, config.limits.session_buffer);
    // Kept over restarts without being kept anywhere: clients of the last run learn at once that it is over.
    let key = hmac::Key::new(hmac::HMAC_SHA256, identity.private_key());
    let mut secret = [0; 32];
    secret.copy_from_slice(hmac::sign(&key, SECRET_PURPOSE).as_ref());
    let server = ServerConfig::with_secret(identity, &[mpquic_h3::ALPN], secret)
        .map_err(|error| error.to_string())?
        .transport(transport)
        .max_connections(CONNECTIONS_MAX)
        .shards(u16::try_from(config.threads).unwrap_or(1));
    let endpoint = Endpoint::server_on(server, &[]).map_err(|error| format!("no endpoint: {error}"))?;
    for address in &config.listen {
        match endpoint.add_socket(&Bind::from(*address)).await {
            Ok(_) => {}
            Err(error) if address.is_ipv6() && lacks_ipv6(&error) => {
                tracing::warn!(%address, "this host has no IPv6: not listening there");
            }
            Err(error) => return Err(explain_listen(*address, &error)),
        }
    }
    if endpoint.local_addrs().is_empty() {
        return Err("no address of `listen` can be used on this host".to_owned());
    }
    Ok(endpoint)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(nix::errno::Errno::EAFNOSUPPORT as i32) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn explain_listen(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "UDP {address} is in use: stop the other program (`ss -ulpn` names it) or change `listen` in the configuration"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "UDP {address} needs root or CAP_NET_BIND_SERVICE: run as root, or `listen` on a port from 1024 on"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this host: change `listen` in the configuration")
        }
        _ => format!("UDP {address}: {error}"),
    }
}

async fn open_device(config: &config::Server, journal: &mut Journal) -> Result<Arc<Device>, String> {
    let told = |error: crate::host::Error| error.to_string();
    let network = &config.network;
    let (v4, v6) = (network.server_v4(), network.server_v6());
    let own = [
        Ipv4Net::new(v4, network.ipv4.prefix_len()).map(IpNet::V4),
        Ipv6Net::new(v6, network.ipv6.prefix_len()).map(IpNet::V6),
    ];
    let own: Vec<IpNet> = own.into_iter().flatten().collect();
    let tun = Tun::open(&network.interface, DEVICE_MTU, &own).await.map_err(told)?;
    let routing = ServerRouting {
        egress: Vec::new(),
        tun: network.interface.clone(),
        v4_pool: network.ipv4,
        v6_pool: Some(network.ipv6),
        nat: network.nat,
        allow: config.targets.exceptions(),
        between_tenants: false,
    };
    routing.apply(journal).await.map_err(told)?;
    Ok(Arc::new(Device { tun, v4, v6 }))
}
