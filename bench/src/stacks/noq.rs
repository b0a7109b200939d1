//! noq: fixed windows, the full MTU from the first packet on.
//!
//! Its stream window is 1 MiB: above that it closes a connection by itself as soon as something is lost ("too many gaps
//! in stream buffer").

use super::{CONNECTION_WINDOW, IDLE, MTU, NAME, STREAMS, tls};
use crate::Failure;
use crate::host::bind_udp;
use crate::stack::{Certificate, Connection, Endpoint, Kind, Later, Receiver, Sender, Stack, Streams};
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::{
    ClientConfig, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use std::net::SocketAddr;
use std::sync::Arc;

const STREAM_WINDOW: u32 = 1 << 20;

pub(super) const STACK: Stack = Stack { name: "noq", kind: Kind::Peer, server, client };

fn server(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let tls = QuicServerConfig::try_from(tls::server(certificate)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport()?);
    Ok(Box::new(endpoint(Some(config), local)?))
}

fn client(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let tls = QuicClientConfig::try_from(tls::client(certificate)?)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport()?);
    let endpoint = endpoint(None, local)?;
    endpoint.set_default_client_config(config);
    Ok(Box::new(endpoint))
}

fn transport() -> Result<Arc<TransportConfig>, Failure> {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(CONNECTION_WINDOW.into())
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_idle_timeout(Some(IDLE.try_into()?))
        .initial_mtu(MTU)
        .mtu_discovery_config(None);
    Ok(Arc::new(transport))
}

fn endpoint(server: Option<ServerConfig>, local: SocketAddr) -> Result<noq::Endpoint, Failure> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(MTU)?;
    Ok(noq::Endpoint::new(config, server, bind_udp(local)?, Arc::new(TokioRuntime))?)
}

impl Endpoint for noq::Endpoint {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.local_addr()?)
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let incoming = self.accept().await.ok_or("the endpoint ended")?;
            Ok(Box::new(incoming.await?) as Box<dyn Connection>)
        })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move { Ok(Box::new(self.connect(server, NAME)?.await?) as Box<dyn Connection>) })
    }

    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async move {
            Self::close(&self, VarInt::from_u32(0), b"");
            self.wait_idle().await;
            Ok(())
        })
    }
}

impl Connection for noq::Connection {
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok(boxed(self.open_bi().await?)) })
    }

    fn accept(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok(boxed(self.accept_bi().await?)) })
    }

    fn close(&self) {
        self.close(VarInt::from_u32(0), b"");
    }

    fn closed(&self) -> Later<'_, ()> {
        Box::pin(async {
            self.closed().await;
            Ok(())
        })
    }
}

fn boxed((send, recv): (SendStream, RecvStream)) -> Streams {
    (Box::new(send), Box::new(recv))
}

impl Sender for SendStream {
    fn write_all<'a>(&'a mut self, data: &'a [u8]) -> Later<'a, ()> {
        Box::pin(async move { Ok(self.write_all(data).await?) })
    }

    fn finish(&mut self) -> Later<'_, ()> {
        Box::pin(async { Ok(self.finish()?) })
    }
}

impl Receiver for RecvStream {
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Later<'a, Option<usize>> {
        Box::pin(async move { Ok(self.read(buffer).await?) })
    }
}
