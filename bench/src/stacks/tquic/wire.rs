//! The socket of an endpoint of tquic. What tquic hands over as a batch leaves in as few system calls as GSO allows.

use crate::Failure;
use crate::host::bind_udp;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tquic::{PacketInfo, PacketSendHandler};

/// Packets of one system call: what fits a UDP datagram of 64 KiB.
pub(super) const SEGMENTS: usize = 44;

type Packet = (Vec<u8>, PacketInfo);

pub(super) struct Wire {
    socket: UdpSocket,
    offload: UdpSocketState,
    /// The socket was full, and has not been seen otherwise since.
    full: Cell<bool>,
    /// GSO takes packets in one piece.
    joined: RefCell<Vec<u8>>,
}

impl Wire {
    pub(super) fn bind(local: SocketAddr) -> Result<Self, Failure> {
        let socket = bind_udp(local)?;
        socket.set_nonblocking(true)?;
        let offload = UdpSocketState::new((&socket).into())?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { socket, offload, full: Cell::new(false), joined: RefCell::default() })
    }

    pub(super) fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.socket.local_addr()?)
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.get()
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await?;
        self.full.set(false);
        Ok(())
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// What one system call brings; `None` if there is nothing.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<RecvMeta> {
        let mut meta = [RecvMeta::default()];
        let receive = || self.offload.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta);
        self.socket.try_io(Interest::READABLE, receive).ok()?;
        let [meta] = meta;
        Some(meta)
    }

    fn send(&self, packets: &[Packet]) -> io::Result<()> {
        let mut joined = self.joined.borrow_mut();
        let [(first, info), others @ ..] = packets else { return Ok(()) };
        let contents = if others.is_empty() {
            first
        } else {
            joined.clear();
            packets.iter().for_each(|(packet, _)| joined.extend_from_slice(packet));
            &*joined
        };
        let transmit = Transmit {
            destination: info.dst,
            ecn: None,
            contents,
            segment_size: (!others.is_empty()).then_some(first.len()),
            src_ip: None,
        };
        let send = || self.offload.try_send((&self.socket).into(), &transmit);
        self.socket.try_io(Interest::WRITABLE, send)
    }
}

impl PacketSendHandler for Wire {
    fn on_packets_send(&self, packets: &[Packet]) -> tquic::Result<usize> {
        let mut sent = 0;
        // tquic asks again for each packet that it makes; the socket is asked only when it may have room.
        while sent < packets.len() && !self.is_full() {
            let train = train(&packets[sent..]);
            match self.send(&packets[sent..sent + train]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.full.set(true),
                // What fails otherwise is lost like any packet.
                Ok(()) | Err(_) => sent += train,
            }
        }
        Ok(sent)
    }
}

/// How many of the first packets may leave in one call: of one size, except that the last may be shorter, to one address.
fn train(packets: &[Packet]) -> usize {
    let Some((first, info)) = packets.first() else { return 0 };
    let fits = |(packet, to): &&Packet| packet.len() <= first.len() && to.dst == info.dst;
    let full = |(packet, to): &&Packet| packet.len() == first.len() && to.dst == info.dst;
    let most = packets.len().min(SEGMENTS);
    let same = packets[..most].iter().take_while(full).count();
    same + usize::from(packets[same..most].first().is_some_and(|packet| fits(&packet)))
}

#[cfg(test)]
mod tests;
