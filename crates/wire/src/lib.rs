//! Bytes to values and back: varints, packet headers, packet numbers, frames, transport parameters.
//!
//! Owns the encodings of RFC 9000, RFC 9221 and draft-ietf-quic-multipath-21. Has no state, no crypto and no opinion:
//! it says whether bytes are well-formed, never whether the peer was allowed to send them.

#![forbid(unsafe_code)]

mod cursor;
pub mod error;
pub mod frame;
pub mod header;
pub mod packet_number;
pub mod parameters;

pub use cursor::{Malformed, Reader, VARINT_MAX, Writer, varint_len};
pub use error::Code;
pub use frame::{Frame, FrameError};
pub use parameters::{ParameterError, TransportParameters};
