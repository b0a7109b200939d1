//! Varints (RFC 9000 §16) that arrive in pieces, and ones that are appended to a vector.

use mpquic_wire::{Writer, varint_len};

/// A varint of which some bytes may be missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Partial {
    value: u64,
    /// Bytes that are missing; none also before the first.
    missing: u8,
}

impl Partial {
    /// The value, once `byte` was its last; then the next one can begin.
    pub(crate) fn push(&mut self, byte: u8) -> Option<u64> {
        if self.missing == 0 {
            self.value = u64::from(byte & 0x3f);
            self.missing = (1 << (byte >> 6)) - 1;
        } else {
            self.value = self.value << 8 | u64::from(byte);
            self.missing -= 1;
        }
        (self.missing == 0).then_some(self.value)
    }

    pub(crate) const fn is_open(self) -> bool {
        self.missing != 0
    }
}

/// Appends `value`, which is at most [`mpquic_wire::VARINT_MAX`].
pub(crate) fn put(out: &mut Vec<u8>, value: u64) {
    let at = out.len();
    out.resize(at + varint_len(value), 0);
    Writer::new(&mut out[at..]).put_varint(value);
}
