//! tquic, a library without I/O, with a driver of ours around it. Fixed windows, CUBIC, GSO and GRO, its own pacing, the MTU
//! searched for from 1200 up to the full one, because it can do without the search only at 1200.

mod driver;
mod files;
mod waiting;
mod wire;

use super::{ALPN, CONNECTION_WINDOW, IDLE, MTU, NAME, STREAM_WINDOW, STREAMS};
use crate::Failure;
use crate::stack::{Certificate, Connection, Endpoint, Kind, Later, Receiver, Sender, Stack, Streams};
use bytes::Bytes;
use driver::Driver;
use files::Files;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use tquic::{Config, CongestionControlAlgorithm, Error, TlsConfig};
use waiting::Id;
use wire::SEGMENTS;

pub(super) const STACK: Stack = Stack { name: super::TQUIC, kind: Kind::Peer, server, client };

/// What a stream has by itself: in the middle, and in turns with others.
const URGENCY: u8 = 127;

fn server(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let files = Files::new()?;
    let shown = files.write("certificate.pem", "CERTIFICATE", &certificate.der)?;
    let key = files.write("key.pem", "PRIVATE KEY", &certificate.key)?;
    let tls = TlsConfig::new_server_config(&shown, &key, vec![ALPN.to_vec()], false)?;
    Ok(Box::new(Driven(Driver::start(configured(tls)?, true, local)?)))
}

fn client(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let files = Files::new()?;
    let believed = files.write("certificate.pem", "CERTIFICATE", &certificate.der)?;
    let mut tls = TlsConfig::new_client_config(vec![ALPN.to_vec()], false)?;
    tls.set_ca_certs(&believed)?;
    tls.set_verify(true);
    Ok(Box::new(Driven(Driver::start(configured(tls)?, false, local)?)))
}

/// Its TLS needs no word for X25519 and AES-128-GCM: BoringSSL prefers them where the processor has AES.
fn configured(tls: TlsConfig) -> Result<Box<Config>, Failure> {
    let mut config = Config::new()?;
    config.set_tls_config(tls);
    config.set_max_idle_timeout(u64::try_from(IDLE.as_millis())?);
    config.set_recv_udp_payload_size(MTU);
    config.set_send_udp_payload_size(MTU.into());
    // The largest windows first: they cap the initial ones.
    config.set_max_connection_window(CONNECTION_WINDOW.into());
    config.set_max_stream_window(STREAM_WINDOW.into());
    config.set_initial_max_data(CONNECTION_WINDOW.into());
    config.set_initial_max_stream_data_bidi_local(STREAM_WINDOW.into());
    config.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW.into());
    config.set_initial_max_streams_bidi(STREAMS.into());
    config.set_send_batch_size(SEGMENTS);
    // As the others. With its default, BBR, it moved half as much here on a busy machine.
    config.set_congestion_control_algorithm(CongestionControlAlgorithm::Cubic);
    Ok(Box::new(config))
}

struct Driven(Rc<Driver>);

impl Endpoint for Driven {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.0.local)
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let id = poll_fn(|cx| self.0.waiting().poll_accept(cx)).await?;
            Ok(Box::new(Open { driver: Rc::clone(&self.0), id }) as Box<dyn Connection>)
        })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            let id = self.0.endpoint().connect(self.0.local, server, Some(NAME), None, None, None)?;
            self.0.wake();
            poll_fn(|cx| self.0.waiting().poll_established(id, cx)).await?;
            Ok(Box::new(Open { driver: Rc::clone(&self.0), id }) as Box<dyn Connection>)
        })
    }

    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async move { self.0.close_all().await })
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

    /// What `work` makes of the connection, which may not exist any more.
    fn with<T>(&self, work: impl FnOnce(&mut tquic::Connection) -> T) -> Result<T, Failure> {
        match self.driver.endpoint().conn_get_mut(self.id) {
            Some(connection) => Ok(work(connection)),
            None => Err(self.driver.waiting().why(self.id)),
        }
    }
}

impl Connection for Open {
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok(self.halves(self.with(|quic| quic.stream_bidi_new(URGENCY, true))??)) })
    }

    fn accept(&self) -> Later<'_, Streams> {
        Box::pin(async {
            let stream = poll_fn(|cx| self.driver.waiting().poll_stream(self.id, cx)).await?;
            Ok(self.halves(stream))
        })
    }

    fn close(&self) {
        // It may be closed by now.
        self.with(|quic| quic.close(true, 0, b"")).ok();
        self.driver.wake();
    }

    fn closed(&self) -> Later<'_, ()> {
        Box::pin(poll_fn(|cx| {
            if self.with(|quic| driver::is_over(quic)).unwrap_or(true) {
                return Poll::Ready(Ok(()));
            }
            self.driver.waiting().await_end(self.id, cx);
            Poll::Pending
        }))
    }
}

struct Half {
    connection: Open,
    stream: u64,
    /// Everything was read; tquic may have forgotten the stream.
    ended: bool,
}

impl Half {
    async fn write(&self, data: &[u8]) -> Result<(), Failure> {
        let Open { driver, id } = &self.connection;
        let mut written = 0;
        poll_fn(|cx| {
            let more = self.connection.with(|quic| {
                while written < data.len() {
                    let room = quic.stream_capacity(self.stream)?.min(data.len() - written);
                    if room == 0 {
                        quic.stream_want_write(self.stream, true)?;
                        return Ok::<_, Error>(true);
                    }
                    // It takes over what it sends.
                    let piece = Bytes::copy_from_slice(&data[written..written + room]);
                    written += quic.stream_write(self.stream, piece, false)?;
                }
                Ok(false)
            });
            match more {
                Ok(Ok(false)) => Poll::Ready(Ok(())),
                Ok(Ok(true)) => {
                    driver.waiting().await_room(*id, self.stream, cx);
                    driver.wake();
                    Poll::Pending
                }
                Ok(Err(error)) => Poll::Ready(Err(Failure::from(error))),
                Err(over) => Poll::Ready(Err(over)),
            }
        })
        .await?;
        driver.wake();
        Ok(())
    }

    async fn end(&self) -> Result<(), Failure> {
        self.connection.with(|quic| quic.stream_write(self.stream, Bytes::new(), true))??;
        self.connection.driver.wake();
        Ok(())
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let Open { driver, id } = &self.connection;
        let (n, end) = poll_fn(|cx| {
            let read = self.connection.with(|quic| match quic.stream_read(self.stream, buffer) {
                Err(Error::Done) => quic.stream_want_read(self.stream, true).map(|()| None),
                read => read.map(Some),
            });
            match read {
                Ok(Ok(Some(read))) => Poll::Ready(Ok(read)),
                Ok(Ok(None)) => {
                    driver.waiting().await_data(*id, self.stream, cx);
                    Poll::Pending
                }
                Ok(Err(error)) => Poll::Ready(Err(Failure::from(error))),
                Err(over) => Poll::Ready(Err(over)),
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
        Box::pin(self.write(data))
    }

    fn finish(&mut self) -> Later<'_, ()> {
        Box::pin(self.end())
    }
}

impl Receiver for Half {
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Later<'a, Option<usize>> {
        Box::pin(self.read(buffer))
    }
}

#[cfg(test)]
mod tests;
