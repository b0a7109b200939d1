//! TCP connections that nftables turned towards this process: where they listen and where they wanted to go.

use super::error::{Error, Kind, Result};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

/// Connections that wait to be accepted; the kernel cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// A free IPv4 port is almost always free for IPv6 too; this many that are not mean that something is wrong.
const ATTEMPTS: usize = 32;

/// Listeners for redirected connections, on one port for both families. Non-blocking.
#[derive(Debug)]
pub(crate) struct RedirectListeners {
    pub(crate) port: u16,
    pub(crate) v4: TcpListener,
    /// `None` on a machine without IPv6.
    pub(crate) v6: Option<TcpListener>,
}

/// Listens on every address, because a connection from the LAN is redirected to the address of the LAN's interface;
/// the rules of the client let only redirected connections reach the port.
pub(crate) fn bind_redirect_listeners() -> Result<RedirectListeners> {
    let failed = |error: io::Error| Error::io("listening for redirected TCP connections", &error);
    for _ in 0..ATTEMPTS {
        let v4 = listen((Ipv4Addr::UNSPECIFIED, 0).into()).map_err(failed)?;
        let port = v4.local_addr().map_err(failed)?.port();
        match listen((Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(v6) => return Ok(RedirectListeners { port, v4, v6: Some(v6) }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) if is_without_v6(&error) => return Ok(RedirectListeners { port, v4, v6: None }),
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Error::new(Kind::Io, "no TCP port is free for IPv4 and IPv6 alike; close some listening programs"))
}

/// Where a redirected connection wanted to go. A connection that was made to the listener itself is an error:
/// to serve it would be to connect to ourselves.
pub(crate) fn original_destination(stream: &impl AsFd) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let local = socket.local_addr()?;
    let original = if local.is_ipv6() { socket.original_dst_v6() } else { socket.original_dst_v4() };
    let not_redirected = || io::Error::new(io::ErrorKind::InvalidInput, "the connection was not redirected");
    let original = original.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_redirected(),
        _ => error,
    })?;
    match (original.as_socket(), local.as_socket()) {
        (Some(original), Some(local)) if original != local => Ok(original),
        _ => Err(not_redirected()),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn is_without_v6(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(nix::errno::Errno::from_raw);
    matches!(errno, Some(nix::errno::Errno::EAFNOSUPPORT | nix::errno::Errno::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests;
