//! The handshake of SOCKS5 (RFC 1928), without authentication.
//!
//! Owns the method choice, the request and its replies, and addresses as SOCKS writes them.

use super::{Answers, Request, reply};
use crate::client::dial::{Host, Refusal, Target};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub(super) const VERSION: u8 = 5;

const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;

const CONNECT: u8 = 1;
const UDP_ASSOCIATE: u8 = 3;

pub(super) const IPV4: u8 = 1;
pub(super) const NAME: u8 = 3;
pub(super) const IPV6: u8 = 4;

pub(super) const SUCCEEDED: u8 = 0;
pub(super) const GENERAL_FAILURE: u8 = 1;
const COMMAND_NOT_SUPPORTED: u8 = 7;
const ADDRESS_NOT_SUPPORTED: u8 = 8;

/// The address that the far end sees is the server's business: RFC 1928 §6 wants one, all zero says "unknown".
const YES: [u8; 10] = [VERSION, SUCCEEDED, 0, IPV4, 0, 0, 0, 0, 0, 0];

/// Goes on behind the version byte, up to the request.
pub(super) async fn read(client: &mut TcpStream) -> io::Result<Request> {
    let mut methods = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        reply::send(client, &[VERSION, NO_METHOD]).await?;
        return Ok(Request::Answered("it insists on authentication: the proxy has none"));
    }
    reply::send(client, &[VERSION, NO_AUTHENTICATION]).await?;

    let [version, command, _, kind] = read_array(client).await?;
    if version != VERSION {
        reply::send(client, &no(GENERAL_FAILURE)).await?;
        return Ok(Request::Answered("its request is not of the version it began with"));
    }
    let Some((host, port)) = read_address(client, kind).await? else {
        reply::send(client, &no(ADDRESS_NOT_SUPPORTED)).await?;
        return Ok(Request::Answered("its request has an address of an unknown kind"));
    };
    match (command, host) {
        (CONNECT, Some(host)) if port != 0 => {
            let answers =
                Answers { yes: &YES, no: |refusal: Refusal, _| no(refusal.socks5_reply()).to_vec() };
            Ok(Request::Connect { target: Target { host, port }, answers, early: Vec::new() })
        }
        (CONNECT, _) => {
            reply::send(client, &no(Refusal::NameUnknown.socks5_reply())).await?;
            Ok(Request::Answered("its request names no destination"))
        }
        (UDP_ASSOCIATE, host) => Ok(Request::Associate { announced: announced(host, port) }),
        _ => {
            reply::send(client, &no(COMMAND_NOT_SUPPORTED)).await?;
            Ok(Request::Answered("its command is neither CONNECT nor UDP ASSOCIATE"))
        }
    }
}

fn announced(host: Option<Host>, port: u16) -> SocketAddr {
    match host {
        Some(Host::Ip(address)) => SocketAddr::new(address, port),
        _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
    }
}

const fn no(code: u8) -> [u8; 10] {
    [VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

/// The reply with an address in it.
pub(super) fn bound(code: u8, address: SocketAddr) -> Vec<u8> {
    let mut out = vec![VERSION, code, 0];
    write_ip(&mut out, address.ip());
    out.extend(address.port().to_be_bytes());
    out
}

pub(super) fn write_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(IPV4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(IPV6);
            out.extend(address.octets());
        }
    }
}

/// `None` if the kind is unknown; the host is `None` if the bytes of a name are no name.
async fn read_address(client: &mut TcpStream, kind: u8) -> io::Result<Option<(Option<Host>, u16)>> {
    let host = match kind {
        IPV4 => Some(Host::Ip(Ipv4Addr::from(read_array::<4>(client).await?).into())),
        IPV6 => Some(Host::Ip(Ipv6Addr::from(read_array::<16>(client).await?).into())),
        NAME => {
            let mut name = vec![0; usize::from(client.read_u8().await?)];
            client.read_exact(&mut name).await?;
            host_from(&name)
        }
        _ => return Ok(None),
    };
    Ok(Some((host, client.read_u16().await?)))
}

pub(super) fn host_from(name: &[u8]) -> Option<Host> {
    core::str::from_utf8(name).ok()?.parse().ok()
}

async fn read_array<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}
