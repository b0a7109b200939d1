//! A wire tap between a client and its network: passes datagrams on, loses those it is told to lose, and notes what
//! can be read without keys, which is what the runner reads from its captures.

use mpquic_wire::header::{LongKind, PartialHeader};
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Connection IDs that our endpoints choose have this many bytes.
const CID_LEN: usize = 8;
/// How soon the threads notice their end.
const NOTICE: Duration = Duration::from_millis(20);

/// What went by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) retries: usize,
    pub(crate) version_negotiations: usize,
    /// A client's Initial packets carried a token.
    pub(crate) tokens: bool,
    /// Source IDs of servers' Initial packets: the runner counts handshakes by them.
    pub(crate) handshakes: BTreeSet<Vec<u8>>,
    pub(crate) client_initial_versions: BTreeSet<u32>,
    pub(crate) server_initial_versions: BTreeSet<u32>,
    pub(crate) handshake_versions: BTreeSet<u32>,
    /// Bytes of clients' 0-RTT packets, and of their 1-RTT packets.
    pub(crate) early_bytes: usize,
    pub(crate) late_bytes: usize,
    pub(crate) client_initials: usize,
    /// Datagrams and bytes that passed up, and bytes that came down, before the first Handshake packet of a client.
    pub(crate) up: usize,
    pub(crate) up_bytes: usize,
    pub(crate) down_bytes: usize,
    pub(crate) client_is_known: bool,
    /// All bytes that came down.
    pub(crate) carried: usize,
    /// The server sent more than three times what it got before it knew its client.
    pub(crate) amplified: bool,
}

pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tap {
    /// Between whoever sends to [`Tap::address`] and `network`. Loses the client's datagrams with the numbers in `lost`,
    /// counted from 1.
    pub(crate) fn start(network: SocketAddr, lost: &'static [usize]) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.connect(network).unwrap();
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(NOTICE)).unwrap();
        }
        let address = near.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let client = Arc::new(Mutex::new(None));
        let up = {
            let (near, far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let (seen, stop, client) = (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&client));
            std::thread::spawn(move || pass_up(&near, &far, &seen, &stop, &client, lost))
        };
        let down = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || pass_down(&near, &far, &seen, &stop, &client))
        };
        Self { address, seen, stop, threads: vec![up, down] }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn pass_up(
    near: &UdpSocket,
    far: &UdpSocket,
    seen: &Mutex<Seen>,
    stop: &AtomicBool,
    client: &Mutex<Option<SocketAddr>>,
    lost: &[usize],
) {
    let mut buffer = vec![0; 65_536];
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok((n, from)) = near.recv_from(&mut buffer) else { continue };
        *client.lock().unwrap() = Some(from);
        number += 1;
        if lost.contains(&number) {
            continue;
        }
        seen.lock().unwrap().on_client(&buffer[..n]);
        far.send(&buffer[..n]).ok();
    }
}

fn pass_down(
    near: &UdpSocket,
    far: &UdpSocket,
    seen: &Mutex<Seen>,
    stop: &AtomicBool,
    client: &Mutex<Option<SocketAddr>>,
) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let Ok(n) = far.recv(&mut buffer) else { continue };
        seen.lock().unwrap().on_server(&buffer[..n]);
        if let Some(client) = *client.lock().unwrap() {
            near.send_to(&buffer[..n], client).ok();
        }
    }
}

impl Seen {
    fn on_client(&mut self, datagram: &[u8]) {
        for (packet, len) in packets(datagram) {
            match packet {
                PartialHeader::Long(long) => match long.kind {
                    LongKind::Initial => {
                        self.client_initial_versions.insert(long.version);
                        self.client_initials += 1;
                        self.tokens |= !long.token.is_empty();
                    }
                    LongKind::Handshake => {
                        self.handshake_versions.insert(long.version);
                        self.client_is_known = true;
                    }
                    LongKind::ZeroRtt => self.early_bytes += long.end,
                },
                PartialHeader::Short(_) => self.late_bytes += len,
                _ => {}
            }
        }
        if !self.client_is_known {
            self.up += 1;
            self.up_bytes += datagram.len();
        }
    }

    fn on_server(&mut self, datagram: &[u8]) {
        self.carried += datagram.len();
        for (packet, _) in packets(datagram) {
            match packet {
                PartialHeader::Long(long) if long.kind == LongKind::Initial => {
                    self.server_initial_versions.insert(long.version);
                    self.handshakes.insert(long.scid.as_slice().to_vec());
                }
                PartialHeader::Long(long) if long.kind == LongKind::Handshake => {
                    self.handshake_versions.insert(long.version);
                }
                PartialHeader::Retry(_) => self.retries += 1,
                PartialHeader::VersionNegotiation { .. } => self.version_negotiations += 1,
                _ => {}
            }
        }
        if !self.client_is_known {
            self.down_bytes += datagram.len();
            // What the tap has passed up has arrived there, unless it is still under way: so the server has had no more.
            self.amplified |= self.down_bytes > 3 * self.up_bytes;
        }
    }
}

/// Each with its length.
fn packets(datagram: &[u8]) -> impl Iterator<Item = (PartialHeader<'_>, usize)> {
    let mut rest = datagram;
    core::iter::from_fn(move || {
        let (header, len) = PartialHeader::read(rest, CID_LEN).ok().filter(|_| !rest.is_empty())?;
        rest = rest.get(len..).filter(|_| len > 0)?;
        Some((header, len))
    })
}
