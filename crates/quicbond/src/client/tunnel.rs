//! The tunnel as its users see it: a door that may be shut for a while.
//!
//! Owns the requests that open flows, and how refusals of the server read. Which links carry the session, and getting a
//! new one when it is lost, is the business of `session`.

use super::dial::{DatagramFlow, Dial, Host, Refusal, Target};
use crate::flow::Flow;
use bytes::Bytes;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use mpquic_h3::{Client, Datagrams, RequestStream, connect_udp};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long a new flow waits for a session that is being restored before it is refused.
const SESSION_WAIT: Duration = Duration::from_secs(10);
/// Longer than the server's own limit for reaching a target, so that its answer comes first.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// A session that stands: authenticated, ready for requests.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) http: Client,
    /// Proves on each request who we are.
    pub(crate) proof: HeaderValue,
    /// Told apart from those before and after it.
    pub(crate) number: u64,
}

/// What came and went, for `status`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) tcp_flows: AtomicU64,
    pub(crate) udp_flows: AtomicU64,
    pub(crate) tcp_open: AtomicU64,
    pub(crate) udp_open: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// A handle on the tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    session: watch::Receiver<Option<Session>>,
    slots: Arc<Semaphore>,
    pub(crate) counters: Arc<Counters>,
}

impl Tunnel {
    /// At most `flows_max` flows are open at once.
    pub(crate) fn new(session: watch::Receiver<Option<Session>>, flows_max: usize) -> Self {
        Self { session, slots: Arc::new(Semaphore::new(flows_max)), counters: Arc::default() }
    }

    /// Waits until there is a session.
    pub(crate) async fn session(&self) -> Option<Session> {
        let mut session = self.session.clone();
        let found = session.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }

    async fn soon(&self) -> Result<Session, Refusal> {
        let waited = tokio::time::timeout(SESSION_WAIT, self.session()).await;
        waited.ok().flatten().ok_or(Refusal::TunnelDown)
    }

    /// Sends a request and reads the answer's head.
    pub(crate) async fn open(
        &self,
        session: &Session,
        head: Request<()>,
    ) -> Result<(RequestStream, Response<()>), Refusal> {
        let answered = async {
            let mut stream = session.http.request(head).await.map_err(|_| Refusal::TunnelDown)?;
            let response = stream.response().await.map_err(|_| Refusal::TunnelDown)?;
            if response.status().is_success() {
                return Ok((stream, response));
            }
            Err(refusal(response.status(), response.headers().get("proxy-status")))
        };
        match tokio::time::timeout(ANSWER_WAIT, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::TimedOut),
        }
        .inspect_err(|_| {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Refusal::TooMany)
    }
}

impl Dial for Tunnel {
    type Flow = Counted<Flow>;
    type Datagrams = Counted<UdpFlow>;

    async fn tcp(&self, target: &Target) -> Result<Self::Flow, Refusal> {
        let slot = self.slot()?;
        let session = self.soon().await?;
        let authority = target.to_string().parse::<Uri>().map_err(|_| Refusal::NameUnknown)?;
        let mut head = Request::new(());
        *head.method_mut() = Method::CONNECT;
        *head.uri_mut() = authority;
        head.headers_mut().insert(header::PROXY_AUTHORIZATION, session.proof.clone());
        let (stream, _) = self.open(&session, head).await?;
        let (send, receive) = stream.split();
        self.counters.tcp_flows.fetch_add(1, Ordering::Relaxed);
        Ok(Counted::new(Flow::new(send, receive), slot, Arc::clone(&self.counters), |c| &c.tcp_open))
    }

    async fn udp(&self, target: &Target) -> Result<Self::Datagrams, Refusal> {
        let slot = self.slot()?;
        let session = self.soon().await?;
        let host = match &target.host {
            Host::Ip(ip) => connect_udp::Host::Ip(*ip),
            Host::Name(name) => connect_udp::Host::Name(name.clone()),
        };
        let wanted = connect_udp::Target { host, port: target.port };
        let mut head = wanted.request("quicbond").map_err(|_| Refusal::NameUnknown)?;
        head.headers_mut().insert(header::PROXY_AUTHORIZATION, session.proof.clone());
        let (stream, _) = self.open(&session, head).await?;
        self.counters.udp_flows.fetch_add(1, Ordering::Relaxed);
        let flow = UdpFlow { datagrams: stream.datagrams(), _stream: stream };
        Ok(Counted::new(flow, slot, Arc::clone(&self.counters), |c| &c.udp_open))
    }
}

/// RFC 9209 §2.3: the error type says more than the status, where there is one.
fn refusal(status: StatusCode, proxy_status: Option<&HeaderValue>) -> Refusal {
    let error = proxy_status
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').find_map(|part| part.trim().strip_prefix("error=")))
        .unwrap_or_default();
    match (error, status) {
        ("destination_ip_prohibited" | "http_request_denied", _) | (_, StatusCode::FORBIDDEN) => {
            Refusal::NotAllowed
        }
        ("connection_refused", _) => Refusal::Refused,
        ("dns_error" | "dns_timeout", _) => Refusal::NameUnknown,
        ("destination_ip_unroutable" | "destination_unavailable", _) => Refusal::HostUnreachable,
        ("connection_timeout", _) | (_, StatusCode::GATEWAY_TIMEOUT) => Refusal::TimedOut,
        ("connection_limit_reached", _)
        | (_, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => Refusal::TooMany,
        (_, StatusCode::PROXY_AUTHENTICATION_REQUIRED) => Refusal::TunnelDown,
        _ => Refusal::HostUnreachable,
    }
}

/// A UDP flow over CONNECT-UDP (RFC 9298); it ends with the request stream.
#[derive(Debug)]
pub(crate) struct UdpFlow {
    datagrams: Datagrams,
    _stream: RequestStream,
}

impl DatagramFlow for UdpFlow {
    fn send(&self, payload: &[u8]) -> bool {
        self.datagrams.send(connect_udp::CONTEXT, payload).is_ok()
    }

    async fn recv(&self) -> Option<Bytes> {
        loop {
            let (context, payload) = self.datagrams.recv().await?;
            if context == connect_udp::CONTEXT {
                return Some(payload);
            }
        }
    }
}

/// A flow that counts among the open ones until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<F> {
    flow: F,
    _slot: OwnedSemaphorePermit,
    counters: Arc<Counters>,
    open: fn(&Counters) -> &AtomicU64,
}

impl<F> Counted<F> {
    fn new(
        flow: F,
        slot: OwnedSemaphorePermit,
        counters: Arc<Counters>,
        open: fn(&Counters) -> &AtomicU64,
    ) -> Self {
        open(&counters).fetch_add(1, Ordering::Relaxed);
        Self { flow, _slot: slot, counters, open }
    }
}

impl<F> Drop for Counted<F> {
    fn drop(&mut self) {
        (self.open)(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}

mod counted {
    //! What a flow can do, it can do while counted.

    use super::{Bytes, Counted, DatagramFlow, Flow, UdpFlow};
    use crate::relay::Abort;
    use core::pin::Pin;
    use core::task::{Context, Poll};
    use std::io;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    impl Abort for Counted<Flow> {
        fn abort(&mut self) {
            self.flow.abort();
        }
    }

    impl AsyncRead for Counted<Flow> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.flow).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counted<Flow> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.flow).poll_write(cx, data)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.flow).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.flow).poll_shutdown(cx)
        }
    }

    impl DatagramFlow for Counted<UdpFlow> {
        fn send(&self, payload: &[u8]) -> bool {
            self.flow.send(payload)
        }

        async fn recv(&self) -> Option<Bytes> {
            self.flow.recv().await
        }
    }
}
