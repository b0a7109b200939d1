//! CONNECT-UDP (RFC 9298): datagrams to one target on behalf of a tenant.

use super::connect_tcp::{Slot, resolve, unreached};
use super::session::answer;
use super::state::{Member, State};
use core::sync::atomic::Ordering;
use core::time::Duration;
use http::{Response, StatusCode};
use mpquic_h3::connect_udp::{CONTEXT, Host, Target};
use mpquic_h3::{Datagrams, Request, capsule};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// RFC 4787 §4.3 asks NATs for two minutes.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Larger than any UDP payload.
const BUFFER: usize = 65_536;

pub(super) async fn serve(state: &Arc<State>, member: &Arc<Member>, request: Request) {
    let Some(_slot) = Slot::take(member, |usage| &usage.udp, state.flows_max(&member.tenant)) else {
        return answer(request, StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached").await;
    };
    let Ok(target) = Target::parse(request.head.uri().path()) else {
        return answer(request, StatusCode::BAD_REQUEST, "http_request_error").await;
    };
    let host = match &target.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    let socket = match resolve(state, &host, target.port).await {
        Ok(addresses) => connect(&addresses).await.map_err(|error| unreached(&error)),
        Err(error) => Err(error),
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err((status, error)) => return answer(request, status, error).await,
    };
    let datagrams = request.datagrams();
    let mut head = Response::new(());
    head.headers_mut().insert(capsule::HEADER, capsule::HEADER_VALUE);
    let Ok((_send, mut receive)) = request.respond(head).await else { return };
    state.totals.udp_flows.fetch_add(1, Ordering::Relaxed);
    // RFC 9298 §3.1: the flow lives as long as the request stream; its capsules are of no use to us.
    let ended = async {
        let mut capsules = [0; 1024];
        while receive.read(&mut capsules).await.is_ok_and(|n| n > 0) {}
    };
    tokio::select! {
        () = ended => {}
        () = exchange(&socket, &datagrams, member, IDLE_MAX) => {}
    }
}

async fn connect(addresses: &[SocketAddr]) -> std::io::Result<UdpSocket> {
    let mut last = std::io::Error::from(std::io::ErrorKind::HostUnreachable);
    for address in addresses {
        let any: SocketAddr = if address.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let connected = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await.map(|()| socket)
        };
        match connected.await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn exchange(socket: &UdpSocket, datagrams: &Datagrams, member: &Member, idle: Duration) {
    let mut buffer = vec![0; BUFFER];
    let mut last = Instant::now();
    loop {
        tokio::select! {
            received = socket.recv(&mut buffer) => {
                // Errors are ICMP answers to something sent: the target may still come up.
                let Ok(len) = received else { continue };
                last = Instant::now();
                member.usage.udp_down.fetch_add(len as u64, Ordering::Relaxed);
                // A datagram that does not fit or finds no room is lost, as datagrams may be.
                datagrams.send(CONTEXT, &buffer[..len]).ok();
            }
            arrived = datagrams.recv() => {
                let Some((context, payload)) = arrived else { return };
                if context != CONTEXT {
                    continue;
                }
                last = Instant::now();
                member.usage.udp_up.fetch_add(payload.len() as u64, Ordering::Relaxed);
                socket.send(&payload).await.ok();
            }
            () = tokio::time::sleep_until(last + idle) => return,
        }
    }
}
