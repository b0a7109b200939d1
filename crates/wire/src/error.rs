//! Error codes that travel in CONNECTION_CLOSE and PATH_ABANDON.

use core::fmt;

/// A transport error code (RFC 9000 §20.1, draft-ietf-quic-multipath-21 §8).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u64);

impl Code {
    pub const NO_ERROR: Self = Self(0x00);
    pub const INTERNAL_ERROR: Self = Self(0x01);
    pub const CONNECTION_REFUSED: Self = Self(0x02);
    pub const FLOW_CONTROL_ERROR: Self = Self(0x03);
    pub const STREAM_LIMIT_ERROR: Self = Self(0x04);
    pub const STREAM_STATE_ERROR: Self = Self(0x05);
    pub const FINAL_SIZE_ERROR: Self = Self(0x06);
    pub const FRAME_ENCODING_ERROR: Self = Self(0x07);
    pub const TRANSPORT_PARAMETER_ERROR: Self = Self(0x08);
    pub const CONNECTION_ID_LIMIT_ERROR: Self = Self(0x09);
    pub const PROTOCOL_VIOLATION: Self = Self(0x0a);
    pub const INVALID_TOKEN: Self = Self(0x0b);
    pub const APPLICATION_ERROR: Self = Self(0x0c);
    pub const CRYPTO_BUFFER_EXCEEDED: Self = Self(0x0d);
    pub const KEY_UPDATE_ERROR: Self = Self(0x0e);
    pub const AEAD_LIMIT_REACHED: Self = Self(0x0f);
    pub const NO_VIABLE_PATH: Self = Self(0x10);
    pub const VERSION_NEGOTIATION_ERROR: Self = Self(0x11);
    pub const APPLICATION_ABANDON_PATH: Self = Self(0x3e);
    pub const PATH_RESOURCE_LIMIT_REACHED: Self = Self(0x3e75);
    pub const PATH_UNSTABLE_OR_POOR: Self = Self(0x3e76);
    pub const NO_CID_AVAILABLE_FOR_PATH: Self = Self(0x3e77);

    /// The code for a TLS alert (RFC 9001 §4.8).
    #[must_use]
    pub const fn from_alert(alert: u8) -> Self {
        Self(0x0100 | alert as u64)
    }

    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::NO_ERROR, "NO_ERROR"),
        (Self::INTERNAL_ERROR, "INTERNAL_ERROR"),
        (Self::CONNECTION_REFUSED, "CONNECTION_REFUSED"),
        (Self::FLOW_CONTROL_ERROR, "FLOW_CONTROL_ERROR"),
        (Self::STREAM_LIMIT_ERROR, "STREAM_LIMIT_ERROR"),
        (Self::STREAM_STATE_ERROR, "STREAM_STATE_ERROR"),
        (Self::FINAL_SIZE_ERROR, "FINAL_SIZE_ERROR"),
        (Self::FRAME_ENCODING_ERROR, "FRAME_ENCODING_ERROR"),
        (Self::TRANSPORT_PARAMETER_ERROR, "TRANSPORT_PARAMETER_ERROR"),
        (Self::CONNECTION_ID_LIMIT_ERROR, "CONNECTION_ID_LIMIT_ERROR"),
        (Self::PROTOCOL_VIOLATION, "PROTOCOL_VIOLATION"),
        (Self::INVALID_TOKEN, "INVALID_TOKEN"),
        (Self::APPLICATION_ERROR, "APPLICATION_ERROR"),
        (Self::CRYPTO_BUFFER_EXCEEDED, "CRYPTO_BUFFER_EXCEEDED"),
        (Self::KEY_UPDATE_ERROR, "KEY_UPDATE_ERROR"),
        (Self::AEAD_LIMIT_REACHED, "AEAD_LIMIT_REACHED"),
        (Self::NO_VIABLE_PATH, "NO_VIABLE_PATH"),
        (Self::VERSION_NEGOTIATION_ERROR, "VERSION_NEGOTIATION_ERROR"),
        (Self::APPLICATION_ABANDON_PATH, "APPLICATION_ABANDON_PATH"),
        (Self::PATH_RESOURCE_LIMIT_REACHED, "PATH_RESOURCE_LIMIT_REACHED"),
        (Self::PATH_UNSTABLE_OR_POOR, "PATH_UNSTABLE_OR_POOR"),
        (Self::NO_CID_AVAILABLE_FOR_PATH, "NO_CID_AVAILABLE_FOR_PATH"),
    ];
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(code, _)| code == self) {
            Some((_, name)) => f.write_str(name),
            None if (0x100..0x200).contains(&self.0) => write!(f, "TLS alert {}", self.0 & 0xff),
            None => write!(f, "error {:#x}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
