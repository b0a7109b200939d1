//! Questions to the kernel about its network: one request, and the list that answers it.
//!
//! Owns the framing of route netlink as far as lists need it; messages and attributes are read byte by byte. What an
//! answer says is its asker's business. Nothing is changed through here.

use crate::address::array;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read as _};
use std::time::Duration;

/// `struct nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;
const DONE: u16 = 3;
const ERROR: u16 = 2;
/// Room for one answer; the kernel cuts its lists to what was offered before, 32 KiB at the most.
const ANSWER_BYTES: usize = 64 * 1024;
/// An answer comes at once; this only keeps a kernel that never answers from holding us.
const PATIENCE: Duration = Duration::from_secs(1);
const ANSWERS_MAX: usize = 1024;

/// Asks for a whole list and hands each entry to `on`: its fixed part, then its attributes.
pub(crate) fn list(
    kind: u16,
    request: &[u8],
    fixed: usize,
    mut on: impl FnMut(&[u8], Attributes<'_>),
) -> io::Result<()> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW.cloexec(),
        Some(Protocol::from(libc::NETLINK_ROUTE)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or(0);
    let len = u32::try_from(HEADER + request.len()).unwrap_or(0);
    let mut message = len.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(request);
    socket.send(&message)?;
    let mut answer = vec![0; ANSWER_BYTES];
    for _ in 0..ANSWERS_MAX {
        let len = (&socket).read(&mut answer)?;
        for (kind, body) in Messages(&answer[..len]) {
            match kind {
                DONE => return Ok(()),
                ERROR => {
                    let code =
                        array(body, 0).map_or(libc::EPROTO, |b| i32::from_ne_bytes(b).saturating_neg());
                    return Err(io::Error::from_raw_os_error(code));
                }
                _ if body.len() >= fixed => on(&body[..fixed], Attributes(&body[fixed..])),
                _ => {}
            }
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Type and body of each message of an answer.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = u32::from_ne_bytes(array(self.0, 0)?) as usize;
        let kind = u16::from_ne_bytes(array(self.0, 4)?);
        let body = self.0.get(HEADER..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, body))
    }
}

/// Type and value of each attribute; ends at the first that does not fit.
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn find(self, kind: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find_map(|(k, value)| (k == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16::from_ne_bytes(array(self.0, 0)?));
        let kind = u16::from_ne_bytes(array(self.0, 2)?);
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::{Attributes, Messages};
    use mpquic_base::Rng;

    #[test]
    fn lengths_that_lie_end_the_reading() {
        for seed in 0..2000 {
            let mut rng = Rng::from_number(seed);
            let mut bytes = vec![0; 200];
            rng.fill(&mut bytes);
            for at in (0..196).step_by(4) {
                if rng.chance(0.5) {
                    bytes[at..at + 4].copy_from_slice(&[u8::try_from(rng.below(40)).unwrap(), 0, 0, 0]);
                }
            }
            assert!(Messages(&bytes).count() <= 200 / 16, "seed {seed}");
            assert!(Attributes(&bytes).count() <= 200 / 4, "seed {seed}");
        }
    }
}
