//! A client without manners: knows the protocol as docs/tunnel.md and docs/security.md tell it, and asks for anything.

use crate::place::Place;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use mpquic::{Bind, ClientConfig, Connection, Endpoint, Fingerprint, Pin};
use mpquic_h3::capsule::Capsules;
use mpquic_h3::connect_ip::{Configuration, LIMITS, Scope};
use mpquic_h3::{ALPN, BodySender, Client, Datagrams};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// What a token says.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) server: SocketAddr,
    pin: [u8; 32],
    tenant: String,
    secret: Vec<u8>,
}

impl Token {
    pub(crate) fn read(text: &str) -> Self {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix("qb1").unwrap()).unwrap();
        let mut rest = &bytes[1..];
        let mut take = |n: usize| {
            let (taken, left) = rest.split_at(n);
            rest = left;
            taken.to_vec()
        };
        let len = take(1)[0].into();
        let host: IpAddr = String::from_utf8(take(len)).unwrap().parse().unwrap();
        let port = u16::from_be_bytes(take(2).try_into().unwrap());
        let pin = take(32).try_into().unwrap();
        let len = take(1)[0].into();
        let tenant = String::from_utf8(take(len)).unwrap();
        Self { server: (host, port).into(), pin, tenant, secret: take(32) }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::pinned(&[Pin::PublicKey(Fingerprint(self.pin))], &[ALPN]).unwrap()
    }

    /// The token as text, with another secret or another pin.
    pub(crate) fn forged(text: &str, forge: impl FnOnce(&mut [u8])) -> String {
        let mut bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix("qb1").unwrap()).unwrap();
        let signed = bytes.len() - 4;
        forge(&mut bytes[..signed]);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes[..signed]);
        bytes[signed..].copy_from_slice(&digest.as_ref()[..4]);
        format!("qb1{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// A connection that has not said who it is.
pub(crate) struct Raw {
    pub(crate) connection: Connection,
    pub(crate) http: Client,
    token: Token,
    // The connection lives as long as its endpoint.
    _endpoint: Endpoint,
}

/// Runs something asynchronous in a place.
pub(crate) fn run<T: Send + 'static, F: Future<Output = T>>(
    place: &Place,
    work: impl FnOnce() -> F + Send + 'static,
) -> T {
    place.run(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { timeout(LIMIT * 4, work()).await.expect("it ends") })
    })
}

pub(crate) async fn endpoint() -> (Endpoint, SocketAddr) {
    let endpoint = Endpoint::client_on(&[]).unwrap();
    // Past a client that is up on the same host.
    let bind = Bind { mark: Some(20_802), ..Bind::from(SocketAddr::from(([0, 0, 0, 0], 0))) };
    let local = endpoint.add_socket(&bind).await.unwrap();
    (endpoint, local)
}

impl Raw {
    pub(crate) async fn connect(token: &Token) -> Self {
        let (endpoint, local) = endpoint().await;
        let config = token.config();
        let connecting = endpoint.connect(&config, "quicbond", local, token.server);
        let connection = timeout(LIMIT, connecting).await.unwrap().unwrap();
        let http = Client::start(connection.clone()).await.unwrap();
        Self { connection, http, token: token.clone(), _endpoint: endpoint }
    }

    /// The value of `proxy-authorization` that is right on this connection for this token.
    pub(crate) async fn proof(&self) -> String {
        let Token { tenant, secret, .. } = &self.token;
        let mut exported = [0; 32];
        let context = tenant.as_bytes();
        let export =
            self.connection.export_keying_material(&mut exported, b"EXPORTER-quicbond-auth", context);
        export.await.unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let proof = hmac::sign(&key, &[b"quicbond client v1".as_slice(), &exported].concat());
        format!("Quicbond tenant=\"{tenant}\", proof=\"{}\"", URL_SAFE_NO_PAD.encode(proof))
    }

    /// Asks whether the server knows us.
    pub(crate) async fn hello(&self, proof: Option<&str>) -> StatusCode {
        let head = Request::get("https://quicbond/.well-known/quicbond").body(()).unwrap();
        self.ask(head, proof).await.0
    }

    /// Asks for a TCP flow.
    pub(crate) async fn tcp(&self, target: &str, proof: Option<&str>) -> (StatusCode, String) {
        let mut head = Request::new(());
        *head.method_mut() = Method::CONNECT;
        *head.uri_mut() = target.parse::<Uri>().unwrap();
        let (status, headers) = self.ask(head, proof).await;
        let why = headers.get("proxy-status").map(|value| value.to_str().unwrap().to_owned());
        (status, why.unwrap_or_default())
    }

    async fn ask(&self, mut head: Request<()>, proof: Option<&str>) -> (StatusCode, HeaderMap) {
        if let Some(proof) = proof {
            head.headers_mut().insert(header::PROXY_AUTHORIZATION, proof.parse().unwrap());
        }
        let mut stream = self.http.request(head).await.unwrap();
        let answer = timeout(LIMIT, stream.response()).await.unwrap().unwrap();
        (answer.status(), answer.headers().clone())
    }

    /// Asks for the datagram lane; packets go as they are.
    pub(crate) async fn ip(&self, proof: Option<&str>) -> Result<Lane, StatusCode> {
        let mut head = Scope::ANY.request("quicbond").unwrap();
        if let Some(proof) = proof {
            head.headers_mut().insert(header::PROXY_AUTHORIZATION, proof.parse().unwrap());
        }
        let mut stream = self.http.request(head).await.unwrap();
        let answer = timeout(LIMIT, stream.response()).await.unwrap().unwrap();
        if !answer.status().is_success() {
            return Err(answer.status());
        }
        let datagrams = stream.datagrams();
        let (mut send, receive) = stream.split();
        // A request for nothing in particular.
        let mut wish = Vec::new();
        let any = mpquic_h3::connect_ip::Prefix::host([0, 0, 0, 0].into());
        let request = mpquic_h3::connect_ip::RequestedAddress { request: 1, prefix: any };
        Configuration::AddressRequest(vec![request]).encode(&mut wish).unwrap();
        send.send(&wish).await.unwrap();
        let mut capsules = Capsules::new(receive, LIMITS);
        let address = loop {
            let capsule = timeout(LIMIT, capsules.next()).await.unwrap().unwrap().unwrap();
            if let Ok(Some(Configuration::AddressAssign(all))) = Configuration::decode(&capsule) {
                break all.iter().map(|one| one.prefix.address()).find(IpAddr::is_ipv4).unwrap();
            }
        };
        Ok(Lane { datagrams, address, _send: send, _capsules: capsules })
    }
}

/// A datagram lane that stands.
pub(crate) struct Lane {
    pub(crate) datagrams: Datagrams,
    pub(crate) address: IpAddr,
    _send: BodySender,
    _capsules: Capsules,
}

/// A UDP packet over IPv4.
pub(crate) fn udp(from: IpAddr, to: &str, port: u16, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to.parse::<IpAddr>().unwrap()) else { unreachable!() };
    let udp = u16::try_from(8 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from(folded & 0xffff).unwrap();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(40_000u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend(udp.to_be_bytes());
    // No checksum, which UDP over IPv4 may do without.
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}
