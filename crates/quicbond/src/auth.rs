//! How a client proves that it knows its tenant's secret, without sending it.
//!
//! The proof is an HMAC with the secret over keying material that TLS exports (RFC 8446 §7.5) for this one connection and
//! this one tenant: it is worth nothing on another connection, and someone in the middle of two handshakes has two
//! different exports. Owns the arithmetic and the header; knows neither connections nor files.

mod failures;

pub(crate) use failures::Failures;

use crate::token::{Secret, TenantName};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::fmt;

/// Label of the exporter; its context is the name of the tenant, see [`exporter_context`].
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-quicbond-auth";
/// Sets this proof apart from anything else that the secret may once sign.
const PURPOSE: &[u8] = b"quicbond client v1";
const SCHEME: &str = "Quicbond";
/// The request that asks whether the server knows us; the name stands for whoever is at the other end.
pub(crate) const HELLO_URI: &str = "https://quicbond/.well-known/quicbond";
/// What the server sees of it.
pub(crate) const HELLO_PATH: &str = "/.well-known/quicbond";
/// The longest tenant and a proof fit in half of it.
const HEADER_MAX: usize = 256;

/// What TLS exports for one connection and one tenant.
pub(crate) type Exported = [u8; 32];

/// The context for the exporter, so that a proof holds for one tenant only.
pub(crate) fn exporter_context(tenant: &TenantName) -> &[u8] {
    tenant.as_str().as_bytes()
}

/// The value of `proxy-authorization` that proves to know the secret of `tenant`.
pub(crate) fn prove(tenant: &TenantName, secret: &Secret, exported: &Exported) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let proof = hmac::sign(&key, &signed(exported));
    format!("{SCHEME} tenant=\"{tenant}\", proof=\"{}\"", URL_SAFE_NO_PAD.encode(proof.as_ref()))
}

/// What a client says about itself, to be believed after [`Claim::verify`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    tenant: TenantName,
    proof: [u8; 32],
}

impl Claim {
    /// Reads the value of `proxy-authorization`. The parameters may come in any order; others are ignored (RFC 9110 §11.6).
    pub(crate) fn parse(header: &str) -> Result<Self, AuthError> {
        if header.len() > HEADER_MAX {
            return Err(AuthError::Unreadable);
        }
        let (scheme, parameters) = header.trim().split_once(' ').ok_or(AuthError::Unreadable)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(AuthError::Unreadable);
        }
        let (mut tenant, mut proof) = (None, None);
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=').ok_or(AuthError::Unreadable)?;
            let value =
                value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).ok_or(AuthError::Unreadable)?;
            let twice = match name.to_ascii_lowercase().as_str() {
                "tenant" => tenant.replace(value.parse().map_err(|_| AuthError::Unreadable)?).is_some(),
                "proof" => proof.replace(decoded(value)?).is_some(),
                _ => false,
            };
            if twice {
                return Err(AuthError::Unreadable);
            }
        }
        let (tenant, proof) = (tenant.ok_or(AuthError::Unreadable)?, proof.ok_or(AuthError::Unreadable)?);
        Ok(Self { tenant, proof })
    }

    /// Who it claims to be: whose secret to look up, and the context for the exporter.
    pub(crate) fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// Whether the claim is true. `secret` is `None` for a tenant that does not exist: the same work is done, so that
    /// the time taken does not tell which names exist, and neither does the error.
    pub(crate) fn verify(&self, secret: Option<&Secret>, exported: &Exported) -> Result<(), AuthError> {
        let stand_in = Secret::from_bytes([0; 32]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.unwrap_or(&stand_in).expose());
        // Compares in constant time.
        let holds = hmac::verify(&key, &signed(exported), &self.proof).is_ok();
        // Anyone can compute the proof for the stand-in.
        if holds && secret.is_some() { Ok(()) } else { Err(AuthError::Refused) }
    }
}

/// Why a client is not let in. What it is told is no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// The header is not ours or damaged.
    Unreadable,
    /// No such tenant, or a wrong proof.
    Refused,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the client sent no readable proof",
            Self::Refused => "the client does not know the secret of a tenant",
        })
    }
}

impl core::error::Error for AuthError {}

fn signed(exported: &Exported) -> Vec<u8> {
    [PURPOSE, exported].concat()
}

fn decoded(text: &str) -> Result<[u8; 32], AuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| AuthError::Unreadable)?;
    bytes.try_into().map_err(|_| AuthError::Unreadable)
}

#[cfg(test)]
mod tests;
