//! ACK and PATH_ACK from bytes: validated once, walked as often as wanted.

use super::{Ack, EcnCounts};
use crate::cursor::{Malformed, Reader};
use core::{iter::FusedIterator, ops::Range};
use mpquic_base::PathId;

impl<'a> Ack<'a> {
    /// What was acknowledged: half-open, descending, disjoint, each apart from the next by at least one packet.
    #[must_use]
    pub fn ranges(&self) -> AckRanges<'a> {
        let mut encoded = Reader::new(self.ranges);
        let count = encoded.varint().unwrap_or(0);
        match encoded.varint() {
            Ok(first) => AckRanges { encoded, next: range(self.largest, first), left: count },
            Err(Malformed) => AckRanges { encoded, next: None, left: 0 },
        }
    }

    /// Reads all behind the type and the path id. The bytes of the packet bound the number of ranges.
    pub(super) fn read_body(
        reader: &mut Reader<'a>,
        path: PathId,
        multipath: bool,
        with_ecn: bool,
    ) -> Result<Self, &'static str> {
        const SHORT: &str = "truncated";
        let (largest, delay) = varint_pair(reader).map_err(|Malformed| SHORT)?;
        let whole = reader.as_slice();
        let (count, first) = varint_pair(reader).map_err(|Malformed| SHORT)?;
        let mut smallest = range(largest, first).ok_or("first ACK range goes below packet number 0")?.start;
        for _ in 0..count {
            let (gap, length) = varint_pair(reader).map_err(|Malformed| SHORT)?;
            smallest = below(smallest, gap, length).ok_or("ACK range goes below packet number 0")?.start;
        }
        let ranges = &whole[..whole.len() - reader.remaining()];
        let ecn = if with_ecn { Some(EcnCounts::read(reader).map_err(|Malformed| SHORT)?) } else { None };
        Ok(Self { path, multipath, largest, delay, ecn, ranges })
    }
}

impl EcnCounts {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { ect0: reader.varint()?, ect1: reader.varint()?, ce: reader.varint()? })
    }
}

/// The ranges of an [`Ack`], from the newest to the oldest.
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    encoded: Reader<'a>,
    next: Option<Range<u64>>,
    left: u64,
}

impl Iterator for AckRanges<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let current = self.next.take()?;
        if self.left > 0 {
            self.left -= 1;
            self.next = varint_pair(&mut self.encoded)
                .ok()
                .and_then(|(gap, length)| below(current.start, gap, length));
        }
        Some(current)
    }
}

impl FusedIterator for AckRanges<'_> {}

fn varint_pair(reader: &mut Reader<'_>) -> Result<(u64, u64), Malformed> {
    Ok((reader.varint()?, reader.varint()?))
}

/// The packet numbers up to `largest` and `more` below it.
fn range(largest: u64, more: u64) -> Option<Range<u64>> {
    Some(largest.checked_sub(more)?..largest + 1)
}

/// RFC 9000 §19.3.1: the next range ends two below the gap, because neither number is ever encoded as zero packets.
fn below(smallest: u64, gap: u64, length: u64) -> Option<Range<u64>> {
    range(smallest.checked_sub(gap)?.checked_sub(2)?, length)
}
