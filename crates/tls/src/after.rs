//! What is left of a handshake that is over: what was agreed, the exporter, and a reader of what a server may still say.
//!
//! rustls keeps 3 kB of a finished QUIC handshake, record keys that QUIC never uses among them. None of it is needed
//! any more by an end that wants no tickets, except the exporter's secret.

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use mpquic_proto::crypto::TlsFailure;
use rustls::AlertDescription;

/// Bytes of the longest secret: SHA-384's.
const SECRET_MAX: usize = 48;
/// rustls takes no longer message either.
const MESSAGE_MAX: usize = 0xffff;
/// Type and length of a handshake message (RFC 8446 §4).
const HEAD: usize = 4;
const NEW_SESSION_TICKET: u8 = 4;
/// RFC 8446 §4.2: the extension early_data.
const EARLY_DATA: u16 = 42;
/// RFC 8446 §7.5.
pub(crate) struct Exporter {
    secret: [u8; SECRET_MAX],
    /// As long as the hash of the handshake: 32 or 48.
    len: u8,
}

impl Exporter {
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut secret = [0; SECRET_MAX];
        secret.get_mut(..bytes.len())?.copy_from_slice(bytes);
        matches!(bytes.len(), 32 | 48).then_some(Self { secret, len: u8::try_from(bytes.len()).ok()? })
    }

    /// Fills `out`; false if label or length are beyond what TLS allows.
    pub(crate) fn export(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        let (algorithm, hash) = if self.len == 32 { (HKDF_SHA256, &SHA256) } else { (HKDF_SHA384, &SHA384) };
        let prk = Prk::new_less_safe(algorithm, &self.secret[..usize::from(self.len)]);
        let mut derived = [0; SECRET_MAX];
        let derived = &mut derived[..usize::from(self.len)];
        if !expand_label(&prk, label, digest(hash, &[]).as_ref(), derived) {
            return false;
        }
        let done = expand_label(
            &Prk::new_less_safe(algorithm, derived),
            b"exporter",
            digest(hash, context).as_ref(),
            out,
        );
        derived.fill(0);
        done
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.secret.fill(0);
        // Or else the compiler sees that nobody reads the zeros.
        core::hint::black_box(&self.secret);
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// RFC 8446 §7.1: HKDF-Expand-Label.
fn expand_label(prk: &Prk, label: &[u8], context: &[u8], out: &mut [u8]) -> bool {
    const PREFIX: &[u8] = b"tls13 ";
    let (Ok(len), Ok(label_len)) = (u16::try_from(out.len()), u8::try_from(PREFIX.len() + label.len()))
    else {
        return false;
    };
    let Ok(context_len) = u8::try_from(context.len()) else { return false };
    let info = [&len.to_be_bytes()[..], &[label_len], PREFIX, label, &[context_len], context];
    prk.expand(&info, Bytes(out.len())).is_ok_and(|okm| okm.fill(out).is_ok())
}

/// Reads what the peer says after the handshake. Only a server may say something, and only give tickets, which are
/// checked and dropped.
#[derive(Debug, Default)]
pub(crate) struct Late {
    /// A message that has not wholly arrived.
    partial: Vec<u8>,
}

impl Late {
    pub(crate) fn read(&mut self, from_server: bool, data: &[u8]) -> Result<(), TlsFailure> {
        self.partial.extend_from_slice(data);
        let mut rest = &self.partial[..];
        while let Some((&[kind, a, b, c], body)) = rest.split_first_chunk::<HEAD>() {
            // RFC 9001 §6 of key updates, RFC 8446 §4.6.2 of requests that nobody may make.
            if !from_server || kind != NEW_SESSION_TICKET {
                return Err(failure(AlertDescription::UnexpectedMessage, "a message after the handshake"));
            }
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            if len > MESSAGE_MAX {
                return Err(failure(AlertDescription::DecodeError, "a message that is too long"));
            }
            let Some((ticket, more)) = body.split_at_checked(len) else { break };
            check_ticket(ticket)?;
            rest = more;
        }
        self.partial = rest.to_vec();
        Ok(())
    }
}

/// RFC 8446 §4.6.1: lifetime, age, nonce, ticket, extensions.
fn check_ticket(ticket: &[u8]) -> Result<(), TlsFailure> {
    let malformed = || failure(AlertDescription::DecodeError, "a ticket that makes no sense");
    let body = ticket.get(8..).ok_or_else(malformed)?;
    let (_nonce, body) = prefixed(body, 1).ok_or_else(malformed)?;
    let (opaque, body) = prefixed(body, 2).ok_or_else(malformed)?;
    let (mut extensions, body) = prefixed(body, 2).ok_or_else(malformed)?;
    if opaque.is_empty() || !body.is_empty() {
        return Err(malformed());
    }
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (value, rest) = prefixed(rest, 2).ok_or_else(malformed)?;
        // RFC 9001 §4.6.1: the only value that a QUIC server may give.
        if u16::from_be_bytes(*kind) == EARLY_DATA && value != [0xff; 4] {
            return Err(failure(AlertDescription::IllegalParameter, "a limit on 0-RTT data"));
        }
        extensions = rest;
    }
    Ok(())
}

/// What a length of `width` bytes announces, and what follows it.
fn prefixed(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_at_checked(width)?;
    rest.split_at_checked(len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
}

fn failure(alert: AlertDescription, reason: &str) -> TlsFailure {
    TlsFailure { alert: alert.into(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
