//! quinn, tuned: fixed windows of 8 MiB (larger ones gain it nothing on loopback), 4 MiB socket buffers, an MTU of 1452
//! from the first packet on.

use super::{ALPN, MTU, NAME};
use crate::Failure;
use crate::host::bind_udp;
use crate::stack::{Certificate, Connection, Endpoint, Later, Receiver, Sender, Stack, Streams};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) const STACK: Stack = Stack { name: "quinn", server, client };

const WINDOW: u32 = 8 << 20;
const SOCKET_BUFFER: usize = 4 << 20;

fn server(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let chain = vec![CertificateDer::from(certificate.der.clone())];
    let key = PrivatePkcs8KeyDer::from(certificate.key.clone());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key.into())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport());
    Ok(Box::new(endpoint(Some(config), local)?))
}

fn client(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.der.clone()))?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    let mut endpoint = endpoint(None, local)?;
    endpoint.set_default_client_config(config);
    Ok(Box::new(endpoint))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(WINDOW.into())
        .initial_mtu(MTU)
        .mtu_discovery_config(None);
    Arc::new(transport)
}

fn endpoint(server: Option<ServerConfig>, local: SocketAddr) -> Result<quinn::Endpoint, Failure> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(MTU)?;
    let socket = bind_udp(local, SOCKET_BUFFER)?;
    Ok(quinn::Endpoint::new(config, server, socket, Arc::new(TokioRuntime))?)
}

impl Endpoint for quinn::Endpoint {
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

impl Connection for quinn::Connection {
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

    fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.finish()?)
    }
}

impl Receiver for RecvStream {
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Later<'a, Option<usize>> {
        Box::pin(async move { Ok(self.read(buffer).await?) })
    }
}
