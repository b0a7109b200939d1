//! The datagram lane: everything that is not a TCP flow, between the TUN device and the session.

use super::tunnel::{Session, Tunnel};
use crate::host::{Outgoing, Packets, Tun};
use crate::ip::{
    Admits, CAPSULES_WAITING, Inward, Lane, ORDER_HEADER, Sent, next_configuration, read_capsules,
    send_capsules,
};
use core::time::Duration;
use http::{HeaderValue, header};
use mpquic_bond::icmp;
use mpquic_bond::packet::Packet;
use mpquic_h3::BodySender;
use mpquic_h3::capsule::Capsules;
use mpquic_h3::connect_ip::{Configuration, LIMITS, Prefix, RequestedAddress, Scope};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The server assigns addresses as soon as it has read what we want.
const ASSIGN_WAIT: Duration = Duration::from_secs(10);
/// How often the device's MTU follows what the paths carry.
const MTU_EVERY: Duration = Duration::from_secs(1);
/// No use for the device to take larger packets than common links do.
const DEVICE_MTU_MAX: usize = 1500;

/// A CONNECT-IP request that stands.
pub(crate) struct Attachment {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) lane: Arc<Lane>,
    session: Session,
    send: BodySender,
    capsules: Capsules,
    to_send: mpsc::Receiver<Vec<u8>>,
    datagrams: mpquic_h3::Datagrams,
}

/// Asks for addresses, `wanted` if there are any from before.
pub(crate) async fn attach(
    tunnel: &Tunnel,
    session: &Session,
    wanted: &[IpAddr],
    v6: bool,
) -> Result<Attachment, String> {
    let mut head = Scope::ANY.request("quicbond").map_err(|error| error.0.to_owned())?;
    head.headers_mut().insert(header::PROXY_AUTHORIZATION, session.proof.clone());
    head.headers_mut().insert(ORDER_HEADER, HeaderValue::from_static("?1"));
    let (stream, answer) = tunnel
        .open(session, head)
        .await
        .map_err(|refusal| format!("the server opens no IP tunnel ({refusal:?}); its log says why"))?;
    let stamped = answer.headers().get(ORDER_HEADER).is_some_and(|value| value == "?1");
    let datagrams = stream.datagrams();
    let (mut send, receive) = stream.split();
    let mut capsules = Capsules::new(receive, LIMITS);
    request_addresses(&mut send, wanted, v6).await.map_err(|error| error.to_string())?;
    let assigned = async {
        loop {
            match next_configuration(&mut capsules).await {
                Some(Configuration::AddressAssign(assigned)) => return Some(assigned),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let assigned = tokio::time::timeout(ASSIGN_WAIT, assigned)
        .await
        .ok()
        .flatten()
        .ok_or("the server assigned no address: its network may be full")?;
    let granted = assigned.iter().filter(|one| !one.is_refusal()).map(|one| one.prefix.address());
    let addresses: Vec<IpAddr> = granted.filter(|ip| v6 || ip.is_ipv4()).collect();
    if addresses.is_empty() {
        return Err("the server has no address left for us; its owner can enlarge [network]".to_owned());
    }
    let (outgoing, to_send) = mpsc::channel(CAPSULES_WAITING);
    let lane = Arc::new(Lane::new(addresses.clone(), datagrams.clone(), stamped, outgoing));
    Ok(Attachment { addresses, lane, session: session.clone(), send, capsules, to_send, datagrams })
}

async fn request_addresses(
    send: &mut BodySender,
    wanted: &[IpAddr],
    v6: bool,
) -> Result<(), mpquic_h3::Error> {
    let find = |v4: bool, any: IpAddr| wanted.iter().copied().find(|ip| ip.is_ipv4() == v4).unwrap_or(any);
    let v4 = find(true, Ipv4Addr::UNSPECIFIED.into());
    let v6 = v6.then(|| find(false, Ipv6Addr::UNSPECIFIED.into()));
    let wishes = [Some(v4), v6].into_iter().flatten().zip(1..);
    let wishes = wishes.map(|(ip, request)| RequestedAddress { request, prefix: Prefix::host(ip) }).collect();
    let mut bytes = Vec::new();
    // Well-formed by construction.
    Configuration::AddressRequest(wishes).encode(&mut bytes).ok();
    send.send(&bytes).await
}

impl Attachment {
    /// Carries packets until the session ends.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) async fn run(self, device: &Tun) -> std::io::Result<()> {
        let Self { addresses, lane, session, send, mut capsules, to_send, datagrams } = self;
        let (arrived, whole) = mpsc::channel(CAPSULES_WAITING);
        let own = addresses.clone();
        let admits: Admits = Box::new(move |packet| own.contains(&packet.destination()));
        let connection = session.http.connection().clone();
        let inward = Inward::new(datagrams, whole, connection.clone(), admits);
        tokio::select! {
            ended = inward.run(device, &lane) => ended,
            ended = outward(device, &lane, &connection, &addresses) => ended,
            () = send_capsules(send, to_send) => Ok(()),
            _ = read_capsules(&mut capsules, &arrived) => Ok(()),
            () = follow_mtu(device, &lane) => Ok(()),
        }
    }
}

/// Packets of this host and its network into the tunnel. A tunnel that is full makes the device's queue wait, so that
/// the kernel knows about it.
async fn outward(
    device: &Tun,
    lane: &Lane,
    connection: &mpquic::Connection,
    own: &[IpAddr],
) -> std::io::Result<()> {
    let (mut packets, mut answers) = (Packets::new(), Outgoing::new());
    loop {
        device.recv_batch(&mut packets).await?;
        let Some(mut batch) = lane.batch() else { return Ok(()) };
        for packet in packets.iter() {
            // What the kernel sends to its neighbours on this link is of no interest to the server, which would refuse it.
            let ours = |source| own.contains(&source);
            if !Packet::read(packet).is_ok_and(|read| ours(read.source())) {
                continue;
            }
            match lane.add(&mut batch, packet) {
                Sent::TooBig(mtu) => {
                    let Ok(read) = Packet::read(packet) else { continue };
                    let from = own.iter().find(|ip| ip.is_ipv4() == read.source().is_ipv4());
                    if let Some(told) = from.and_then(|from| icmp::too_big(packet, mtu, *from)) {
                        answers.push(&told);
                    }
                }
                Sent::Gone => return Ok(()),
                Sent::Done | Sent::Full => {}
            }
        }
        loop {
            match lane.flush(&mut batch) {
                Sent::Full if connection.datagram_writable().await.is_ok() => {}
                Sent::Full | Sent::Gone => return Ok(()),
                Sent::Done | Sent::TooBig(_) => break,
            }
        }
        if !answers.is_empty() {
            device.send_batch(&mut answers).await?;
        }
    }
}

/// The kernel answers for packets that are too large, and picks segment sizes, by the device's MTU.
async fn follow_mtu(device: &Tun, lane: &Lane) {
    let mut current = 0;
    loop {
        let mtu = u16::try_from(lane.mtu().min(DEVICE_MTU_MAX)).unwrap_or(u16::MAX);
        if mtu != current {
            match device.set_mtu(mtu) {
                Ok(()) => tracing::debug!(mtu, "MTU of the tunnel"),
                Err(error) => tracing::warn!(%error, "the tunnel keeps its MTU"),
            }
            current = mtu;
        }
        tokio::time::sleep(MTU_EVERY).await;
    }
}
