//! QPACK (RFC 9204) without a dynamic table: we announce a capacity of 0, and never use the peer's.
//!
//! Owns field sections as bytes: names and values in, names and values out, and what may still be said on the two
//! QPACK streams when there is no table. Refuses to know what a field means.

mod huffman;
mod instructions;
mod int;
mod table;

pub(crate) use instructions::{Instructions, Side};

use int::Section;
use table::{Found, STATIC};

type Sink = Vec<u8>;

/// RFC 9114 §4.2.2: what a field line counts beyond its name and value, in bytes.
const LINE_OVERHEAD: u64 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QpackError {
    /// QPACK_DECOMPRESSION_FAILED, and why.
    Decompression(&'static str),
    /// The section is larger than the limit.
    TooLarge,
}

/// What decoding ended with, apart from the end of the section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped<E> {
    Qpack(QpackError),
    /// The taker of the fields had enough.
    Taker(E),
}

impl<E> From<QpackError> for Stopped<E> {
    fn from(error: QpackError) -> Self {
        Self::Qpack(error)
    }
}

/// Begins a field section: no entry of a dynamic table is required.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends a field line; `sensitive` ones ask every hop to keep them out of its tables.
pub(crate) fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8], sensitive: bool) {
    let never = u8::from(sensitive);
    match table::find(name, value) {
        Found::Field(index) if !sensitive => int::put_int(out, 0b1100_0000, 6, index as u64),
        Found::Field(index) | Found::Name(index) => {
            int::put_int(out, 0b0101_0000 | never << 5, 4, index as u64);
            int::put_string(out, 0, 7, value);
        }
        Found::Nothing => {
            int::put_string(out, 0b0010_0000 | never << 4, 3, name.as_bytes());
            int::put_string(out, 0, 7, value);
        }
    }
}

/// The size of a field line as RFC 9114 §4.2.2 counts it.
pub(crate) const fn line_size(name: usize, value: usize) -> u64 {
    (name as u64).saturating_add(value as u64).saturating_add(LINE_OVERHEAD)
}

/// Passes each field line of `block` to `take`: name, value, and whether it must not be put into a table.
pub(crate) fn decode<E>(
    block: &[u8],
    limit: u64,
    mut take: impl FnMut(&[u8], &[u8], bool) -> Result<(), E>,
) -> Result<(), Stopped<E>> {
    let mut section = Section::new(block);
    prefix(&mut section)?;
    let (mut name_text, mut value_text, mut total) = (Vec::new(), Vec::new(), 0u64);
    while let Some(first) = section.next() {
        let left = usize::try_from(limit - total).unwrap_or(usize::MAX);
        let (name, value, never): (&[u8], &[u8], bool) = match first {
            0b1100_0000..=0b1111_1111 => {
                let (name, value) = entry(section.int(6)?)?;
                (name.as_bytes(), value.as_bytes(), false)
            }
            0b0101_0000..=0b0101_1111 | 0b0111_0000..=0b0111_1111 => {
                let (name, _) = entry(section.int(4)?)?;
                let value = section.string(7, &mut value_text, left)?;
                (name.as_bytes(), value, first & 0b0010_0000 != 0)
            }
            0b0010_0000..=0b0011_1111 => {
                let name = section.string(3, &mut name_text, left)?;
                let value = section.string(7, &mut value_text, left)?;
                (name, value, first & 0b0001_0000 != 0)
            }
            _ => return Err(QpackError::Decompression("a reference into the absent dynamic table").into()),
        };
        total = total.saturating_add(line_size(name.len(), value.len()));
        if total > limit {
            return Err(QpackError::TooLarge.into());
        }
        take(name, value, never).map_err(Stopped::Taker)?;
    }
    Ok(())
}

/// RFC 9204 §4.5.1: with a capacity of 0 only a required insert count of 0 is possible, and a base that is not negative.
fn prefix(section: &mut Section<'_>) -> Result<(), QpackError> {
    if section.int(8)? != 0 {
        return Err(QpackError::Decompression("an entry of the absent dynamic table is required"));
    }
    let negative = section.next().is_some_and(|byte| byte & 0x80 != 0);
    section.int(7)?;
    if negative {
        return Err(QpackError::Decompression("the base is negative"));
    }
    Ok(())
}

fn entry(index: u64) -> Result<(&'static str, &'static str), QpackError> {
    let entry = usize::try_from(index).ok().and_then(|index| STATIC.get(index));
    entry.copied().ok_or(QpackError::Decompression("an index beyond the static table"))
}

#[cfg(test)]
mod tests;
