//! One handshake: rustls's QUIC connection behind the machine's `Session`.
//!
//! Adds two things to rustls: every failure has an alert, and a session that failed stays failed (it neither reads
//! nor writes again, whatever the peer still sends).

use crate::keys::{direction, new_keys};
use crate::pin::PinMismatch;
use core::fmt;
use mpquic_proto::crypto::{DirectionKeys, NewKeys, Session, TlsFailure};
use rustls::quic::Connection;
use rustls::{AlertDescription, CertificateError, Error, HandshakeKind};
use std::any::Any;

/// Characters of a failure's description; some of rustls's quote the peer's certificate.
const REASON_LIMIT: usize = 200;

/// What [`Session::as_any`] of a session of this crate can be cast to.
pub struct TlsSession {
    tls: Connection,
    /// A client's: the server's parameters of an earlier visit, which rustls shows until the new ones come.
    remembered: Option<Vec<u8>>,
    failure: Option<TlsFailure>,
}

impl TlsSession {
    pub(crate) fn new(tls: impl Into<Connection>) -> Self {
        let tls = tls.into();
        let remembered = tls.quic_transport_parameters().map(<[u8]>::to_vec);
        Self { tls, remembered, failure: None }
    }

    /// The name of the cipher suite, once agreed, as rustls spells it (`TLS13_AES_128_GCM_SHA256`).
    #[must_use]
    pub fn cipher_suite(&self) -> Option<&'static str> {
        self.tls.negotiated_cipher_suite()?.suite().as_str()
    }

    /// The name of the key exchange group, once agreed (`X25519`).
    #[must_use]
    pub fn key_exchange(&self) -> Option<&'static str> {
        self.tls.negotiated_key_exchange_group()?.name().as_str()
    }

    /// On a server: the name the client asked for, if it sent one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match &self.tls {
            Connection::Client(_) => None,
            Connection::Server(server) => server.server_name(),
        }
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
        self.tls.read_hs(data).map_err(|error| {
            let reason = error.to_string().chars().take(REASON_LIMIT).collect();
            let failure = TlsFailure { alert: alert(&error, self.tls.alert()), reason };
            self.failure = Some(failure.clone());
            failure
        })
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        if self.failure.is_some() {
            return None;
        }
        self.tls.write_hs(out).map(new_keys)
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn peer_parameters(&self) -> Option<&[u8]> {
        // What is remembered is not what this server says now.
        let stale = self.remembered.is_some() && self.tls.is_handshaking();
        self.tls.quic_transport_parameters().filter(|_| !stale)
    }

    fn early_keys(&self) -> Option<DirectionKeys> {
        self.tls.zero_rtt_keys().map(direction)
    }

    fn remembered_parameters(&self) -> Option<&[u8]> {
        self.remembered.as_deref()
    }

    fn early_accepted(&self) -> Option<bool> {
        match &self.tls {
            Connection::Client(client) if !client.is_handshaking() => Some(client.is_early_data_accepted()),
            _ => None,
        }
    }

    fn resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn cipher(&self) -> Option<&'static str> {
        self.cipher_suite()
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.tls.peer_certificates()?.first().map(|der| der.to_vec())
    }

    fn export(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        // RFC 8446 §7.5: an absent context and an empty one give the same value.
        !self.is_handshaking() && self.tls.export_keying_material(out, label, Some(context)).is_ok()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("cipher_suite", &self.cipher_suite())
            .field("handshaking", &self.tls.is_handshaking())
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
