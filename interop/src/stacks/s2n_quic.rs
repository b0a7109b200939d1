//! s2n-quic: with its default TLS (s2n-tls over AWS-LC), and with rustls where a case has a wish that only that one grants.

use crate::cases::Want;
use crate::exchange::ALPN;
use crate::stack::{Connection, Ending, Endpoint, Failure, Later, Role, Stack, Streams, Terms};
use crate::trust::{NAME, Trust};
use aws_lc_rs::hmac;
use bytes::Bytes;
use s2n_quic::client::Connect;
use s2n_quic::connection::{Error, Handle, StreamAcceptor};
use s2n_quic::provider::datagram::default::{self as datagram, Receiver, Sender};
use s2n_quic::provider::endpoint_limits::{ConnectionAttempt, Limiter, Outcome};
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::stateless_reset_token::{self, Generator};
use s2n_quic::provider::{io, tls};
use s2n_quic::stream::BidirectionalStream;
use s2n_quic::{Client, Server};
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::Mutex;

pub const STACK: Stack = Stack { name: "s2n-quic", server, client, lacks };

/// It counts the headers of IPv4 and UDP.
const HEADERS: u16 = 28;
/// Datagrams that it may hold in each direction.
const DATAGRAMS: usize = 256;
/// Ample time for packets that are ready to leave.
const LINGER: Duration = Duration::from_millis(50);

fn lacks(want: Want, _: Role) -> Option<&'static str> {
    match want {
        Want::Resumption => Some("resumption is an unstable feature of it that its rustls does not serve"),
        Want::Early => Some("it has no 0-RTT"),
        Want::Version2 => Some("it speaks version 1 only"),
        Want::Multipath => Some("it has no multipath"),
        _ => None,
    }
}

fn server(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
    let server = if terms.chacha {
        listen(tls::rustls::Server::from(trust.rustls_server(terms)), terms)
    } else {
        let builder = tls::default::Server::builder().with_application_protocols([ALPN].iter())?;
        let certificate = pem("CERTIFICATE", trust.certificate());
        let tls = builder.with_certificate(certificate, pem("PRIVATE KEY", trust.key()))?.build()?;
        listen(tls, terms)
    }?;
    Ok(Box::new(Listening { address: server.local_addr()?, server: Mutex::new(server) }))
}

fn listen<T: tls::Provider>(tls: T, terms: &Terms) -> Result<Server, Failure> {
    let builder = Server::builder()
        .with_tls(tls)
        .map_err(text)?
        .with_io(sockets(terms)?)?
        .with_limits(limits(terms)?)?
        .with_datagram(datagrams()?)?
        .with_endpoint_limits(Gate { retry: terms.retry })?
        .with_stateless_reset_token(Tokens::new(terms))?;
    Ok(builder.start()?)
}

fn client(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
    let client = if terms.chacha {
        call(tls::rustls::Client::from(trust.rustls_client(terms)), terms)
    } else {
        let builder = tls::default::Client::builder().with_application_protocols([ALPN].iter())?;
        call(builder.with_certificate(pem("CERTIFICATE", trust.certificate()))?.build()?, terms)
    }?;
    Ok(Box::new(Calling(client)))
}

fn call<T: tls::Provider>(tls: T, terms: &Terms) -> Result<Client, Failure> {
    let builder = Client::builder()
        .with_tls(tls)
        .map_err(text)?
        .with_io(sockets(terms)?)?
        .with_limits(limits(terms)?)?
        .with_datagram(datagrams()?)?;
    Ok(builder.start()?)
}

fn text(error: impl std::fmt::Display) -> Failure {
    error.to_string().into()
}

/// It reads no DER.
fn pem(kind: &str, der: &[u8]) -> String {
    ::pem::encode(&::pem::Pem::new(kind, der))
}

fn sockets(terms: &Terms) -> Result<io::tokio::Provider, Failure> {
    let builder = io::tokio::Provider::builder().with_receive_address((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(builder.with_max_mtu(terms.payload + HEADERS)?.build()?)
}

fn limits(terms: &Terms) -> Result<Limits, Failure> {
    Ok(Limits::new()
        .with_max_open_local_bidirectional_streams(terms.streams.into())?
        .with_max_open_remote_bidirectional_streams(terms.streams.into())?)
}

fn datagrams() -> Result<datagram::Endpoint, Failure> {
    let builder = datagram::Endpoint::builder().with_send_capacity(DATAGRAMS).map_err(text)?;
    builder.with_recv_capacity(DATAGRAMS).map_err(text)?.build().map_err(text)
}

/// Sends clients around by a Retry, if wished.
struct Gate {
    retry: bool,
}

impl Limiter for Gate {
    fn on_connection_attempt(&mut self, _: &ConnectionAttempt<'_>) -> Outcome {
        if self.retry { Outcome::retry() } else { Outcome::allow() }
    }
}

/// Stateless reset tokens, made of the secret and the connection's ID.
struct Tokens(hmac::Key);

impl Tokens {
    fn new(terms: &Terms) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &terms.secret.unwrap_or([1; 32])))
    }
}

impl stateless_reset_token::Provider for Tokens {
    type Generator = Self;
    type Error = std::convert::Infallible;

    fn start(self) -> Result<Self, Self::Error> {
        Ok(self)
    }
}

impl Generator for Tokens {
    fn generate(&mut self, id: &[u8]) -> s2n_quic_core::stateless_reset::Token {
        let tag = hmac::sign(&self.0, id);
        let mut token = [0; 16];
        token.copy_from_slice(&tag.as_ref()[..16]);
        token.into()
    }
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

    fn close(&self, code: u32) {
        self.handle.close(code.into());
    }

    fn closed(&self) -> Later<'_, Ending> {
        Box::pin(async {
            loop {
                match self.acceptor.lock().await.accept_bidirectional_stream().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(Ending::Other("ended without an error".into())),
                    Err(Error::Application { error, .. }) => return Ok(Ending::Closed(error.into())),
                    Err(Error::StatelessReset { .. }) => return Ok(Ending::StatelessReset),
                    Err(other) => return Ok(Ending::Other(other.to_string())),
                }
            }
        })
    }

    fn send_datagram(&self, data: &[u8]) -> Result<(), Failure> {
        let data = Bytes::copy_from_slice(data);
        let sent =
            self.handle.datagram_mut(|sender: &mut Sender| sender.send_datagram(data)).map_err(text)?;
        sent.map_err(text)
    }

    fn read_datagram(&self) -> Later<'_, Vec<u8>> {
        Box::pin(poll_fn(|cx| {
            let asked = self.handle.datagram_mut(|receiver: &mut Receiver| receiver.poll_recv_datagram(cx));
            match asked {
                Ok(arrived) => arrived.map(|result| result.map(|bytes| bytes.to_vec()).map_err(text)),
                Err(error) => std::task::Poll::Ready(Err(text(error))),
            }
        }))
    }
}

fn halves(stream: BidirectionalStream) -> Streams {
    let (recv, send) = stream.split();
    (Box::new(send), Box::new(recv))
}
