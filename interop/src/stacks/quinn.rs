//! quinn 0.11 and noq 1.4, which grew out of it and kept its API: one text for both.

use crate::cases::Want;
use crate::stack::{Connection, Ending, Endpoint, Failure, Later, Role, Stack, Streams, Terms};
use crate::trust::{NAME, Trust};
use bytes::Bytes;
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

pub const QUINN: Stack =
    Stack { name: "quinn", server: quinn_ends::server, client: quinn_ends::client, lacks: quinn_lacks };
pub const NOQ: Stack =
    Stack { name: "noq", server: noq_ends::server, client: noq_ends::client, lacks: noq_lacks };

/// Without credit, quinn says so once and noq not at all. If the port of such a client changes while its credit is on the way,
/// nothing else would tell the server.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

fn quinn_lacks(want: Want, _: Role) -> Option<&'static str> {
    match want {
        Want::Version2 => Some("it speaks version 1 and drafts of it only"),
        Want::Multipath => Some("it has no multipath"),
        _ => None,
    }
}

fn noq_lacks(want: Want, _: Role) -> Option<&'static str> {
    match want {
        Want::Version2 => Some("it speaks version 1 and drafts of it only"),
        _ => None,
    }
}

fn free_port() -> Result<UdpSocket, Failure> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)
}

/// RFC 9001 §5.2: Initial packets use AES-128-GCM whatever else is agreed on.
fn initial_suite() -> Result<rustls::quic::Suite, Failure> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    Ok(suite.and_then(rustls::Tls13CipherSuite::quic_suite).ok_or("rustls has no AES-128-GCM for QUIC")?)
}

fn random_id() -> [u8; 8] {
    let mut id = [0; 8];
    aws_lc_rs::rand::fill(&mut id).expect("the system has random numbers");
    id
}

macro_rules! ends {
    // The third is what has to be around the maker of connection IDs.
    ($ends:ident, $quic:ident, $maker:path) => {
        mod $ends {
            use super::*;
            use $quic::crypto::rustls::{QuicClientConfig, QuicServerConfig};
            use $quic::{
                ClientConfig, ConnectionError, ConnectionId, ConnectionIdGenerator, EndpointConfig,
                MtuDiscoveryConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt, ZeroRttAccepted,
            };

            pub(super) fn server(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
                let tls =
                    QuicServerConfig::with_initial(Arc::new(trust.rustls_server(terms)), initial_suite()?)?;
                let mut config = ServerConfig::with_crypto(Arc::new(tls));
                config.transport_config(Arc::new(transport(terms)));
                let endpoint = $quic::Endpoint::new(
                    endpoint(terms)?,
                    Some(config),
                    free_port()?,
                    Arc::new(TokioRuntime),
                )?;
                Ok(Box::new(Ends { endpoint, config: None, retry: terms.retry }))
            }

            pub(super) fn client(trust: &Trust, terms: &Terms) -> Result<Box<dyn Endpoint>, Failure> {
                let tls =
                    QuicClientConfig::with_initial(Arc::new(trust.rustls_client(terms)), initial_suite()?)?;
                let mut config = ClientConfig::new(Arc::new(tls));
                let mut transport = transport(terms);
                transport.keep_alive_interval(terms.moves.then_some(KEEP_ALIVE));
                config.transport_config(Arc::new(transport));
                let endpoint =
                    $quic::Endpoint::new(endpoint(terms)?, None, free_port()?, Arc::new(TokioRuntime))?;
                Ok(Box::new(Ends { endpoint, config: Some(config), retry: false }))
            }

            fn endpoint(terms: &Terms) -> Result<EndpointConfig, Failure> {
                let mut config = match terms.secret {
                    Some(secret) => EndpointConfig::new(Arc::new(aws_lc_rs::hmac::Key::new(
                        aws_lc_rs::hmac::HMAC_SHA256,
                        &secret,
                    ))),
                    None => EndpointConfig::default(),
                };
                config.max_udp_payload_size(terms.payload)?;
                if terms.secret.is_some() {
                    // A server that is started again knows nothing of the key that its IDs carry by default, and drops
                    // packets for IDs of its former life instead of resetting them.
                    config
                        .cid_generator($maker(|| -> Box<dyn ConnectionIdGenerator> { Box::new(RandomIds) }));
                }
                Ok(config)
            }

            struct RandomIds;

            impl ConnectionIdGenerator for RandomIds {
                fn generate_cid(&mut self) -> ConnectionId {
                    ConnectionId::new(&random_id())
                }

                fn cid_len(&self) -> usize {
                    random_id().len()
                }

                fn cid_lifetime(&self) -> Option<Duration> {
                    None
                }
            }

            fn transport(terms: &Terms) -> TransportConfig {
                let mut search = MtuDiscoveryConfig::default();
                search.upper_bound(terms.payload);
                let mut transport = TransportConfig::default();
                transport
                    .max_concurrent_bidi_streams(VarInt::from_u32(terms.streams))
                    .mtu_discovery_config(Some(search));
                transport
            }

            struct Ends {
                endpoint: $quic::Endpoint,
                /// A client's.
                config: Option<ClientConfig>,
                retry: bool,
            }

            impl Ends {
                fn begin(&self, server: SocketAddr) -> Result<$quic::Connecting, Failure> {
                    let config = self.config.clone().ok_or("a server does not connect")?;
                    Ok(self.endpoint.connect_with(config, server, NAME)?)
                }
            }

            impl Endpoint for Ends {
                fn address(&self) -> Result<SocketAddr, Failure> {
                    Ok(self.endpoint.local_addr()?)
                }

                fn accept(&self) -> Later<'_, Box<dyn Connection>> {
                    Box::pin(async {
                        loop {
                            let incoming = self.endpoint.accept().await.ok_or("the endpoint ended")?;
                            if self.retry && !incoming.remote_address_validated() {
                                incoming.retry().map_err(|_| "it cannot send a Retry")?;
                                continue;
                            }
                            return Ok(Open::boxed(incoming.await?, None));
                        }
                    })
                }

                fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
                    Box::pin(async move { Ok(Open::boxed(self.begin(server)?.await?, None)) })
                }

                fn connect_early(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
                    Box::pin(async move {
                        let connecting = self.begin(server)?;
                        let (connection, taken) =
                            connecting.into_0rtt().map_err(|_| "it has no ticket for 0-RTT")?;
                        Ok(Open::boxed(connection, Some(taken)))
                    })
                }

                fn shutdown(self: Box<Self>) -> Later<'static, ()> {
                    Box::pin(async move {
                        self.endpoint.close(VarInt::from_u32(0), b"");
                        self.endpoint.wait_idle().await;
                        Ok(())
                    })
                }
            }

            struct Open {
                connection: $quic::Connection,
                taken: RefCell<Option<ZeroRttAccepted>>,
            }

            impl Open {
                fn boxed(
                    connection: $quic::Connection,
                    taken: Option<ZeroRttAccepted>,
                ) -> Box<dyn Connection> {
                    Box::new(Self { connection, taken: RefCell::new(taken) })
                }
            }

            impl Connection for Open {
                fn open(&self) -> Later<'_, Streams> {
                    Box::pin(async {
                        let (send, recv) = self.connection.open_bi().await?;
                        Ok((Box::new(send) as _, Box::new(recv) as _))
                    })
                }

                fn accept(&self) -> Later<'_, Streams> {
                    Box::pin(async {
                        let (send, recv) = self.connection.accept_bi().await?;
                        Ok((Box::new(send) as _, Box::new(recv) as _))
                    })
                }

                fn close(&self, code: u32) {
                    self.connection.close(VarInt::from_u32(code), b"done");
                }

                fn closed(&self) -> Later<'_, Ending> {
                    Box::pin(async {
                        Ok(match self.connection.closed().await {
                            ConnectionError::ApplicationClosed(close) => {
                                Ending::Closed(close.error_code.into_inner())
                            }
                            ConnectionError::Reset => Ending::StatelessReset,
                            other => Ending::Other(other.to_string()),
                        })
                    })
                }

                fn send_datagram(&self, data: &[u8]) -> Result<(), Failure> {
                    Ok(self.connection.send_datagram(Bytes::copy_from_slice(data))?)
                }

                fn read_datagram(&self) -> Later<'_, Vec<u8>> {
                    Box::pin(async { Ok(self.connection.read_datagram().await?.to_vec()) })
                }

                fn update_keys(&self) -> Result<(), Failure> {
                    self.connection.force_key_update();
                    Ok(())
                }

                fn early_taken(&self) -> Later<'_, Option<bool>> {
                    Box::pin(async {
                        let taken = self.taken.borrow_mut().take();
                        Ok(match taken {
                            Some(taken) => Some(taken.await),
                            None => None,
                        })
                    })
                }
            }
        }
    };
}

ends!(quinn_ends, quinn, std::convert::identity);
ends!(noq_ends, noq, Arc::new);
