//! Trust in a server by the hash of its certificate or of its public key, instead of by a certificate authority.
//!
//! Neither names nor dates of a pinned certificate are looked at: the pin says more than they could. The handshake
//! signature is verified in full, so that knowing the certificate is not enough to be the server.

use crate::error::ConfigError;
use aws_lc_rs::{constant_time, digest};
use core::fmt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme};
use std::str::FromStr;
use std::sync::Arc;

/// A SHA-256 hash, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The hash of an encoded certificate.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self::of(der)
    }

    /// The hash of the SubjectPublicKeyInfo in an encoded certificate.
    ///
    /// # Errors
    /// If `der` is no X.509 certificate.
    pub fn of_public_key(der: &[u8]) -> Result<Self, ConfigError> {
        let cert = CertificateDer::from(der);
        let parsed = ParsedCertificate::try_from(&cert).map_err(|e| ConfigError::new("certificate", e))?;
        Ok(Self::of(&parsed.subject_public_key_info()))
    }

    fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Compares in constant time.
    fn matches(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// Reads 64 hexadecimal digits in either case; colons between bytes, as openssl prints them, are skipped.
impl FromStr for Fingerprint {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::new("fingerprint", "64 hexadecimal digits are needed");
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or_else(wrong))
            .collect::<Result<_, _>>()?;
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (pair[0] << 4) | pair[1];
        }
        Ok(Self(hash))
    }
}

/// One acceptable server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Exactly this end-entity certificate.
    Certificate(Fingerprint),
    /// Any certificate for this public key (survives a renewal with the same key).
    PublicKey(Fingerprint),
}

/// The server is not the pinned one. Names what was seen, so that an operator can compare.
#[derive(Debug)]
pub(crate) struct PinMismatch {
    seen: Fingerprint,
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the pinned server; its certificate is {:?}", self.seen)
    }
}

impl std::error::Error for PinMismatch {}

/// Accepts a server that matches one of the pins and proves possession of its key.
#[derive(Debug)]
pub(crate) struct PinVerifier {
    pins: Vec<Pin>,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    pub(crate) fn new(pins: Vec<Pin>, provider: Arc<CryptoProvider>) -> Self {
        Self { pins, provider }
    }

    fn matches(&self, certificate: Fingerprint, public_key: Option<Fingerprint>) -> bool {
        self.pins.iter().any(|pin| match pin {
            Pin::Certificate(hash) => hash.matches(&certificate),
            Pin::PublicKey(hash) => public_key.is_some_and(|seen| hash.matches(&seen)),
        })
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Fingerprint::of_certificate(end_entity);
        if self.matches(seen, Fingerprint::of_public_key(end_entity).ok()) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::Other(OtherError(Arc::new(PinMismatch { seen }))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // RFC 9001 §4.2: QUIC has no TLS older than 1.3.
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
