//! What this machine could do at best: no protocol, only what no QUIC stack can do without. Payload is sealed with
//! AES-128-GCM (by the quicker of two libraries) in packets of the size that all stacks use and goes out 44 packets per system call (GSO); the other end
//! takes them in one call (GRO), opens them in place and copies them out. A window keeps the socket buffer from
//! overflowing: losses are an error. No acknowledgements, no retransmission, no header protection, one stream, and the key is
//! a piece of the certificate, which everybody knows.
//!
//! One direction has data at a time; the other one carries nothing but the window's updates then.

use super::MTU;
use super::aead::{Key, TAG};
use crate::Failure;
use crate::host::bind_udp;
use crate::stack::{Certificate, Connection, Endpoint, Kind, Later, Receiver, Sender, Stack, Streams};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use tokio::io::Interest;
use tokio::net::UdpSocket;

pub(super) const STACK: Stack = Stack {
    name: "limit",
    kind: Kind::Limit { tests: &["bulk_up", "bulk_down", "streams_up", "streams_down", "latency"] },
    server: start,
    client: start,
};

const PACKET: usize = MTU as usize;
/// As long as QUIC's: kind, connection ID of 8 bytes, packet number of 4 bytes.
const HEADER: usize = 13;
const PAYLOAD: usize = PACKET - HEADER - TAG;
/// Packets per system call: 63,888 bytes, the most that fits a UDP datagram of 64 KiB.
const BATCH: usize = 44;
/// Packets under way; well below what the socket buffer of 4 MiB holds, kernel overhead included.
const WINDOW: u32 = 1024;
/// Packets between two updates of the window.
const UPDATE_EVERY: u32 = 128;

/// Kinds of packets.
const DATA: u8 = 0;
const LAST: u8 = 1;
const UPDATE: u8 = 2;
const HELLO: u8 = 3;

fn start(certificate: &Certificate, local: SocketAddr) -> Result<Box<dyn Endpoint>, Failure> {
    let socket = bind_udp(local)?;
    socket.set_nonblocking(true)?;
    let offload = UdpSocketState::new((&socket).into())?;
    let (_, key) = certificate.der.split_last_chunk::<16>().ok_or("a short certificate")?;
    let key = Key::new(key)?;
    Ok(Box::new(Limit { socket: Rc::new(Offloaded { socket: UdpSocket::from_std(socket)?, offload, key }) }))
}

struct Limit {
    socket: Rc<Offloaded>,
}

struct Offloaded {
    socket: UdpSocket,
    offload: UdpSocketState,
    key: Key,
}

impl Offloaded {
    async fn send(&self, to: SocketAddr, contents: &[u8]) -> Result<(), Failure> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: (contents.len() > PACKET).then_some(PACKET),
            src_ip: None,
        };
        let send = || self.offload.try_send((&self.socket).into(), &transmit);
        match send() {
            // Tokio knows nothing of this attempt, so it has to make one by itself.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Ok(self.socket.async_io(Interest::WRITABLE, send).await?)
            }
            sent => Ok(sent?),
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<RecvMeta, Failure> {
        let mut meta = [RecvMeta::default()];
        let mut receive =
            || self.offload.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta);
        match receive() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.socket.async_io(Interest::READABLE, receive).await?
            }
            received => received?,
        };
        Ok(meta[0])
    }
}

impl Endpoint for Limit {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.socket.socket.local_addr()?)
    }

    fn accept(&self) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async {
            let mut hello = vec![0; PACKET];
            let peer = self.socket.receive(&mut hello).await?.addr;
            Ok(Box::new(Pipe::new(&self.socket, peer)) as Box<dyn Connection>)
        })
    }

    fn connect(&self, server: SocketAddr) -> Later<'_, Box<dyn Connection>> {
        Box::pin(async move {
            self.socket.send(server, &[HELLO]).await?;
            Ok(Box::new(Pipe::new(&self.socket, server)) as Box<dyn Connection>)
        })
    }

    fn shutdown(self: Box<Self>) -> Later<'static, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[derive(Clone)]
struct Pipe(Rc<Shared>);

struct Shared {
    socket: Rc<Offloaded>,
    peer: SocketAddr,
    /// Both borrowed over awaits, which is fine: there is one sender and one receiver, and they take turns.
    out: RefCell<Out>,
    inward: RefCell<Inward>,
}

/// Packets being filled, and how far the peer is.
struct Out {
    batch: Vec<u8>,
    next: u32,
    allowed: u32,
}

/// Packets that came in one call, opened, and what of them nobody has read yet.
struct Inward {
    buffer: Vec<u8>,
    unread: VecDeque<Range<usize>>,
    next: u32,
    announced: u32,
    ended: bool,
    /// What the peer allows us to send, if it said so.
    update: Option<u32>,
}

impl Pipe {
    fn new(socket: &Rc<Offloaded>, peer: SocketAddr) -> Self {
        let batch = Vec::with_capacity(BATCH * PACKET);
        let out = RefCell::new(Out { batch, next: 0, allowed: WINDOW });
        let inward = RefCell::new(Inward {
            buffer: vec![0; 1 << 16],
            unread: VecDeque::with_capacity(BATCH),
            next: 0,
            announced: WINDOW,
            ended: false,
            update: None,
        });
        Self(Rc::new(Shared { socket: Rc::clone(socket), peer, out, inward }))
    }
}

impl Shared {
    #[expect(clippy::await_holding_refcell_ref, reason = "one sender per pipe")]
    async fn write(&self, data: &[u8]) -> Result<(), Failure> {
        let mut out = self.out.borrow_mut();
        for piece in data.chunks(PAYLOAD) {
            out.seal(&self.socket.key, DATA, piece)?;
            // A short packet ends a batch: only the last segment may be short.
            if out.batch.len() >= BATCH * PACKET || piece.len() < PAYLOAD {
                self.flush(&mut out).await?;
            }
        }
        Ok(())
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "one sender per pipe")]
    async fn finish(&self) -> Result<(), Failure> {
        let mut out = self.out.borrow_mut();
        out.seal(&self.socket.key, LAST, &[])?;
        self.flush(&mut out).await
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "whoever waits for the window is not reading")]
    async fn flush(&self, out: &mut Out) -> Result<(), Failure> {
        loop {
            let mut inward = self.inward.borrow_mut();
            // It may have come while something else was read.
            out.allowed = inward.update.take().unwrap_or(out.allowed);
            if out.next <= out.allowed {
                break;
            }
            inward.receive(&self.socket).await?;
        }
        self.socket.send(self.peer, &out.batch).await?;
        out.batch.clear();
        Ok(())
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "one receiver per pipe")]
    async fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        let inward = &mut *self.inward.borrow_mut();
        while inward.unread.is_empty() {
            if inward.ended {
                return Ok(None);
            }
            inward.receive(&self.socket).await?;
            if inward.next + WINDOW >= inward.announced + UPDATE_EVERY {
                inward.announced = inward.next + WINDOW;
                let [a, b, c, d] = inward.announced.to_be_bytes();
                self.socket.send(self.peer, &[UPDATE, a, b, c, d]).await?;
            }
        }
        Ok(Some(inward.copy_out(buffer)))
    }
}

impl Out {
    fn seal(&mut self, key: &Key, kind: u8, payload: &[u8]) -> Result<(), Failure> {
        let start = self.batch.len();
        self.batch.push(kind);
        self.batch.extend_from_slice(&[0x11; 8]);
        self.batch.extend_from_slice(&self.next.to_be_bytes());
        self.batch.extend_from_slice(payload);
        let (header, body) = self.batch[start..].split_at_mut(HEADER);
        let tag = key.seal(self.next, header, body)?;
        self.batch.extend_from_slice(&tag);
        self.next += 1;
        Ok(())
    }
}

impl Inward {
    /// One system call's worth. Only to be called when everything was read.
    async fn receive(&mut self, socket: &Offloaded) -> Result<(), Failure> {
        if !self.unread.is_empty() {
            return Err("data in both directions at once".into());
        }
        let meta = socket.receive(&mut self.buffer).await?;
        let stride = meta.stride.max(1);
        for start in (0..meta.len).step_by(stride) {
            self.open(&socket.key, start..meta.len.min(start + stride))?;
        }
        Ok(())
    }

    fn open(&mut self, key: &Key, packet: Range<usize>) -> Result<(), Failure> {
        let bytes = &mut self.buffer[packet.clone()];
        if let [UPDATE, allowed @ ..] = &*bytes {
            self.update = Some(u32::from_be_bytes(allowed.try_into()?));
            return Ok(());
        }
        let (header, body) = bytes.split_at_mut_checked(HEADER).ok_or("a short packet")?;
        let number = u32::from_be_bytes(header[HEADER - 4..].try_into()?);
        if number != self.next {
            return Err(format!("packet {number} came instead of {}", self.next).into());
        }
        self.next += 1;
        self.ended = header[0] == LAST;
        let len = key.open(number, header, body)?;
        if len > 0 {
            let start = packet.start + HEADER;
            self.unread.push_back(start..start + len);
        }
        Ok(())
    }

    fn copy_out(&mut self, out: &mut [u8]) -> usize {
        let mut copied = 0;
        while let Some(range) = self.unread.front_mut() {
            let n = range.len().min(out.len() - copied);
            out[copied..copied + n].copy_from_slice(&self.buffer[range.start..range.start + n]);
            copied += n;
            range.start += n;
            if range.start < range.end {
                break;
            }
            self.unread.pop_front();
        }
        copied
    }
}

impl Connection for Pipe {
    fn open(&self) -> Later<'_, Streams> {
        Box::pin(async { Ok((Box::new(self.clone()) as _, Box::new(self.clone()) as _)) })
    }

    fn accept(&self) -> Later<'_, Streams> {
        self.open()
    }

    /// There is nothing to say goodbye to.
    fn close(&self) {}

    fn closed(&self) -> Later<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn streams_max(&self) -> u64 {
        1
    }
}

impl Sender for Pipe {
    fn write_all<'a>(&'a mut self, data: &'a [u8]) -> Later<'a, ()> {
        Box::pin(self.0.write(data))
    }

    fn finish(&mut self) -> Later<'_, ()> {
        Box::pin(self.0.finish())
    }
}

impl Receiver for Pipe {
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Later<'a, Option<usize>> {
        Box::pin(self.0.read(buffer))
    }
}
