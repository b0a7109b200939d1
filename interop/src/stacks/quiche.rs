//! quiche, a library without I/O, with a loop of ours around it. Its application has to do some of the protocol itself: the
//! driver sends Retry and checks its tokens. What else an application would have to do, it lacks here.

mod driver;
mod half;

use crate::cases::Want;
use crate::exchange::ALPN;
use crate::stack::{Connection, Ending, Endpoint, Failure, Later, Role, Stack, Streams, Terms};
use crate::trust::{NAME, Trust};
use boring::pkey::PKey;
use boring::ssl::{SslContextBuilder, SslMethod};
use boring::x509::X509;
use driver::{Driver, Id};
use half::Half;
use quiche::Config;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

pub const STACK: Stack = Stack { name: "quiche", server, client, lacks };

const CONNECTION_WINDOW: u64 = 8 << 20;
const STREAM_WINDOW: u64 = 4 << 20;
/// Without credit it says so once; and what it granted to a port that is gone it never grants again.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const WINDOW_FOR_MOVES: u64 = 32 << 20;
const IDLE_MS: u64 = 30_000;
const DATAGRAMS: usize = 256;
/// Connection IDs of ours that it keeps: one for each port that a NAT may show.
const CIDS: u64 = 8;

fn lacks(want: Want, role: Role) -> Option<&'static str> {
    match want {
        Want::Chacha => Some("BoringSSL lets nobody choose the ciphers of TLS 1.3"),
        Want::Version2 => Some("it speaks version 1 only"),
        Want::Reset if role == Role::Server => Some("it leaves stateless resets to its application"),
        Want::Multipath => Some("it has no multipath"),
        _ => None,
    }
}

fn server(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    tls.set_certificate(X509::from_der(trust.certificate())?.as_ref())?;
    tls.set_private_key(PKey::private_key_from_pkcs8(trust.key())?.as_ref())?;
    Ok(Box::new(Driven(Driver::start(configured(tls, terms)?, true, terms.retry)?)))
}

fn client(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    tls.cert_store_mut().add_cert(X509::from_der(trust.certificate())?)?;
    let mut config = configured(tls, terms)?;
    config.verify_peer(true);
    let driver = Driver::start(config, false, false)?;
    if terms.moves {
        driver.keep_alive(KEEP_ALIVE);
    }
    Ok(Box::new(Driven(driver)))
}

fn configured(tls: SslContextBuilder, terms: &Terms) -> Result<Config, Failure> {
    let mut config = Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls)?;
    config.set_application_protos(&[ALPN])?;
    config.set_max_idle_timeout(IDLE_MS);
    config.set_max_send_udp_payload_size(terms.payload.into());
    let windows = [CONNECTION_WINDOW, STREAM_WINDOW];
    let [all, each] = if terms.moves { [WINDOW_FOR_MOVES; 2] } else { windows };
    config.set_initial_max_data(all);
    config.set_initial_max_stream_data_bidi_local(each);
    config.set_initial_max_stream_data_bidi_remote(each);
    config.set_initial_max_streams_bidi(terms.streams.into());
    config.set_active_connection_id_limit(CIDS);
    config.enable_dgram(terms.datagrams, DATAGRAMS, DATAGRAMS);
    if terms.early {
        config.enable_early_data();
    }
    Ok(config)
}

struct Driven(Rc<Driver>);

impl Driven {
    fn opened(&self, id: Id) -> Box<dyn Connection> {
        Box::new(Open { driver: Rc::clone(&self.0), id })
    }
}

impl Endpoint for Driven {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.0.local)
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let id = poll_fn(|cx| self.0.state().poll_accept(cx)).await;
            Ok(self.opened(id))
        })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            let id = self.0.state().connect(NAME, server, false)?;
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
            Ok(self.opened(id))
        })
    }

    fn connect_early(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            let id = self.0.state().connect(NAME, server, true)?;
            // The ClientHello has to be written before there are keys for anything else.
            self.0.flush().await;
            if !self.0.state().connection(id).quic.is_in_early_data() {
                return Err("its ticket allows no 0-RTT".into());
            }
            Ok(self.opened(id))
        })
    }

    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async move {
            self.0.state().close_all();
            self.0.flush().await;
            Ok(())
        })
    }
}

struct Open {
    driver: Rc<Driver>,
    id: Id,
}

impl Open {
    fn halves(&self, stream: u64) -> Streams {
        let half = || Half::new(Rc::clone(&self.driver), self.id, stream);
        (Box::new(half()), Box::new(half()))
    }
}

impl Connection for Open {
    /// quiche opens a stream whether there is credit for it or not; this waits for the credit.
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async {
            let stream = poll_fn(|cx| self.driver.state().connection(self.id).poll_open(cx)).await?;
            Ok(self.halves(stream))
        })
    }

    fn accept(&self) -> Later<'_, Streams> {
        Box::pin(async {
            let stream = poll_fn(|cx| self.driver.state().connection(self.id).poll_accept(cx)).await?;
            Ok(self.halves(stream))
        })
    }

    fn close(&self, code: u32) {
        // It may be over already.
        self.driver.state().connection(self.id).quic.close(true, code.into(), b"done").ok();
        self.driver.wake();
    }

    fn closed(&self) -> Later<'_, Ending> {
        Box::pin(poll_fn(|cx| {
            let mut state = self.driver.state();
            let connection = state.connection(self.id);
            if connection.is_over() {
                return Poll::Ready(Ok(connection.ending()));
            }
            connection.await_change(cx);
            Poll::Pending
        }))
    }

    fn send_datagram(&self, data: &[u8]) -> Result<(), Failure> {
        self.driver.state().connection(self.id).quic.dgram_send(data)?;
        self.driver.wake();
        Ok(())
    }

    fn read_datagram(&self) -> Later<'_, Vec<u8>> {
        Box::pin(poll_fn(|cx| {
            let mut state = self.driver.state();
            let connection = state.connection(self.id);
            match connection.quic.dgram_recv_buf() {
                Ok(datagram) => Poll::Ready(Ok(datagram.to_vec())),
                Err(quiche::Error::Done) => {
                    connection.await_change(cx);
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error.into())),
            }
        }))
    }

    fn resumed(&self) -> Option<bool> {
        Some(self.driver.state().connection(self.id).quic.is_resumed())
    }

    /// BoringSSL's `ssl_early_data_accepted` is 2.
    fn early_taken(&self) -> Later<'_, Option<bool>> {
        let reason = self.driver.state().connection(self.id).quic.early_data_reason();
        Box::pin(async move { Ok(Some(reason == 2)) })
    }
}
