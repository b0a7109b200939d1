//! How a batch leaves: in one call if the kernel cuts it, else datagram by datagram, and what stops it.
//!
//! Owns the choice between the two and the bookkeeping of what has left. Refuses to know system calls: the
//! [`Kernel`] makes them, so every refusal can be played in a test.

use core::fmt;
use mpquic_base::Ecn;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Datagrams that one GSO call may carry: `UDP_MAX_SEGMENTS` of the kernels before 6.9.
const GSO_DATAGRAMS_MAX: usize = 64;
/// Bytes that one GSO call may carry: an IPv4 packet of 65535 bytes without its IP and UDP headers.
const GSO_BYTES_MAX: usize = 65_507;
/// Attempts of one system call that a signal or an old ICMP error disturbs.
const ATTEMPTS: usize = 4;

/// One batch of equally long datagrams to one peer.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub bytes: &'a [u8],
    /// Size of each datagram; the last may be shorter.
    pub segment: u16,
    /// Source address; unspecified leaves it to the routing table.
    pub local: IpAddr,
    pub peer: SocketAddr,
    pub ecn: Ecn,
}

/// The kernel refused a batch, or the rest of one.
#[derive(Debug)]
pub struct Stopped {
    /// Datagrams that left before. The rest begins `sent * segment` bytes into the batch.
    pub sent: usize,
    pub cause: io::Error,
}

impl Stopped {
    /// The socket is full: keep the rest and send it when the socket is writable.
    /// Anything else will not get better by waiting.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.cause.kind() == io::ErrorKind::WouldBlock
    }

    /// There is no way out: the device is gone or down, or there is no route, or the source address is not ours
    /// (any more), which the kernel calls an invalid argument.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        const NO_WAY: [i32; 7] = [
            libc::ENODEV,
            libc::ENXIO,
            libc::ENETDOWN,
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::EADDRNOTAVAIL,
            libc::EINVAL,
        ];
        self.cause.raw_os_error().is_some_and(|code| NO_WAY.contains(&code))
    }

    /// Larger than this link takes.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.cause.raw_os_error() == Some(libc::EMSGSIZE)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped after {} datagrams: {}", self.sent, self.cause)
    }
}

impl core::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// The system calls, bound to a socket, a peer and a mark.
pub(super) trait Kernel {
    /// One call for all of `bytes`: all datagrams leave or none.
    fn send_whole(&mut self, bytes: &[u8], segment: u16) -> io::Result<()>;
    /// One call that sends datagrams in order and returns how many left, at least one.
    fn send_each(&mut self, bytes: &[u8], segment: u16) -> io::Result<usize>;
}

/// Sends all of `batch`; clears `gso` if the kernel turns out not to segment on this route.
pub(super) fn send_out(batch: &Batch<'_>, gso: &mut bool, kernel: &mut impl Kernel) -> Result<(), Stopped> {
    let segment = batch.segment.max(1);
    let mut sent = 0;
    let mut rest = batch.bytes;
    while !rest.is_empty() {
        match send_some(rest, segment, gso, kernel) {
            Ok(datagrams) => {
                sent += datagrams;
                rest = rest.get(datagrams * usize::from(segment)..).unwrap_or(&[]);
            }
            Err(cause) => return Err(Stopped { sent, cause }),
        }
    }
    Ok(())
}

fn send_some(rest: &[u8], segment: u16, gso: &mut bool, kernel: &mut impl Kernel) -> io::Result<usize> {
    let size = usize::from(segment);
    if rest.len() > size && !*gso {
        return undisturbed(|| kernel.send_each(rest, segment));
    }
    let datagrams = (GSO_BYTES_MAX / size).clamp(1, GSO_DATAGRAMS_MAX);
    let chunk = &rest[..rest.len().min(datagrams * size)];
    let datagrams = chunk.len().div_ceil(size);
    match undisturbed(|| kernel.send_whole(chunk, segment)) {
        Ok(()) => Ok(datagrams),
        Err(error) if datagrams > 1 && may_blame_gso(&error) => {
            // The same errors also mean "larger than this link's MTU" or "not your source address". Only if
            // the datagrams do leave one by one was segmentation to blame.
            let sent = undisturbed(|| kernel.send_each(chunk, segment))?;
            *gso = false;
            Ok(sent)
        }
        Err(error) => Err(error),
    }
}

/// EIO: no checksum offload on the way out. EINVAL: no segmentation, or an argument that it does not allow.
fn may_blame_gso(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// Repeats a call that failed for a reason that is not its own: a signal, or an ICMP answer to an earlier one.
fn undisturbed<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut result = call();
    for _ in 1..ATTEMPTS {
        match &result {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::ECONNREFUSED)) => result = call(),
            _ => break,
        }
    }
    result
}

#[cfg(test)]
mod tests;
