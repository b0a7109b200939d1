//! CONNECT: a TCP connection to a target on behalf of a tenant.

use super::session::answer;
use super::state::{Member, State};
use crate::flow::Flow;
use crate::host::own_addresses;
use crate::relay::{IDLE_MAX, relay};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use http::{Response, StatusCode};
use mpquic_h3::Request;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;

/// A target that does not answer within this time is given up.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Looking up a name.
pub(super) const LOOKUP_WAIT: Duration = Duration::from_secs(5);
/// Of the addresses of a name, so many are tried.
const ADDRESSES_MAX: usize = 6;

/// Why a target was not reached: a status (RFC 9110) and an error type (RFC 9209 §2.3).
pub(super) type Unreached = (StatusCode, &'static str);

pub(super) async fn serve(state: &Arc<State>, member: &Arc<Member>, request: Request) {
    let Some(_slot) = Slot::take(member, |usage| &usage.tcp, state.flows_max(&member.tenant)) else {
        return answer(request, StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached").await;
    };
    let Some((host, port)) = authority(&request) else {
        return answer(request, StatusCode::BAD_REQUEST, "http_request_error").await;
    };
    let target = match reach(state, &host, port).await {
        Ok(target) => target,
        Err((status, error)) => {
            tracing::debug!(tenant = %member.tenant, host, port, error, "target not reached");
            return answer(request, status, error).await;
        }
    };
    let Ok((send, receive)) = request.respond(Response::new(())).await else { return };
    state.totals.tcp_flows.fetch_add(1, Ordering::Relaxed);
    target.set_nodelay(true).ok();
    relay(target, Vec::new(), Flow::new(send, receive), IDLE_MAX, &member.usage.relayed).await;
}

/// RFC 9110 §9.3.6: the target of CONNECT is host and port, nothing else.
fn authority(request: &Request) -> Option<(String, u16)> {
    let authority = request.head.uri().authority()?;
    let port = authority.port_u16().filter(|port| *port != 0)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port))
}

async fn reach(state: &State, host: &str, port: u16) -> Result<TcpStream, Unreached> {
    let addresses = resolve(state, host, port).await?;
    let mut last = (StatusCode::BAD_GATEWAY, "destination_unavailable");
    for address in addresses {
        match tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = unreached(&error),
            Err(_) => last = (StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
        }
    }
    Err(last)
}

/// The addresses of a host that tenants may reach.
pub(super) async fn resolve(state: &State, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unreached> {
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            let looked_up = tokio::time::timeout(LOOKUP_WAIT, tokio::net::lookup_host((host, port))).await;
            match looked_up {
                Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
                Ok(Err(_)) => return Err((StatusCode::BAD_GATEWAY, "dns_error")),
                Err(_) => return Err((StatusCode::GATEWAY_TIMEOUT, "dns_timeout")),
            }
        }
    };
    // A connection to an address of this host would come from itself, past its firewall.
    let ours = own_addresses();
    let permits = |ip: IpAddr| {
        let excepted = || state.config.targets.allow.iter().any(|net| net.contains(&ip.to_canonical()));
        state.permits(ip) && (!ours.contains(&ip.to_canonical()) || excepted())
    };
    let allowed: Vec<SocketAddr> = found.into_iter().filter(|a| permits(a.ip())).collect();
    if allowed.is_empty() {
        state.totals.refused_targets.fetch_add(1, Ordering::Relaxed);
        return Err((StatusCode::FORBIDDEN, "destination_ip_prohibited"));
    }
    Ok(allowed)
}

pub(super) fn unreached(error: &io::Error) -> Unreached {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            (StatusCode::BAD_GATEWAY, "connection_refused")
        }
        io::ErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (StatusCode::BAD_GATEWAY, "destination_ip_unroutable")
        }
        _ => (StatusCode::BAD_GATEWAY, "destination_unavailable"),
    }
}

/// One of the flows that a tenant may have; given back on drop.
pub(super) struct Slot {
    member: Arc<Member>,
    count: fn(&super::state::Usage) -> &AtomicUsize,
}

impl Slot {
    pub(super) fn take(
        member: &Arc<Member>,
        count: fn(&super::state::Usage) -> &AtomicUsize,
        max: usize,
    ) -> Option<Self> {
        // One limit for TCP and UDP together.
        let before = member.usage.open();
        count(&member.usage).fetch_add(1, Ordering::Relaxed);
        let slot = Self { member: Arc::clone(member), count };
        // Dropped with the slot, the count goes down again.
        (before < max).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        (self.count)(&self.member.usage).fetch_sub(1, Ordering::Relaxed);
    }
}
