//! s2n-quic with its default TLS (s2n-tls over AWS-LC): fixed windows, the full MTU from the first packet on.

use super::{ALPN, CONNECTION_WINDOW, IDLE, MTU, NAME, STREAM_WINDOW, STREAMS};
use crate::Failure;
use crate::host::bind_udp;
use crate::stack::{Certificate, Connection, Endpoint, Kind, Later, Receiver, Sender, Stack, Streams};
use bytes::{Buf, Bytes};
use s2n_quic::client::Connect;
use s2n_quic::connection::{Handle, StreamAcceptor};
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::{io, tls};
use s2n_quic::stream::{BidirectionalStream, ReceiveStream, SendStream};
use s2n_quic::{Client, Server};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::Mutex;

pub(super) const STACK: Stack = Stack { name: "s2n-quic", kind: Kind::Peer, server, client };

/// It counts the headers of IPv4 and UDP.
const IP_MTU: u16 = MTU + 28;
/// Ample time for packets that are ready to leave.
const LINGER: Duration = Duration::from_millis(300);

fn server(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let tls = tls::default::Server::builder()
        .with_application_protocols([ALPN].iter())?
        .with_certificate(pem("CERTIFICATE", &certificate.der), pem("PRIVATE KEY", &certificate.key))?
        .build()?;
    let server = Server::builder().with_tls(tls)?.with_io(sockets(local)?)?.with_limits(limits()?)?;
    let server = server.start()?;
    Ok(Box::new(Listening { address: server.local_addr()?, server: Mutex::new(server) }))
}

fn client(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let tls = tls::default::Client::builder()
        .with_application_protocols([ALPN].iter())?
        .with_certificate(pem("CERTIFICATE", &certificate.der))?
        .build()?;
    let client = Client::builder().with_tls(tls)?.with_io(sockets(local)?)?.with_limits(limits()?)?;
    Ok(Box::new(Calling(client.start()?)))
}

/// It reads no DER.
fn pem(kind: &str, der: &[u8]) -> String {
    ::pem::encode(&::pem::Pem::new(kind, der))
}

fn sockets(local: SocketAddr) -> Result<io::tokio::Provider, Failure> {
    let socket = bind_udp(local)?;
    Ok(io::tokio::Provider::builder()
        .with_tx_socket(socket.try_clone()?)?
        .with_rx_socket(socket)?
        .with_initial_mtu(IP_MTU)?
        .with_max_mtu(IP_MTU)?
        .build()?)
}

fn limits() -> Result<Limits, Failure> {
    Ok(Limits::new()
        .with_data_window(CONNECTION_WINDOW.into())?
        .with_bidirectional_local_data_window(STREAM_WINDOW.into())?
        .with_bidirectional_remote_data_window(STREAM_WINDOW.into())?
        .with_max_send_buffer_size(STREAM_WINDOW)?
        .with_max_open_local_bidirectional_streams(STREAMS.into())?
        .with_max_open_remote_bidirectional_streams(STREAMS.into())?
        .with_max_idle_timeout(IDLE)?)
}

struct Listening {
    server: Mutex<Server>,
    address: SocketAddr,
}

impl Endpoint for Listening {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.address)
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let connection = self.server.lock().await.accept().await.ok_or("the endpoint ended")?;
            Ok(boxed(connection))
        })
    }

    fn connect(&self, _: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async { Err("a server does not connect".into()) })
    }

    /// A server of its kind cannot say that everything is sent.
    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async {
            tokio::time::sleep(LINGER).await;
            Ok(())
        })
    }
}

struct Calling(Client);

impl Endpoint for Calling {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.0.local_addr()?)
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async { Err("a client does not accept".into()) })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move { Ok(boxed(self.0.connect(Connect::new(server).with_server_name(NAME)).await?)) })
    }

    fn shutdown(mut self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async move { Ok(self.0.wait_idle().await?) })
    }
}

struct Open {
    handle: Handle,
    acceptor: Mutex<StreamAcceptor>,
}

fn boxed(connection: s2n_quic::Connection) -> Box<dyn Connection> {
    let (handle, acceptor) = connection.split();
    Box::new(Open { handle, acceptor: Mutex::new(acceptor) })
}

impl Connection for Open {
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok(halves(self.handle.clone().open_bidirectional_stream().await?)) })
    }

    fn accept(&self) -> Later<'_, Streams> {
        Box::pin(async {
            let accepted = self.acceptor.lock().await.accept_bidirectional_stream().await?;
            Ok(halves(accepted.ok_or("the connection ended")?))
        })
    }

    fn close(&self) {
        self.handle.close(0_u32.into());
    }

    fn closed(&self) -> Later<'_, ()> {
        Box::pin(async {
            // The end of the connection is the only thing that can still come.
            while let Ok(Some(_)) = self.acceptor.lock().await.accept_bidirectional_stream().await {}
            Ok(())
        })
    }
}

fn halves(stream: BidirectionalStream) -> Streams {
    let (recv, send) = stream.split();
    (Box::new(send), Box::new(Reading { recv, rest: Bytes::new() }))
}

impl Sender for SendStream {
    /// Its own copy of the data: it takes nothing but buffers that it may keep.
    fn write_all<'a>(&'a mut self, data: &'a [u8]) -> Later<'a, ()> {
        Box::pin(async move { Ok(self.send(Bytes::copy_from_slice(data)).await?) })
    }

    fn finish(&mut self) -> Later<'_, ()> {
        Box::pin(async { Ok(self.finish()?) })
    }
}

struct Reading {
    recv: ReceiveStream,
    /// Received and not yet read.
    rest: Bytes,
}

impl Receiver for Reading {
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Later<'a, Option<usize>> {
        Box::pin(async move {
            if self.rest.is_empty() {
                match self.recv.receive().await? {
                    Some(chunk) => self.rest = chunk,
                    None => return Ok(None),
                }
            }
            let n = self.rest.len().min(buffer.len());
            self.rest.copy_to_slice(&mut buffer[..n]);
            Ok(Some(n))
        })
    }
}
