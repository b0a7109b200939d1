//! The application's side of a connection.

use super::{Connection, ConnectionCounters};
use crate::datagrams::DatagramStats;
use crate::error::Refused;
use crate::event::Event;
use crate::path::Path;
use crate::stream::{Chunk, Read, StreamStats};
use mpquic_base::{Dir, PageStore, Pages, StreamId};
use std::collections::VecDeque;

/// Header and tag of a 1-RTT packet at their longest, without the peer's connection ID: flags, packet number, AEAD tag.
const PACKET_OVERHEAD: usize = 1 + 4 + 16;

impl Connection {
    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<Event> {
        // What ended the connection comes after everything else that was pending.
        if let Some(event) = self.streams.next_event() {
            return Some(Event::Stream(event));
        }
        self.events.pop_front()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`Refused::StreamLimit`] until the peer allows more; an event says when.
    pub fn open(&mut self, dir: Dir) -> Result<StreamId, Refused> {
        self.require_open()?;
        self.streams.open(dir)
    }

    /// The next stream that the peer opened.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.streams.accept(dir)
    }

    /// Takes as much of `data` as the send buffer holds; 0 if it is full, and an event follows when it is not.
    ///
    /// # Errors
    /// If the stream cannot be written to.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, Refused> {
        self.require_open()?;
        self.streams.write(id, data)
    }

    /// As [`Connection::write`] for bytes in a window that has the offsets of this stream: `available` bytes from where the
    /// last write ended. Whole pages change hands without a copy; what was taken is released from the window.
    ///
    /// # Errors
    /// If the stream cannot be written to.
    pub fn write_pages(
        &mut self,
        id: StreamId,
        from: (&mut Pages, &mut PageStore),
        available: usize,
    ) -> Result<usize, Refused> {
        self.require_open()?;
        self.streams.write_pages(id, from, available)
    }

    /// Nothing more will be written.
    ///
    /// # Errors
    /// If the stream cannot be written to.
    pub fn finish(&mut self, id: StreamId) -> Result<(), Refused> {
        self.require_open()?;
        self.streams.finish(id)
    }

    /// Gives up sending; the peer learns `code`.
    ///
    /// # Errors
    /// If the stream has no open sending side.
    pub fn reset(&mut self, id: StreamId, code: u64) -> Result<(), Refused> {
        self.require_open()?;
        self.streams.reset(id, code)
    }

    /// Gives up sending, but delivers the first `reliable` bytes (or all that were written, if those are fewer); then the
    /// peer learns `code`. Said again, the size can only shrink, and the first code stands. If it was said in 0-RTT that
    /// is refused by a peer which does not know such resets any more, it becomes a plain reset.
    ///
    /// # Errors
    /// [`Refused::NoResetAt`] if the peer does not know such resets; if the stream has no open sending side.
    pub fn reset_at(&mut self, id: StreamId, code: u64, reliable: u64) -> Result<(), Refused> {
        self.require_open()?;
        self.streams.reset_at(id, code, reliable)
    }

    /// Whether the peer knows [`Connection::reset_at`] (draft-ietf-quic-reliable-stream-reset).
    #[must_use]
    pub const fn can_reset_at(&self) -> bool {
        self.streams.is_reset_at_allowed()
    }

    /// Gives up reading and asks the peer to stop, with `code`.
    ///
    /// # Errors
    /// If the stream has no open receiving side.
    pub fn stop(&mut self, id: StreamId, code: u64) -> Result<(), Refused> {
        self.require_open()?;
        self.streams.stop(id, code)
    }

    /// Streams of a higher priority are sent first; 0 is the default.
    ///
    /// # Errors
    /// If there is no such stream.
    pub fn set_priority(&mut self, id: StreamId, priority: i32) -> Result<(), Refused> {
        self.streams.set_priority(id, priority)
    }

    /// Copies what arrived in order into `out`.
    ///
    /// # Errors
    /// If the stream cannot be read from.
    pub fn read(&mut self, id: StreamId, out: &mut [u8]) -> Result<Read, Refused> {
        self.read_since_tune = true;
        self.streams.read(id, out)
    }

    /// As [`Connection::read`], but moves up to `max` bytes to a window that has the offsets of this stream. Whole pages
    /// change hands without a copy.
    ///
    /// # Errors
    /// If the stream cannot be read from.
    pub fn read_pages(
        &mut self,
        id: StreamId,
        into: (&mut Pages, &mut PageStore),
        max: usize,
    ) -> Result<Read, Refused> {
        self.read_since_tune = true;
        self.streams.read_pages(id, into, max)
    }

    /// Looks at what arrived in order, without a copy.
    ///
    /// # Errors
    /// If the stream cannot be read from.
    pub fn peek(&mut self, id: StreamId) -> Result<Chunk<'_>, Refused> {
        self.streams.peek(id)
    }

    /// Takes `n` bytes off what [`Connection::peek`] showed.
    ///
    /// # Errors
    /// If the stream cannot be read from.
    pub fn consume(&mut self, id: StreamId, n: usize) -> Result<(), Refused> {
        self.read_since_tune = true;
        self.streams.consume(id, n)
    }

    /// Queues a datagram.
    ///
    /// # Errors
    /// [`Refused::DatagramSize`] if the peer or the paths cannot take it, [`Refused::Full`] if too many wait.
    pub fn send_datagram(&mut self, data: &[u8]) -> Result<(), Refused> {
        self.require_open()?;
        let room = self.datagram_room();
        self.datagrams.send(data, room)
    }

    /// Queues datagrams from the front of `from`, without a copy, as far as there is room; what is left is to be offered
    /// again after [`Event::DatagramWritable`]. Those that no path carries are dropped and counted.
    ///
    /// # Errors
    /// If the connection is over.
    pub fn send_datagrams(&mut self, from: &mut VecDeque<Vec<u8>>) -> Result<(), Refused> {
        self.require_open()?;
        let room = self.datagram_room();
        self.datagrams.send_all(from, room);
        Ok(())
    }

    pub fn read_datagram(&mut self) -> Option<Vec<u8>> {
        self.datagrams.read()
    }

    /// The largest datagram that every usable path carries now; `None` if the peer accepts none.
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.datagrams.max_size(self.datagram_room())
    }

    fn datagram_room(&self) -> usize {
        let room = |path: &Path| {
            // The peer's IDs are as long as it likes, up to 20 bytes.
            let cid = self.cids.peer_cid(path.id).map_or(0, |cid| cid.len());
            usize::from(path.mtu.current()).saturating_sub(PACKET_OVERHEAD + cid)
        };
        self.paths.iter().filter(|p| p.is_usable()).map(room).min().unwrap_or(0)
    }

    fn require_open(&self) -> Result<(), Refused> {
        if self.close.is_open() { Ok(()) } else { Err(Refused::Closed) }
    }

    #[must_use]
    pub fn stream_stats(&self) -> StreamStats {
        self.streams.stats()
    }

    #[must_use]
    pub const fn datagram_stats(&self) -> DatagramStats {
        self.datagrams.stats
    }

    #[must_use]
    pub fn counters(&self) -> ConnectionCounters {
        let key_updates = self.keys.as_ref().map_or(0, |keys| keys.updates);
        ConnectionCounters { key_updates, ..self.counters }
    }

    /// The largest UDP payload that may be sent: ours to choose, and the peer's to limit once it has said so. RFC 9000
    /// §14: never less than 1200 bytes.
    #[must_use]
    pub fn max_udp_payload(&self) -> u16 {
        let ceiling = self.peer.as_ref().map(|peer| self.mtu_ceiling(&peer.parameters));
        ceiling.unwrap_or(self.config.mtu_ceiling).max(crate::path::MTU_BASE)
    }

    /// The application protocol that both ends agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.handshake.session.alpn()
    }

    /// The peer's certificate (DER), if it showed one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.handshake.session.peer_certificate()
    }

    /// Has our key replaced as soon as the protocol allows: once the handshake is confirmed, something under the key of
    /// now was acknowledged, and the last change is some time ago. The peer follows. Before there is a key, there is
    /// nothing to replace.
    ///
    /// # Errors
    /// If the connection is over.
    pub fn update_keys(&mut self) -> Result<(), Refused> {
        self.require_open()?;
        self.keys.iter_mut().for_each(crate::keys::OneRttKeys::want_update);
        Ok(())
    }

    /// The server was believed because of an earlier connection.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.handshake.session.resumed()
    }

    /// The name of the TLS cipher suite, once agreed.
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        self.handshake.session.cipher()
    }

    /// Keying material bound to this connection (RFC 8446 §7.5); false before the handshake is complete.
    pub fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        self.handshake.session.export(out, label, context)
    }

    /// Both ends agreed to use several paths.
    #[must_use]
    pub const fn is_multipath(&self) -> bool {
        self.path_ids.is_negotiated()
    }
}
