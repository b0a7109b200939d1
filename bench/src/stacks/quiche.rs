//! quiche, a library without I/O, with a driver of ours around it. Fixed windows, the full MTU from the first packet
//! on, GSO and GRO, its own pacing.

mod driver;

use super::{ALPN, CONNECTION_WINDOW, IDLE, MTU, NAME, STREAM_WINDOW, STREAMS};
use crate::Failure;
use crate::stack::{Certificate, Connection, Endpoint, Kind, Later, Receiver, Sender, Stack, Streams};
use boring::pkey::PKey;
use boring::ssl::{SslContextBuilder, SslMethod};
use boring::x509::X509;
use driver::{Driver, Id};
use quiche::Config;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

pub(super) const STACK: Stack = Stack { name: "quiche", kind: Kind::Peer, server, client };

fn server(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    tls.set_certificate(X509::from_der(&certificate.der)?.as_ref())?;
    tls.set_private_key(PKey::private_key_from_pkcs8(&certificate.key)?.as_ref())?;
    Ok(Box::new(Driven(Driver::start(configured(tls)?, true, local)?)))
}

fn client(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    tls.cert_store_mut().add_cert(X509::from_der(&certificate.der)?)?;
    let mut config = configured(tls)?;
    config.verify_peer(true);
    Ok(Box::new(Driven(Driver::start(config, false, local)?)))
}

fn configured(tls: SslContextBuilder) -> Result<Config, Failure> {
    let mut config = Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls)?;
    config.set_application_protos(&[ALPN])?;
    config.set_curves_list("X25519:P-256")?;
    config.set_max_idle_timeout(u64::try_from(IDLE.as_millis())?);
    config.set_max_recv_udp_payload_size(MTU.into());
    config.set_max_send_udp_payload_size(MTU.into());
    config.set_initial_max_data(CONNECTION_WINDOW.into());
    config.set_max_connection_window(CONNECTION_WINDOW.into());
    config.set_initial_max_stream_data_bidi_local(STREAM_WINDOW.into());
    config.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW.into());
    config.set_max_stream_window(STREAM_WINDOW.into());
    config.set_initial_max_streams_bidi(STREAMS.into());
    Ok(config)
}

struct Driven(Rc<Driver>);

impl Endpoint for Driven {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.0.local)
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let id = poll_fn(|cx| self.0.state().poll_accept(cx)).await;
            Ok(Box::new(Open { driver: Rc::clone(&self.0), id }) as Box<dyn Connection>)
        })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            let id = self.0.state().connect(NAME, server)?;
            self.0.wake();
            poll_fn(|cx| {
                let mut state = self.0.state();
                let connection = state.connection(id);
                if connection.quic.is_established() {
                    return Poll::Ready(Ok(()));
                }
                if connection.is_over() {
                    return Poll::Ready(Err(connection.why()));
                }
                connection.await_change(cx);
                Poll::Pending
            })
            .await?;
            Ok(Box::new(Open { driver: Rc::clone(&self.0), id }) as Box<dyn Connection>)
        })
    }

    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async move {
            self.0.state().close_all();
            self.0.flush();
            Ok(())
        })
    }
}

#[derive(Clone)]
struct Open {
    driver: Rc<Driver>,
    id: Id,
}

impl Open {
    fn halves(&self, stream: u64) -> Streams {
        let half = || Half { connection: self.clone(), stream, ended: false };
        (Box::new(half()), Box::new(half()))
    }
}

impl Connection for Open {
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok(self.halves(self.driver.state().connection(self.id).open())) })
    }

    fn accept(&self) -> Later<'_, Streams> {
        Box::pin(async {
            let stream = poll_fn(|cx| self.driver.state().connection(self.id).poll_accept(cx)).await?;
            Ok(self.halves(stream))
        })
    }

    fn close(&self) {
        self.driver.state().connection(self.id).quic.close(true, 0, b"").ok();
        self.driver.wake();
    }

    fn closed(&self) -> Later<'_, ()> {
        Box::pin(poll_fn(|cx| {
            let mut state = self.driver.state();
            let connection = state.connection(self.id);
            if connection.is_over() {
                return Poll::Ready(Ok(()));
            }
            connection.await_change(cx);
            Poll::Pending
        }))
    }
}

struct Half {
    connection: Open,
    stream: u64,
    /// Everything was read; quiche may have forgotten the stream.
    ended: bool,
}

impl Half {
    async fn write(&self, data: &[u8], end: bool) -> Result<(), Failure> {
        let Open { driver, id } = &self.connection;
        let mut written = 0;
        poll_fn(|cx| {
            let mut state = driver.state();
            let connection = state.connection(*id);
            while written < data.len() || data.is_empty() {
                match connection.quic.stream_send(self.stream, &data[written..], end) {
                    Ok(_) if data.is_empty() => break,
                    Ok(n) if n > 0 => written += n,
                    Ok(_) | Err(quiche::Error::Done) => {
                        connection.await_room(self.stream, cx);
                        driver.wake();
                        return Poll::Pending;
                    }
                    Err(error) => return Poll::Ready(Err(Failure::from(error))),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        driver.wake();
        Ok(())
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let Open { driver, id } = &self.connection;
        let (n, end) = poll_fn(|cx| {
            let mut state = driver.state();
            let connection = state.connection(*id);
            match connection.quic.stream_recv(self.stream, buffer) {
                Ok(read) => Poll::Ready(Ok(read)),
                Err(_) if connection.is_over() => Poll::Ready(Err(connection.why())),
                // Until something was sent on it, quiche does not know a stream that we opened.
                Err(quiche::Error::Done | quiche::Error::InvalidStreamState(_)) => {
                    connection.await_data(self.stream, cx);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(Failure::from(error))),
            }
        })
        .await?;
        // It may have to tell about a larger window.
        driver.wake();
        self.ended = end;
        Ok((n > 0 || !end).then_some(n))
    }
}

impl Sender for Half {
    fn write_all<'a>(&'a mut self, data: &'a [u8]) -> Later<'a, ()> {
        Box::pin(self.write(data, false))
    }

    fn finish(&mut self) -> Later<'_, ()> {
        Box::pin(self.write(&[], true))
    }
}

impl Receiver for Half {
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Later<'a, Option<usize>> {
        Box::pin(self.read(buffer))
    }
}
