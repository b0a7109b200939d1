//! Checked cursors: a reader that cannot run past the end and a writer that cannot overflow.

use mpquic_base::Cid;

/// The largest value a varint holds.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Bytes that are not what they should be; which frame or field is the caller's knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Bytes that `value` takes as a varint (RFC 9000 §16).
///
/// # Panics
/// In debug builds if `value` is above [`VARINT_MAX`].
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    debug_assert!(value <= VARINT_MAX);
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// All that is left, without taking it.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        self.rest
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes the zero bytes at the front and returns how many there were.
    pub(crate) fn zeros(&mut self) -> usize {
        let n = self.rest.iter().position(|b| *b != 0).unwrap_or(self.rest.len());
        self.rest = &self.rest[n..];
        n
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[b]| b)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let first = *self.rest.first().ok_or(Malformed)?;
        Ok(match first >> 6 {
            0 => u64::from(self.u8()?),
            1 => u64::from(self.u16()? & 0x3fff),
            2 => u64::from(self.u32()? & 0x3fff_ffff),
            _ => self.array().map(u64::from_be_bytes)? & VARINT_MAX,
        })
    }

    /// A varint that counts bytes still to come.
    pub fn length(&mut self) -> Result<usize, Malformed> {
        let n = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        if n <= self.rest.len() { Ok(n) } else { Err(Malformed) }
    }

    /// A connection ID behind a one-byte length of at most 20.
    pub fn cid(&mut self) -> Result<Cid, Malformed> {
        let len = self.u8()?;
        Cid::new(self.bytes(usize::from(len))?).ok_or(Malformed)
    }
}

/// Writes into a slice whose length is the exact capacity.
///
/// The `put_*` calls panic past the end: whoever writes asks [`Writer::remaining`] first, because a frame that does not
/// fit must stay in its queue untouched.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    #[must_use]
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[must_use]
    pub fn remaining(&self) -> usize {
        self.buf.len() - self.len
    }

    /// What was written.
    #[must_use]
    pub fn written(&mut self) -> &mut [u8] {
        &mut self.buf[..self.len]
    }

    /// Appends `n` bytes and returns them to be filled in place.
    pub fn space(&mut self, n: usize) -> &mut [u8] {
        let at = self.len;
        self.len += n;
        &mut self.buf[at..self.len]
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
    }

    pub fn put_u8(&mut self, v: u8) {
        self.put(&[v]);
    }

    pub fn put_u16(&mut self, v: u16) {
        self.put(&v.to_be_bytes());
    }

    pub fn put_u32(&mut self, v: u32) {
        self.put(&v.to_be_bytes());
    }

    #[allow(clippy::cast_possible_truncation, reason = "each arm holds only values of its width")]
    pub fn put_varint(&mut self, v: u64) {
        match varint_len(v) {
            1 => self.put_u8(v as u8),
            2 => self.put_u16(v as u16 | 0x4000),
            4 => self.put_u32(v as u32 | 0x8000_0000),
            _ => self.put(&(v | 0xc000_0000_0000_0000).to_be_bytes()),
        }
    }

    /// A varint of two bytes whatever its value, for lengths that are known only afterwards.
    ///
    /// # Panics
    /// In debug builds if `v` is above 16383.
    #[allow(clippy::cast_possible_truncation, reason = "checked in debug, masked otherwise")]
    pub fn put_varint2(&mut self, v: usize) {
        debug_assert!(v < 0x4000);
        self.put_u16((v as u16 & 0x3fff) | 0x4000);
    }
}

#[cfg(test)]
mod tests;
