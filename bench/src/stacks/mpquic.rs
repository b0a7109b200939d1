//! Ours, with its defaults: windows that tune themselves, 4 MiB socket buffers, an MTU searched up to 1452.

use super::{ALPN, IDLE, MTU, NAME};
use crate::Failure;
use crate::stack::{Certificate, Connection, Endpoint, Kind, Later, Receiver, Sender, Stack, Streams};
use mpquic::{
    ClientConfig, Fingerprint, Identity, Pin, RecvStream, SendStream, ServerConfig, TransportConfig,
};
use std::net::SocketAddr;

pub(super) const STACK: Stack = Stack { name: "mpquic", kind: Kind::Ours, server, client };

fn server(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let identity = Identity::from_der(vec![certificate.der.clone()], certificate.key.clone())?;
    let config = ServerConfig::new(identity, &[ALPN])?.transport(transport());
    Ok(Box::new(Ours { endpoint: mpquic::Endpoint::server(config, &[local])?, client: None }))
}

fn client(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let pin = Pin::Certificate(Fingerprint::of_certificate(&certificate.der));
    let config = ClientConfig::pinned(&[pin], &[ALPN])?.transport(transport());
    Ok(Box::new(Ours { endpoint: mpquic::Endpoint::client(&[local])?, client: Some(config) }))
}

fn transport() -> TransportConfig {
    TransportConfig { mtu_ceiling: MTU, max_idle_timeout: IDLE, ..TransportConfig::default() }
}

struct Ours {
    endpoint: mpquic::Endpoint,
    client: Option<ClientConfig>,
}

impl Endpoint for Ours {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.endpoint.local_addrs()[0])
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let connection = self.endpoint.accept().await.ok_or("the endpoint ended")?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            let config = self.client.as_ref().ok_or("a server does not connect")?;
            let connection = self.endpoint.connect(config, NAME, self.address()?, server).await?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }

    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async move {
            self.endpoint.shutdown().await;
            Ok(())
        })
    }
}

impl Connection for mpquic::Connection {
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok(boxed(self.open_bi().await?)) })
    }

    fn accept(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok(boxed(self.accept_bi().await?)) })
    }

    fn close(&self) {
        self.close(0, b"");
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
