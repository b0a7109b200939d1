//! A NAT that forgets: after each rebinding the server sees UDP from another port, and what it sends to the old one
//! goes nowhere until the client has sent again. Other protocols pass as they are.

use super::ip;
use crate::link::Way;

const PORTS: usize = 1 << 16;
/// Flipped in every port after a rebinding, and never the high bits: a port that anybody may use stays one.
const SHIFTS: [u16; 4] = [0x0000, 0x0155, 0x02aa, 0x03ff];

#[derive(Default)]
pub(super) struct Nat {
    rebindings: usize,
    /// Which ports have sent since the last rebinding; empty before the first one, when nothing is translated.
    known: Vec<bool>,
}

impl Nat {
    pub(super) fn forget(&mut self) {
        self.rebindings += 1;
        self.known.clear();
        self.known.resize(PORTS, false);
    }

    /// Translates a packet. False if it answers to a port that the NAT no longer knows.
    pub(super) fn admits(&mut self, way: Way, packet: &mut [u8]) -> bool {
        if self.known.is_empty() {
            return true;
        }
        let Some((start, ip::UDP)) = ip::transport(packet) else { return true };
        let Some(header) = packet.get_mut(start..start + 8) else { return true };
        let at = match way {
            Way::Up => 0,
            Way::Down => 2,
        };
        let outside = u16::from_be_bytes([header[at], header[at + 1]]);
        let port = outside ^ SHIFTS[self.rebindings % SHIFTS.len()];
        match way {
            Way::Up => self.known[usize::from(outside)] = true,
            Way::Down if !self.known[usize::from(port)] => return false,
            Way::Down => {}
        }
        header[at..at + 2].copy_from_slice(&port.to_be_bytes());
        let checksum = u16::from_be_bytes([header[6], header[7]]);
        // RFC 768: zero means that there is no checksum, and one that comes to zero is sent as all ones.
        if checksum != 0 {
            let new = ip::adjusted(checksum, outside, port);
            header[6..8].copy_from_slice(&if new == 0 { u16::MAX } else { new }.to_be_bytes());
        }
        true
    }
}
