//! CONNECT-IP (RFC 9484): a tenant's own addresses, and all its packets that are not TCP flows.
//!
//! Owns the one device that all sessions share: what comes out of it goes to the session whose inner address it is for.

use super::session::answer;
use super::state::{Lease, Member, State};
use crate::host::{Outgoing, Packets, Tun};
use crate::ip::{
    Admits, Batch, CAPSULES_WAITING, Inward, Lane, ORDER_HEADER, Sent, next_configuration, read_capsules,
    send_capsules,
};
use core::time::Duration;
use http::{HeaderValue, Response, StatusCode};
use ipnet::IpNet;
use mpquic_bond::icmp;
use mpquic_bond::packet::Packet;
use mpquic_bond::sources::{self, Prefixes};
use mpquic_h3::capsule::{self, Capsules};
use mpquic_h3::connect_ip::{
    AssignedAddress, Configuration, IpRange, LIMITS, Prefix, RequestedAddress, Scope,
};
use mpquic_h3::{BodySender, Request};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A client that wants certain addresses says so within this time.
const WISH_WAIT: Duration = Duration::from_secs(10);

/// The server's end of all tunnels.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) tun: Tun,
    /// Our own inner addresses, from which ICMP answers come.
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

impl Device {
    const fn own(&self, like: IpAddr) -> IpAddr {
        match like {
            IpAddr::V4(_) => IpAddr::V4(self.v4),
            IpAddr::V6(_) => IpAddr::V6(self.v6),
        }
    }

    /// Hands packets from the network to the sessions they are for, until the device fails.
    pub(crate) async fn distribute(&self, state: &State) -> std::io::Result<()> {
        let (mut packets, mut answers) = (Packets::new(), Outgoing::new());
        loop {
            self.tun.recv_batch(&mut packets).await?;
            // Packets of one session as a rule come in a row.
            let mut open: Option<(Arc<Lane>, Batch)> = None;
            for packet in packets.iter() {
                let Ok(read) = Packet::read(packet) else { continue };
                let Some(lane) = state.lane(read.destination()) else { continue };
                if !open.as_ref().is_some_and(|(last, _)| Arc::ptr_eq(last, &lane)) {
                    let Some(batch) = lane.batch() else { continue };
                    if let Some((last, full)) = open.replace((lane, batch)) {
                        last.flush_or_drop(full);
                    }
                }
                let Some((lane, batch)) = &mut open else { continue };
                if let Sent::TooBig(mtu) = lane.add(batch, packet)
                    && let Some(told) = icmp::too_big(packet, mtu, self.own(read.destination()))
                {
                    answers.push(&told);
                }
            }
            if let Some((lane, batch)) = open {
                lane.flush_or_drop(batch);
            }
            if !answers.is_empty() {
                self.tun.send_batch(&mut answers).await?;
            }
        }
    }
}

pub(super) async fn serve(state: &Arc<State>, member: &Arc<Member>, device: &Arc<Device>, request: Request) {
    // Narrower scopes (RFC 9484 §4.6) are for those who want less than everything; none of our clients does.
    if Scope::parse(request.head.uri().path()) != Ok(Scope::ANY) {
        return answer(request, StatusCode::NOT_IMPLEMENTED, "").await;
    }
    let Some(mut lease) = Lease::claim(state, member) else {
        return answer(request, StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached").await;
    };
    let stamped = request.head.headers().get(ORDER_HEADER).is_some_and(|value| value == "?1");
    let datagrams = request.datagrams();
    let mut head = Response::new(());
    head.headers_mut().insert(capsule::HEADER, capsule::HEADER_VALUE);
    if stamped {
        head.headers_mut().insert(ORDER_HEADER, HeaderValue::from_static("?1"));
    }
    let Ok((mut send, receive)) = request.respond(head).await else { return };
    let mut capsules = Capsules::new(receive, LIMITS);
    let wishes = tokio::time::timeout(WISH_WAIT, next_configuration(&mut capsules)).await;
    let wishes = match wishes {
        Ok(Some(Configuration::AddressRequest(wishes))) => wishes,
        // A client that asks for nothing takes what it gets.
        _ => Vec::new(),
    };
    let wanted: Vec<IpAddr> = wishes.iter().map(|wish| wish.prefix.address()).collect();
    let addresses = lease.take_addresses(&wanted).to_vec();
    if addresses.is_empty() {
        tracing::warn!(tenant = %member.tenant, "no inner address is left: enlarge [network] in the configuration");
        return;
    }
    if configure(&mut send, &wishes, &addresses).await.is_err() {
        return;
    }
    let (outgoing, to_send) = mpsc::channel(CAPSULES_WAITING);
    let (arrived, whole) = mpsc::channel(CAPSULES_WAITING);
    let lane = Arc::new(Lane::new(addresses.clone(), datagrams.clone(), stamped, outgoing));
    lease.attach(&lane);
    let inward = Inward::new(datagrams, whole, member.connection.clone(), admits(state, &addresses));
    tokio::select! {
        ended = inward.run(&device.tun, &lane) => if let Err(error) = ended {
            tracing::error!(%error, "the tunnel's device failed");
        },
        () = send_capsules(send, to_send) => {}
        _ = read_capsules(&mut capsules, &arrived) => {}
    }
}

/// A tenant sends from its own addresses, to targets that the configuration allows, and to us.
fn admits(state: &Arc<State>, addresses: &[IpAddr]) -> Admits {
    let own = Prefixes::new(addresses.iter().map(|ip| IpNet::from(*ip)).collect());
    let state = Arc::clone(state);
    Box::new(move |packet| {
        let target = packet.destination();
        sources::check(packet, &own).is_ok() && (state.is_own(target) || state.permits(target))
    })
}

/// Says which addresses the client has and that everything is reached through us.
async fn configure(
    send: &mut BodySender,
    wishes: &[RequestedAddress],
    addresses: &[IpAddr],
) -> Result<(), mpquic_h3::Error> {
    let request_for = |address: &IpAddr| {
        let wish = wishes.iter().find(|wish| wish.prefix.address().is_ipv4() == address.is_ipv4());
        wish.map_or(0, |wish| wish.request)
    };
    let assign =
        |address: &IpAddr| AssignedAddress { request: request_for(address), prefix: Prefix::host(*address) };
    let everything = addresses.iter().map(|address| match address {
        IpAddr::V4(_) => {
            IpRange { start: Ipv4Addr::UNSPECIFIED.into(), end: Ipv4Addr::BROADCAST.into(), protocol: 0 }
        }
        IpAddr::V6(_) => IpRange {
            start: Ipv6Addr::UNSPECIFIED.into(),
            end: Ipv6Addr::from_bits(u128::MAX).into(),
            protocol: 0,
        },
    });
    let mut bytes = Vec::new();
    let news = [
        Configuration::AddressAssign(addresses.iter().map(assign).collect()),
        Configuration::RouteAdvertisement(everything.collect()),
    ];
    for one in news {
        // Both are well-formed by construction.
        one.encode(&mut bytes).ok();
    }
    send.send(&bytes).await
}
