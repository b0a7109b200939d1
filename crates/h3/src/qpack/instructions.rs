//! What a peer may say on its two QPACK streams although there is no dynamic table on either side.

use super::int::PartialInt;
use crate::code;
use crate::error::Fault;

/// Which of the peer's QPACK streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Encoder,
    Decoder,
}

/// Judges the bytes of one QPACK stream as they come.
#[derive(Debug)]
pub(crate) struct Instructions {
    side: Side,
    open: Option<PartialInt>,
}

impl Instructions {
    pub(crate) const fn new(side: Side) -> Self {
        Self { side, open: None }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        bytes.iter().try_for_each(|byte| self.push_byte(*byte))
    }

    fn push_byte(&mut self, byte: u8) -> Result<(), Fault> {
        let value = match &mut self.open {
            Some(partial) => partial.push(byte).map_err(|_| self.fault("an integer is too large"))?,
            None => match PartialInt::begin(byte, self.prefix(byte)?) {
                Ok(value) => Some(value),
                Err(partial) => {
                    self.open = Some(partial);
                    None
                }
            },
        };
        let Some(value) = value else { return Ok(()) };
        self.open = None;
        // RFC 9204 §3.2.3: a capacity above the announced one is an error, and ours is 0.
        if self.side == Side::Encoder && value > 0 {
            return Err(self.fault("more capacity than we allow"));
        }
        Ok(())
    }

    /// The prefix of the only instruction that makes sense without a table.
    fn prefix(&self, first: u8) -> Result<u32, Fault> {
        match (self.side, first >> 5, first >> 6) {
            // RFC 9204 §4.3.1: Set Dynamic Table Capacity.
            (Side::Encoder, 0b001, _) => Ok(5),
            (Side::Encoder, ..) => Err(self.fault("an entry for the absent dynamic table")),
            // RFC 9204 §4.4.2: Stream Cancellation.
            (Side::Decoder, _, 0b01) => Ok(6),
            (Side::Decoder, ..) => Err(self.fault("an acknowledgment of what was never inserted")),
        }
    }

    const fn fault(&self, why: &'static str) -> Fault {
        let code = match self.side {
            Side::Encoder => code::QPACK_ENCODER_STREAM_ERROR,
            Side::Decoder => code::QPACK_DECODER_STREAM_ERROR,
        };
        Fault { code, why }
    }
}
