//! Control messages: what travels beside a datagram (ECN bits, local address, segment size, times).
//!
//! Owns the framing and the few messages that this crate sends and understands. A message is a header of
//! length (a machine word), level and type (two ints), then data, padded to a word: written and read as bytes.

use crate::address::array;
use core::ffi::c_int;
use core::time::Duration;
use mpquic_base::Ecn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const WORD: usize = size_of::<usize>();
const HEADER: usize = (WORD + 2 * size_of::<c_int>()).next_multiple_of(WORD);
/// Holds the largest set of either direction: IPv6 packet info, traffic class, segment size and time take 120 bytes.
const CONTROL_BYTES: usize = 128;

/// The control messages of one datagram or batch.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control {
    bytes: [u8; CONTROL_BYTES],
    len: usize,
}

impl Control {
    pub(crate) const EMPTY: Self = Self { bytes: [0; CONTROL_BYTES], len: 0 };

    /// What every datagram of a batch carries: source address (if one is given) and ECN mark.
    pub(crate) fn outgoing(local: IpAddr, v6: bool, ecn: Ecn) -> Self {
        let mut control = Self::EMPTY;
        match local {
            _ if local.is_unspecified() => {}
            IpAddr::V4(ip) => {
                // in_pktinfo: interface (0 = the routing table's choice), source, and a field for receivers.
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(ip) => {
                // in6_pktinfo: source, then interface.
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
        if ecn != Ecn::NotEct {
            let (level, kind) =
                if v6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
            control.push(level, kind, &c_int::from(ecn.bits()).to_ne_bytes());
        }
        control
    }

    /// These messages, and the wish that the kernel cuts the batch into datagrams of `segment` bytes.
    pub(crate) fn with_segment(&self, segment: u16) -> Self {
        let mut control = *self;
        control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        control
    }

    /// These messages, and the wish that the device sends at this time of the monotonic clock.
    pub(crate) fn with_departure(&self, monotonic_ns: u64) -> Self {
        let mut control = *self;
        control.push(libc::SOL_SOCKET, libc::SCM_TXTIME, &monotonic_ns.to_ne_bytes());
        control
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn room(&mut self) -> &mut [u8; CONTROL_BYTES] {
        &mut self.bytes
    }

    /// Notes how much the kernel wrote.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len.min(CONTROL_BYTES);
    }

    fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let message = &mut self.bytes[self.len..];
        message[..WORD].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        message[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        message[WORD + 4..WORD + 8].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..HEADER + data.len()].copy_from_slice(data);
        self.len += (HEADER + data.len()).next_multiple_of(WORD);
    }
}

/// What the kernel said about one arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// The address that it was sent to.
    pub(crate) local: Option<IpAddr>,
    /// The interface that it came in on; 0 if unknown.
    pub(crate) interface: u32,
    pub(crate) ecn: Ecn,
    /// Size of each datagram that GRO put together; 0 for a single one.
    pub(crate) segment: usize,
    /// When the kernel took it in, since 1970; only if the socket asks for that.
    pub(crate) at: Option<Duration>,
}

impl Incoming {
    pub(crate) fn read(control: &Control) -> Self {
        let mut incoming = Self::default();
        for (level, kind, data) in Messages(control.as_slice()) {
            // A message that is not as long as it should be is left out, as if it had not been sent.
            incoming.note(level, kind, data);
        }
        incoming
    }

    fn note(&mut self, level: c_int, kind: c_int, data: &[u8]) -> Option<()> {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                self.interface = u32::from_ne_bytes(array(data, 0)?);
                self.local = Some(Ipv4Addr::from(array::<4>(data, 4)?).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                self.local = Some(Ipv6Addr::from(array::<16>(data, 0)?).into());
                self.interface = u32::from_ne_bytes(array(data, 16)?);
            }
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // IPv4 delivers one byte, IPv6 an int.
                let bits = array(data, 0).map_or_else(|| data.first().copied(), |b| Some(low_byte(b)))?;
                self.ecn = Ecn::from_bits(bits);
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                self.segment = usize::try_from(c_int::from_ne_bytes(array(data, 0)?)).unwrap_or(0);
            }
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS_NEW) => {
                let seconds = u64::try_from(i64::from_ne_bytes(array(data, 0)?)).ok()?;
                let nanos = u32::try_from(i64::from_ne_bytes(array(data, 8)?)).ok()?;
                self.at = (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos));
            }
            _ => {}
        }
        Some(())
    }
}

fn low_byte(int: [u8; 4]) -> u8 {
    c_int::from_ne_bytes(int).to_le_bytes()[0]
}

/// Level, type and data of each message; ends at the first that does not fit.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (c_int, c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from_ne_bytes(array(self.0, 0)?);
        let level = c_int::from_ne_bytes(array(self.0, WORD)?);
        let kind = c_int::from_ne_bytes(array(self.0, WORD + 4)?);
        let data = self.0.get(HEADER..len)?;
        self.0 = self.0.get(len.next_multiple_of(WORD)..).unwrap_or(&[]);
        Some((level, kind, data))
    }
}

#[cfg(test)]
mod tests;
