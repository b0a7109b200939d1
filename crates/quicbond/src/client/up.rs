//! `quicbond client up`: all traffic of this machine and of the network behind it goes through the tunnel.
//!
//! Owns the order in which things are made and put back. Everything that is changed is in the journal first.

use super::ip::{Attachment, attach};
use super::{Base, STATE_FILE, status, tcp};
use crate::config;
use crate::control::Socket;
use crate::daemon::{Asked, Stop};
use crate::host::{
    ClientRouting, Dns, Error, Journal, Link, RedirectListeners, Tun, bind_redirect_listeners,
    check_privilege, lan_interfaces, links,
};
use crate::ip::Lane;
use crate::output::Output;
use crate::relay;
use crate::token::Token;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Until the paths have told what they carry.
const FIRST_MTU: u16 = 1280;

pub(super) async fn run(config: &config::Client, token: Token) -> Result<(), String> {
    let stop = Stop::default();
    let mut asked = stop.watch()?;
    check_privilege("`client up` changes routes and the firewall")
        .map_err(|error| format!("{error}; `quicbond client socks` needs no privileges"))?;
    let control = Socket::bind(&config.control).map_err(|error| error.to_string())?;
    let mut journal =
        Journal::open(&config.state_dir.join(STATE_FILE)).await.map_err(|error| error.to_string())?;
    let started = tokio::select! {
        started = Base::start(config, token, Some(config.mark)) => started.map(Some),
        () = asked.wait() => Ok(None),
    };
    let base = match started {
        Ok(Some(base)) => base,
        ended => {
            journal.undo_all().await.map_err(|error| error.to_string())?;
            return ended.map(drop);
        }
    };
    let ended = carry(config, &base, &mut journal, (control, stop), &mut asked).await;
    // First the way back to how it was, then the goodbye to the server.
    let restored = journal.undo_all().await.map_err(|error| error.to_string());
    base.end().await;
    ended.and(restored)
}

/// Makes the changes and carries packets, until somebody asks for the end.
async fn carry(
    config: &config::Client,
    base: &Base,
    journal: &mut Journal,
    (control, stop): (Socket, Stop),
    asked: &mut Asked,
) -> Result<(), String> {
    let traffic = Arc::new(relay::Counters::default());
    let facts = status::Facts::new(
        base,
        Some(config.interface.clone()),
        status::Traffic::Lane(Arc::clone(&traffic)),
        status::Meter::start(&base.view),
    );
    let lane = facts.lane();
    tokio::spawn(control.serve(status::handler(facts, stop)));
    let attachment = tokio::select! {
        attached = first_attachment(config, base) => attached?,
        () = asked.wait() => return Ok(()),
    };
    // Not to be interrupted: a change that is half made cannot be taken back.
    let (device, routing) = change(config, base, journal, &attachment.addresses, &traffic).await?;
    Output::Stdout.write("ready\n");
    tracing::info!(interface = config.interface, addresses = ?attachment.addresses, "the tunnel is up");
    tokio::select! {
        ended = exchange(config, base, journal, (&device, &routing), (attachment, &lane)) => ended,
        () = asked.wait() => Ok(()),
    }
}

async fn first_attachment(config: &config::Client, base: &Base) -> Result<Attachment, String> {
    let session = base.first_session().await?;
    attach(&base.tunnel, &session, &[], config.ipv6).await
}

/// Turns the traffic of this machine into the tunnel.
async fn change(
    config: &config::Client,
    base: &Base,
    journal: &mut Journal,
    addresses: &[IpAddr],
    traffic: &Arc<relay::Counters>,
) -> Result<(Tun, ClientRouting), String> {
    let told = |error: Error| error.to_string();
    let device = open_device(&config.interface, addresses).await.map_err(told)?;
    let listeners = if config.tcp_lane { Some(bind_redirect_listeners().map_err(told)?) } else { None };
    let links: Vec<Link> = links(&[&config.interface]).await.map_err(told)?;
    let named = config.links.iter().chain(&config.exclude).chain([&config.interface]);
    // Whatever leads elsewhere, or was named as a link, is no LAN, also while it has no default route.
    let others: Vec<&str> = links.iter().map(|link| &link.name).chain(named).map(String::as_str).collect();
    let routing = ClientRouting {
        tun: config.interface.clone(),
        mark: config.mark,
        table: config.table,
        priority: config.priority,
        tcp_port: listeners.as_ref().map(|listeners| listeners.port),
        v6: config.ipv6 && addresses.iter().any(IpAddr::is_ipv6),
        lan: lan_interfaces(&others),
    };
    if let Some(listeners) = listeners {
        serve_tcp(listeners, base, traffic)?;
    }
    routing.apply(journal).await.map_err(told)?;
    if !config.dns.is_empty() {
        Dns::new(config.dns.clone()).apply(journal).await.map_err(told)?;
    }
    Ok((device, routing))
}

/// Carries packets over one session after the other.
async fn exchange(
    config: &config::Client,
    base: &Base,
    journal: &mut Journal,
    (device, routing): (&Tun, &ClientRouting),
    (first, lane): (Attachment, &Mutex<Option<Arc<Lane>>>),
) -> Result<(), String> {
    let mut addresses = first.addresses.clone();
    let mut attached = Some(first);
    let mut links = base.links.clone();
    loop {
        let current = match attached.take() {
            Some(attachment) => attachment,
            None => {
                let attachment = reattach(base, &addresses, config.ipv6).await;
                if attachment.addresses != addresses {
                    tracing::warn!(got = ?attachment.addresses, had = ?addresses, "the server gave other addresses");
                    device
                        .readdress(&hosts(&attachment.addresses))
                        .await
                        .map_err(|error| error.to_string())?;
                    addresses.clone_from(&attachment.addresses);
                }
                attachment
            }
        };
        *crate::lock::lock(lane) = Some(Arc::clone(&current.lane));
        let mut running = core::pin::pin!(current.run(device));
        loop {
            tokio::select! {
                ended = &mut running => {
                    ended.map_err(|error| format!("the tunnel's device failed: {error}"))?;
                    break;
                }
                () = admit_links(&mut links, routing, journal) => {}
            }
        }
    }
}

async fn open_device(name: &str, addresses: &[IpAddr]) -> Result<Tun, Error> {
    Tun::open(name, FIRST_MTU, &hosts(addresses)).await
}

/// Each address as a network of its own.
fn hosts(addresses: &[IpAddr]) -> Vec<IpNet> {
    addresses.iter().map(|ip| IpNet::from(*ip)).collect()
}

/// Asks again until a session grants the addresses that the device has: flows of the datagram lane hang on them.
async fn reattach(base: &Base, addresses: &[IpAddr], v6: bool) -> Attachment {
    loop {
        let Some(session) = base.tunnel.session().await else { core::future::pending().await };
        match attach(&base.tunnel, &session, addresses, v6).await {
            Ok(attachment) => return attachment,
            Err(error) => {
                tracing::warn!("{error}");
                tokio::time::sleep(core::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// New links need their reverse path filter loosened.
async fn admit_links(links: &mut watch::Receiver<Vec<Link>>, routing: &ClientRouting, journal: &mut Journal) {
    if links.changed().await.is_err() {
        return core::future::pending().await;
    }
    let now = links.borrow_and_update().clone();
    for link in now {
        if let Err(error) = routing.admit_link(&link.name, journal).await {
            tracing::warn!(link = link.name, %error, "the link may not receive all its packets");
        }
    }
}

fn serve_tcp(
    listeners: RedirectListeners,
    base: &Base,
    traffic: &Arc<relay::Counters>,
) -> Result<(), String> {
    let RedirectListeners { v4, v6, .. } = listeners;
    for listener in [Some(v4), v6].into_iter().flatten() {
        let listener = TcpListener::from_std(listener).map_err(|error| format!("TCP lane: {error}"))?;
        tokio::spawn(tcp::serve(listener, base.tunnel.clone(), Arc::clone(traffic)));
    }
    Ok(())
}
