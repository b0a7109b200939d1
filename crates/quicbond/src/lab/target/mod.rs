//! The host at the far end: HTTP, DNS and echo, served by one thread on it.

mod dns;
mod echo;
mod http;

use super::place::Place;
use std::io;
use std::sync::mpsc;
use std::thread::Builder;
use tokio::net::{TcpListener, UdpSocket};

const HTTP_PORT: u16 = 80;
const DNS_PORT: u16 = 53;
const ECHO_PORT: u16 = 7;

/// Starts everything and returns when all ports are open. It runs as long as the process.
pub(super) fn start(place: &Place) -> io::Result<()> {
    let (tell, opened) = mpsc::channel();
    // A thread is in the namespaces of the one that started it.
    place.run(move || {
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let failed = match runtime {
                Ok(runtime) => runtime.block_on(serve(&tell)),
                Err(e) => Err(e),
            };
            if let Err(e) = failed {
                tell.send(Err(e)).ok();
            }
        };
        Builder::new().name("target".into()).spawn(serve)
    })??;
    let opened = opened.recv().map_err(|_| io::Error::other("the thread of the target has ended"))?;
    opened.map_err(|e| io::Error::new(e.kind(), format!("cannot start the target's services: {e}")))
}

async fn serve(tell: &mpsc::Sender<io::Result<()>>) -> io::Result<()> {
    let (http, dns, echo) = (tcp(HTTP_PORT).await?, tcp(DNS_PORT).await?, tcp(ECHO_PORT).await?);
    let (dns_udp, echo_udp) = (udp(DNS_PORT).await?, udp(ECHO_PORT).await?);
    tell.send(Ok(())).ok();
    tokio::spawn(dns::serve_tcp(dns));
    tokio::spawn(dns::serve_udp(dns_udp));
    tokio::spawn(echo::serve_tcp(echo));
    tokio::spawn(echo::serve_udp(echo_udp));
    http::serve(http).await;
    Ok(())
}

/// For IPv4 as well: `bindv6only` is off in a fresh namespace.
async fn tcp(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("::", port)).await
}

async fn udp(port: u16) -> io::Result<UdpSocket> {
    UdpSocket::bind(("::", port)).await
}

#[cfg(test)]
mod tests;
