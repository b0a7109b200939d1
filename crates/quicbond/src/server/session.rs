//! One client's connection: who it is, and what it asks for.
//!
//! Owns the order of things: nothing is served before a proof was accepted, and a connection without one ends soon.

use super::state::{Member, State, Verdict};
use super::{connect_ip, connect_tcp, connect_udp};
use crate::auth::{Claim, EXPORTER_LABEL, HELLO_PATH, exporter_context};
use core::sync::atomic::Ordering;
use core::time::Duration;
use http::{HeaderValue, Method, Response, StatusCode, header};
use mpquic::Connection;
use mpquic_h3::{Protocol, Request, Server, code};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A connection has this long to prove who it is.
const PROOF_WAIT: Duration = Duration::from_secs(10);
/// Wrong proofs on one connection.
const FAILURES_MAX: u32 = 3;

/// Serves a connection until it ends.
pub(crate) async fn serve(state: Arc<State>, device: Arc<connect_ip::Device>, connection: Connection) {
    let from = connection.peer_address().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
    let Some(stranger) = state.strangers.admit(from) else {
        connection.close(code::EXCESSIVE_LOAD, b"too many connections without a proof");
        return;
    };
    state.totals.connections.fetch_add(1, Ordering::Relaxed);
    let Ok(server) = Server::start(connection.clone()).await else { return };
    let mut gate = Gate { state: Arc::clone(&state), connection, from, accepted: None, failures: 0 };
    let first = tokio::time::timeout(PROOF_WAIT, gate.first(&server)).await;
    drop(stranger);
    match first {
        Ok(Some((request, member))) => {
            tracing::info!(tenant = %member.tenant, session = member.number, peer = %from, "session begins");
            gate.serve(&server, &device, request, &member).await;
            state.leave(&member);
            tracing::info!(tenant = %member.tenant, session = member.number, "session ended");
        }
        Ok(None) => gate.connection.close(code::REQUEST_REJECTED, b"no proof"),
        Err(_) => gate.connection.close(code::REQUEST_REJECTED, b"no proof in time"),
    }
}

/// Knows who the client is once it has said so.
struct Gate {
    state: Arc<State>,
    connection: Connection,
    from: IpAddr,
    /// The header that was accepted: the same on every later request.
    accepted: Option<HeaderValue>,
    failures: u32,
}

impl Gate {
    /// The first request with a proof that counts.
    async fn first(&mut self, server: &Server) -> Option<(Request, Arc<Member>)> {
        while let Ok(Some(request)) = server.accept().await {
            let proof = request.head.headers().get(header::PROXY_AUTHORIZATION).cloned();
            let verdict = match &proof {
                Some(proof) => self.judge(proof).await,
                None => Verdict::Refused,
            };
            match verdict {
                Verdict::Tenant(tenant) => {
                    self.accepted = proof;
                    match self.state.join(&tenant, &self.connection) {
                        Some(member) => return Some((request, member)),
                        None => {
                            answer(request, StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached")
                                .await;
                        }
                    }
                }
                Verdict::Refused => answer(request, StatusCode::PROXY_AUTHENTICATION_REQUIRED, "").await,
                Verdict::Later => answer(request, StatusCode::TOO_MANY_REQUESTS, "").await,
            }
            self.failures += 1;
            if self.failures >= FAILURES_MAX {
                // The answer must have a chance to arrive before the connection ends.
                tokio::time::sleep(Duration::from_secs(1)).await;
                return None;
            }
        }
        None
    }

    async fn judge(&self, header: &HeaderValue) -> Verdict {
        let Some(claim) = header.to_str().ok().and_then(|text| Claim::parse(text).ok()) else {
            self.state.on_failure(self.from);
            return Verdict::Refused;
        };
        let mut exported = [0; 32];
        let context = exporter_context(claim.tenant());
        if self.connection.export_keying_material(&mut exported, EXPORTER_LABEL, context).await.is_err() {
            return Verdict::Refused;
        }
        self.state.judge(self.from, &claim, &exported)
    }

    async fn serve(
        &self,
        server: &Server,
        device: &Arc<connect_ip::Device>,
        first: Request,
        member: &Arc<Member>,
    ) {
        // All that the session runs ends with it.
        let mut running = JoinSet::new();
        let mut next = Some(first);
        loop {
            let request = match next.take() {
                Some(request) => request,
                None => tokio::select! {
                    accepted = server.accept() => match accepted {
                        Ok(Some(request)) => request,
                        Ok(None) | Err(_) => return,
                    },
                    Some(_) = running.join_next() => continue,
                },
            };
            let same = request.head.headers().get(header::PROXY_AUTHORIZATION) == self.accepted.as_ref();
            if !same {
                running.spawn(answer(request, StatusCode::PROXY_AUTHENTICATION_REQUIRED, ""));
                continue;
            }
            let (state, member, device) = (Arc::clone(&self.state), Arc::clone(member), Arc::clone(device));
            running.spawn(async move { dispatch(state, member, device, request).await });
        }
    }
}

async fn dispatch(state: Arc<State>, member: Arc<Member>, device: Arc<connect_ip::Device>, request: Request) {
    let protocol = request.head.extensions().get::<Protocol>().map(|p| p.0.clone());
    match (request.head.method(), protocol.as_deref()) {
        (&Method::CONNECT, None) => connect_tcp::serve(&state, &member, request).await,
        (&Method::CONNECT, Some("connect-udp")) => connect_udp::serve(&state, &member, request).await,
        (&Method::CONNECT, Some("connect-ip")) => connect_ip::serve(&state, &member, &device, request).await,
        (&Method::GET, None) if request.head.uri().path() == HELLO_PATH => {
            answer(request, StatusCode::NO_CONTENT, "").await;
        }
        // RFC 9220 §3: a protocol that is not supported.
        (&Method::CONNECT, Some(_)) => answer(request, StatusCode::NOT_IMPLEMENTED, "").await,
        _ => answer(request, StatusCode::NOT_FOUND, "").await,
    }
}

/// Ends a request with a status, and with an error type of RFC 9209 if there is one.
pub(crate) async fn answer(request: Request, status: StatusCode, error: &str) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        response.headers_mut().insert(header::PROXY_AUTHENTICATE, HeaderValue::from_static("Quicbond"));
    }
    if !error.is_empty()
        && let Ok(value) = HeaderValue::from_str(&format!("quicbond; error={error}"))
    {
        response.headers_mut().insert("proxy-status", value);
    }
    // The client is gone if this fails.
    if let Ok((mut send, mut receive)) = request.respond(response).await {
        send.finish().ok();
        receive.stop(code::NO_ERROR);
    }
}
