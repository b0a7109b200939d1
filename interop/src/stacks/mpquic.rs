//! Ours, through its async API.

use crate::cases::Want;
use crate::exchange::ALPN;
use crate::stack::{Connection, Ending, Endpoint, Failure, Later, Role, Stack, Streams, Terms};
use crate::trust::{NAME, Trust};
use mpquic::{Admission, ClientConfig, CloseReason, Pin, RetryPolicy, ServerConfig, TransportConfig};
use std::net::{Ipv4Addr, SocketAddr};

pub const STACK: Stack = Stack { name: "mpquic", server, client, lacks };

/// Remembered by a server, and servers remembered by a client.
const SESSIONS: usize = 8;

fn lacks(_: Want, _: Role) -> Option<&'static str> {
    None
}

fn server(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
    let identity = trust.our_identity();
    let config = match terms.secret {
        Some(secret) => ServerConfig::with_secret(identity, &[ALPN], secret)?,
        None => ServerConfig::new(identity, &[ALPN])?,
    };
    let retry = if terms.retry { RetryPolicy::Always } else { RetryPolicy::Never };
    let config = config
        .transport(transport(terms))
        .admission(Admission { retry, ..Admission::default() })
        .resumption(if terms.tickets { SESSIONS } else { 0 })
        .early_data(terms.early);
    let endpoint = mpquic::Endpoint::server(config, &[free_port()])?;
    Ok(Box::new(Ours { endpoint, config: None }))
}

fn client(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
    let pins = [Pin::Certificate(trust.our_identity().fingerprint())];
    let config = ClientConfig::pinned(&pins, &[ALPN])?
        .transport(transport(terms))
        .resumption(if terms.tickets { SESSIONS } else { 0 })
        .early_data(terms.early);
    let endpoint = mpquic::Endpoint::client(&[free_port()])?;
    Ok(Box::new(Ours { endpoint, config: Some(config) }))
}

fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn transport(terms: &Terms) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.mtu_ceiling = terms.payload;
    transport.max_streams_bidi = terms.streams.into();
    if let Some(packets) = terms.key_update_after {
        transport.key_update_packets = packets;
    }
    transport
}

struct Ours {
    endpoint: mpquic::Endpoint,
    /// A client's.
    config: Option<ClientConfig>,
}

impl Endpoint for Ours {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.endpoint.local_addrs()[0])
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let connection = self.endpoint.accept().await.ok_or("the endpoint ended")?;
            Ok(Box::new(Open(connection)) as _)
        })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            let config = self.config.as_ref().ok_or("a server does not connect")?;
            let connection = self.endpoint.connect(config, NAME, self.address()?, server).await?;
            Ok(Box::new(Open(connection)) as _)
        })
    }

    fn connect_early(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            let config = self.config.as_ref().ok_or("a server does not connect")?;
            let connecting = self.endpoint.connect(config, NAME, self.address()?, server);
            let connection =
                connecting.into_early().await.map_err(|_| "our client has no ticket for 0-RTT")?;
            Ok(Box::new(Open(connection)) as _)
        })
    }

    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async move {
            self.endpoint.shutdown().await;
            Ok(())
        })
    }
}

struct Open(mpquic::Connection);

impl Connection for Open {
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async {
            let (send, recv) = self.0.open_bi().await?;
            Ok((Box::new(send) as _, Box::new(recv) as _))
        })
    }

    fn accept(&self) -> Later<'_, Streams> {
        Box::pin(async {
            let (send, recv) = self.0.accept_bi().await?;
            Ok((Box::new(send) as _, Box::new(recv) as _))
        })
    }

    fn close(&self, code: u32) {
        self.0.close(code.into(), b"done");
    }

    fn closed(&self) -> Later<'_, Ending> {
        Box::pin(async {
            Ok(match self.0.closed().await {
                CloseReason::PeerApplication { code, .. } => Ending::Closed(code),
                CloseReason::StatelessReset => Ending::StatelessReset,
                other => Ending::Other(other.to_string()),
            })
        })
    }

    fn send_datagram(&self, data: &[u8]) -> Result<(), Failure> {
        Ok(self.0.send_datagram(data)?)
    }

    fn read_datagram(&self) -> Later<'_, Vec<u8>> {
        Box::pin(async { Ok(self.0.read_datagram().await?) })
    }

    fn key_updates(&self) -> Option<u64> {
        Some(self.0.stats().counters.key_updates)
    }

    fn resumed(&self) -> Option<bool> {
        Some(self.0.resumed())
    }

    fn early_taken(&self) -> Later<'_, Option<bool>> {
        Box::pin(async {
            self.0.handshake_completed().await?;
            // A client is told; a server knows what it took in.
            let counters = self.0.stats().counters;
            Ok(Some(counters.early_packets > 0 || self.0.early_data_accepted().await?))
        })
    }
}
