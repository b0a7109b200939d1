//! One handshake: rustls's QUIC connection behind the machine's `Session`.
//!
//! Adds two things to rustls: every failure has an alert, and a session that failed stays failed (it neither reads
//! nor writes again, whatever the peer still sends). And it lets rustls go as soon as the handshake is over.

use crate::after::{Exporter, Late};
use crate::derive::{derived, is_better};
use crate::keys::{direction, new_keys};
use crate::pin::PinMismatch;
use crate::provider::quic_version;
use crate::tap::Heard;
use crate::tickets::Visitor;
use core::fmt;
use mpquic_base::Role;
use mpquic_proto::crypto::{DirectionKeys, NewKeys, Session, TlsFailure};
use rustls::quic::{Connection, KeyChange};
use rustls::{AlertDescription, CertificateError, Error, HandshakeKind};
use std::any::Any;
use std::sync::Arc;

/// Characters of a failure's description; some of rustls's quote the peer's certificate.
const REASON_LIMIT: usize = 200;

/// What [`Session::as_any`] of a session of this crate can be cast to.
pub struct TlsSession {
    stage: Stage,
    failure: Option<TlsFailure>,
}

enum Stage {
    Running(Box<Running>),
    Over(Box<Over>),
}

struct Running {
    tls: Connection,
    /// A client's: the server's parameters of an earlier visit, which rustls shows until the new ones come.
    remembered: Option<Vec<u8>>,
    /// A client's tickets: rustls is to see those that the server gives.
    visitor: Option<Arc<Visitor>>,
    heard: Heard,
    /// The version whose labels the keys get, and whether it is another than that of the beginning.
    version: u32,
    changed: bool,
    /// Keys were handed out: it is too late for another version.
    settled: bool,
}

/// What the connection may still be asked for.
struct Over {
    client: bool,
    exporter: Exporter,
    late: Late,
    early_accepted: Option<bool>,
    resumed: bool,
    alpn: Option<Box<[u8]>>,
    certificate: Option<Box<[u8]>>,
    cipher_suite: Option<&'static str>,
    key_exchange: Option<&'static str>,
    server_name: Option<Box<str>>,
}

impl TlsSession {
    /// `tls` has a [`Tap`](crate::tap::Tap) for its key log.
    pub(crate) fn new(tls: impl Into<Connection>, version: u32, visitor: Option<Arc<Visitor>>) -> Self {
        let tls = tls.into();
        let remembered = tls.quic_transport_parameters().map(<[u8]>::to_vec);
        let heard = Heard::default();
        let running = Running { tls, remembered, visitor, heard, version, changed: false, settled: false };
        Self { stage: Stage::Running(Box::new(running)), failure: None }
    }

    /// The name of the cipher suite, once agreed, as rustls spells it (`TLS13_AES_128_GCM_SHA256`).
    #[must_use]
    pub fn cipher_suite(&self) -> Option<&'static str> {
        match &self.stage {
            Stage::Running(running) => running.tls.negotiated_cipher_suite()?.suite().as_str(),
            Stage::Over(over) => over.cipher_suite,
        }
    }

    /// The name of the key exchange group, once agreed (`X25519`).
    #[must_use]
    pub fn key_exchange(&self) -> Option<&'static str> {
        match &self.stage {
            Stage::Running(running) => running.tls.negotiated_key_exchange_group()?.name().as_str(),
            Stage::Over(over) => over.key_exchange,
        }
    }

    /// On a server: the name the client asked for, if it sent one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match &self.stage {
            Stage::Running(running) => match &running.tls {
                Connection::Client(_) => None,
                Connection::Server(server) => server.server_name(),
            },
            Stage::Over(over) => over.server_name.as_deref(),
        }
    }

    const fn running(&self) -> Option<&Running> {
        match &self.stage {
            Stage::Running(running) => Some(running),
            Stage::Over(_) => None,
        }
    }
}

impl Running {
    fn read(&mut self, data: &[u8]) -> Result<(), TlsFailure> {
        let read = self.tls.read_hs(data);
        self.heard.listen();
        read.map_err(|error| {
            let reason = error.to_string().chars().take(REASON_LIMIT).collect();
            TlsFailure { alert: alert(&error, self.tls.alert()), reason }
        })
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        let change = self.tls.write_hs(out)?;
        self.heard.listen();
        Some(self.derived(&change).unwrap_or_else(|| new_keys(change)))
    }

    fn derived(&mut self, change: &KeyChange) -> Option<NewKeys> {
        self.settled = true;
        // Taken in any case: nothing is kept that is not needed.
        let secrets = self.heard.take(change);
        let role = if matches!(self.tls, Connection::Client(_)) { Role::Client } else { Role::Server };
        let suite = self.tls.negotiated_cipher_suite()?.tls13()?;
        let wanted = self.changed || is_better(change, suite);
        wanted.then(|| derived(change, secrets, suite, self.version, role)).flatten()
    }

    fn change_version(&mut self, version: u32) -> bool {
        if self.settled || quic_version(version).is_none() {
            return false;
        }
        (self.version, self.changed) = (version, true);
        self.visitor.iter().for_each(|visitor| visitor.on_version(version));
        true
    }

    fn resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn early_accepted(&self) -> Option<bool> {
        match &self.tls {
            Connection::Client(client) if !client.is_handshaking() => Some(client.is_early_data_accepted()),
            _ => None,
        }
    }

    fn peer_certificate(&self) -> Option<&[u8]> {
        self.tls.peer_certificates()?.first().map(|der| &**der)
    }
}

impl Session for TlsSession {
    fn read(&mut self, data: &[u8]) -> Result<(), TlsFailure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if data.is_empty() {
            return Ok(());
        }
        let read = match &mut self.stage {
            Stage::Running(running) => running.read(data),
            Stage::Over(over) => over.late.read(over.client, data),
        };
        if let Err(failure) = &read {
            self.failure = Some(failure.clone());
        }
        read
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        if self.failure.is_some() {
            return None;
        }
        match &mut self.stage {
            Stage::Running(running) => running.write(out),
            Stage::Over(_) => None,
        }
    }

    fn change_version(&mut self, version: u32) -> bool {
        match &mut self.stage {
            Stage::Running(running) => running.change_version(version),
            Stage::Over(_) => false,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.running().is_some_and(|running| running.tls.is_handshaking())
    }

    fn peer_parameters(&self) -> Option<&[u8]> {
        let running = self.running()?;
        // What is remembered is not what this server says now.
        let stale = running.remembered.is_some() && running.tls.is_handshaking();
        running.tls.quic_transport_parameters().filter(|_| !stale)
    }

    fn early_keys(&self) -> Option<DirectionKeys> {
        self.running()?.tls.zero_rtt_keys().map(direction)
    }

    fn remembered_parameters(&self) -> Option<&[u8]> {
        self.running()?.remembered.as_deref()
    }

    fn early_accepted(&self) -> Option<bool> {
        match &self.stage {
            Stage::Running(running) => running.early_accepted(),
            Stage::Over(over) => over.early_accepted,
        }
    }

    fn resumed(&self) -> bool {
        match &self.stage {
            Stage::Running(running) => running.resumed(),
            Stage::Over(over) => over.resumed,
        }
    }

    fn cipher(&self) -> Option<&'static str> {
        self.cipher_suite()
    }

    fn alpn(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Running(running) => running.tls.alpn_protocol(),
            Stage::Over(over) => over.alpn.as_deref(),
        }
    }

    fn peer_certificate(&self) -> Option<Vec<u8>> {
        let certificate = match &self.stage {
            Stage::Running(running) => running.peer_certificate(),
            Stage::Over(over) => over.certificate.as_deref(),
        };
        certificate.map(<[u8]>::to_vec)
    }

    fn export(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        match &self.stage {
            Stage::Running(running) => {
                // RFC 8446 §7.5: an absent context and an empty one give the same value.
                let export = || running.tls.export_keying_material(out, label, Some(context)).is_ok();
                !running.tls.is_handshaking() && export()
            }
            Stage::Over(over) => over.exporter.export(out, label, context),
        }
    }

    fn shed(&mut self) {
        let Stage::Running(running) = &mut self.stage else { return };
        if running.tls.is_handshaking() || running.visitor.is_some() || self.failure.is_some() {
            return;
        }
        let Some(exporter) = running.heard.exporter.take() else { return };
        let over = Over {
            client: matches!(running.tls, Connection::Client(_)),
            exporter,
            late: Late::default(),
            early_accepted: running.early_accepted(),
            resumed: running.resumed(),
            alpn: self.alpn().map(Box::from),
            certificate: self.running().and_then(Running::peer_certificate).map(Box::from),
            cipher_suite: self.cipher_suite(),
            key_exchange: self.key_exchange(),
            server_name: self.server_name().map(Box::from),
        };
        self.stage = Stage::Over(Box::new(over));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("cipher_suite", &self.cipher_suite())
            .field("handshaking", &self.is_handshaking())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// The alert for `error`: the one rustls raised, or else the one that fits.
fn alert(error: &Error, raised: Option<AlertDescription>) -> u8 {
    if let Error::InvalidCertificate(CertificateError::Other(other)) = error
        && other.0.is::<PinMismatch>()
    {
        return AlertDescription::BadCertificate.into();
    }
    raised
        .unwrap_or_else(|| match error {
            Error::InvalidMessage(e) => AlertDescription::from(*e),
            Error::InvalidCertificate(e) => AlertDescription::from(e.clone()),
            Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                AlertDescription::UnexpectedMessage
            }
            Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
            Error::PeerIncompatible(_) | Error::NoCertificatesPresented => AlertDescription::HandshakeFailure,
            Error::DecryptError => AlertDescription::DecryptError,
            // Everything else went wrong on our side of the wire.
            _ => AlertDescription::InternalError,
        })
        .into()
}

#[cfg(test)]
mod tests;
