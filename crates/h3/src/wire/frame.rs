//! Frames of HTTP/3 (RFC 9114 §7): type, length, payload.

use super::varint::{self, Partial};
use mpquic_wire::{Writer, varint_len};

pub(crate) const DATA: u64 = 0x00;
pub(crate) const HEADERS: u64 = 0x01;
pub(crate) const CANCEL_PUSH: u64 = 0x03;
pub(crate) const SETTINGS: u64 = 0x04;
pub(crate) const PUSH_PROMISE: u64 = 0x05;
pub(crate) const GOAWAY: u64 = 0x07;
pub(crate) const MAX_PUSH_ID: u64 = 0x0d;

/// Bytes that the head of a DATA frame takes at the most, for the lengths that we send (up to a gibibyte).
pub(crate) const DATA_HEAD_MAX: usize = 5;

/// RFC 9114 §7.2.8: types of HTTP/2 that must not appear.
pub(crate) const fn is_forbidden(kind: u64) -> bool {
    matches!(kind, 0x02 | 0x06 | 0x08 | 0x09)
}

/// What precedes a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u64,
    pub(crate) len: u64,
}

/// A head of which some bytes may be missing. Capsules have the same one (RFC 9297 §3.2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartialHead {
    kind: Option<u64>,
    number: Partial,
}

impl PartialHead {
    /// The head, once `byte` was its last; then the next one can begin.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Head> {
        let number = self.number.push(byte)?;
        let Some(kind) = self.kind.take() else {
            self.kind = Some(number);
            return None;
        };
        Some(Head { kind, len: number })
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.kind.is_some() || self.number.is_open()
    }
}

/// Appends a frame.
pub(crate) fn put(out: &mut Vec<u8>, kind: u64, payload: &[u8]) {
    varint::put(out, kind);
    varint::put(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

/// Appends a frame whose payload is one number.
pub(crate) fn put_number(out: &mut Vec<u8>, kind: u64, number: u64) {
    varint::put(out, kind);
    varint::put(out, varint_len(number) as u64);
    varint::put(out, number);
}

/// Writes the head of a DATA frame of `len` bytes and returns it.
pub(crate) fn data_head(buf: &mut [u8; DATA_HEAD_MAX], len: usize) -> &[u8] {
    let mut writer = Writer::new(buf);
    writer.put_varint(DATA);
    writer.put_varint(len as u64);
    let written = writer.len();
    &buf[..written]
}
