//! The handle of one connection.

use crate::bridge::door::{Answer, Door, Reply, Request};
use crate::bridge::shared::{Agreed, ConnectionStats, DATAGRAMS_MAX, Entrance, Opened, Shared, State};
use crate::error::Error;
use crate::guard::Guard;
use crate::stream::{RecvStream, SendStream};
use core::fmt;
use mpquic_base::{Dir, FourTuple, PathId, StreamId};
use mpquic_proto::{CloseReason, ConnectionId, PathEvent, PathStats, Refused};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};

/// A connection to one peer, over any number of paths.
///
/// Clones are handles on the same connection. When the last one and all streams are dropped, the connection is closed
/// with code 0 as soon as everything that was finished has been delivered.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    guard: Arc<Guard>,
}

impl Connection {
    pub(crate) fn new(door: &Arc<Door>, entrance: Entrance) -> Self {
        let guard = Guard::new(entrance.id, Arc::clone(door));
        Self { shared: entrance.shared, guard: Arc::new(guard) }
    }

    /// Opens a stream that carries data both ways; waits while the peer allows no more.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), Error> {
        let (send, receive) = self.open(Dir::Bi).await?;
        Ok((send, receive.ok_or(Error::Refused(Refused::UnknownStream))?))
    }

    /// Opens a stream that carries data to the peer; waits while the peer allows no more.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn open_uni(&self) -> Result<SendStream, Error> {
        Ok(self.open(Dir::Uni).await?.0)
    }

    async fn open(&self, dir: Dir) -> Result<(SendStream, Option<RecvStream>), Error> {
        let handles = |Opened { id, early, outbox, inbox }| {
            let send = SendStream::new(Arc::clone(&self.guard), (id, early), outbox);
            (send, inbox.map(|inbox| RecvStream::new(Arc::clone(&self.guard), (id, early), inbox)))
        };
        // Nobody waiting any more: the handles' drop resets the stream.
        let opened = self
            .claim(
                |connection, reply| Request::Open { connection, dir, reply },
                |opened| drop(handles(opened)),
            )
            .await?;
        Ok(handles(opened))
    }

    /// The next stream that the peer opened for both directions.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), Error> {
        let (send, receive) = self.accept(Dir::Bi).await?;
        Ok((send.ok_or(Error::Refused(Refused::UnknownStream))?, receive))
    }

    /// The next stream that the peer opened to send.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn accept_uni(&self) -> Result<RecvStream, Error> {
        Ok(self.accept(Dir::Uni).await?.1)
    }

    async fn accept(&self, dir: Dir) -> Result<(Option<SendStream>, RecvStream), Error> {
        let (incoming, tell) = self
            .find(|state| {
                let queue = state.queue(dir);
                let incoming = queue.streams.pop_front()?;
                let tell = queue.streams.is_empty() && core::mem::take(&mut queue.starving);
                Some((incoming, tell))
            })
            .await?;
        if tell {
            self.guard.door.send(Request::Accept(self.guard.id, dir));
        }
        let name = (incoming.id, incoming.early);
        let send = incoming.outbox.map(|outbox| SendStream::new(Arc::clone(&self.guard), name, outbox));
        Ok((send, RecvStream::new(Arc::clone(&self.guard), name, incoming.inbox)))
    }

    /// Opens a path between two addresses and waits until the peer has answered on it. If the peer allows no further
    /// path yet, waits up to five seconds for that. As long as no other path lives, it goes on trying. Given up, it leaves
    /// no path behind.
    ///
    /// # Errors
    /// If the peer or the network do not let the path come up, or this is not the client's end.
    pub async fn open_path(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
        backup: bool,
    ) -> Result<PathId, Error> {
        let local = self.guard.door.source(local, peer).ok_or(Error::NoSuchAddress(local))?;
        let tuple = FourTuple { local, peer };
        // Nobody waiting any more, and nobody who knows the path's name.
        let unwanted = |path| {
            let reply = Answer::channel(drop).0;
            self.guard.door.send(Request::AbandonPath { connection: self.guard.id, path, reply });
        };
        self.claim(|connection, reply| Request::OpenPath { connection, tuple, backup, reply }, unwanted).await
    }

    /// Gives a path up; what was in flight on it goes to the others at once.
    ///
    /// # Errors
    /// If there is no such path or no other.
    pub async fn abandon_path(&self, path: PathId) -> Result<(), Error> {
        self.ask(|connection, reply| Request::AbandonPath { connection, path, reply }).await
    }

    /// Has a client's path go on between other addresses (RFC 9000 §9), and waits until it does: after another network was
    /// entered, or to one of [`Connection::preferred_addresses`]. For peers without multipath, whose only path is
    /// [`PathId::ZERO`]; with multipath a further path is the better way, because nothing is lost if it does not come up.
    /// Up to five seconds are spent waiting for the peer to allow it. If the new addresses do not work, the path stays
    /// where it was.
    ///
    /// # Errors
    /// If the peer does not allow it, the new addresses do not work, there is no such path, or this is not the client's
    /// end.
    pub async fn move_path(&self, path: PathId, local: SocketAddr, peer: SocketAddr) -> Result<(), Error> {
        let local = self.guard.door.source(local, peer).ok_or(Error::NoSuchAddress(local))?;
        let tuple = FourTuple { local, peer };
        self.ask(|connection, reply| Request::MovePath { connection, path, tuple, reply }).await
    }

    /// Where the server would rather be reached (RFC 9000 §9.6), if it said so in the handshake. See
    /// [`Connection::move_path`].
    #[must_use]
    pub fn preferred_addresses(&self) -> &[SocketAddr] {
        self.agreed().map_or(&[], |agreed| &agreed.preferred)
    }

    /// Asks both ends to keep a path in reserve, or to use it again.
    ///
    /// # Errors
    /// If there is no such path.
    pub async fn set_path_backup(&self, path: PathId, backup: bool) -> Result<(), Error> {
        self.ask(|connection, reply| Request::SetPathBackup { connection, path, backup, reply }).await
    }

    /// All paths, at most 50 ms old while something happens on the connection.
    #[must_use]
    pub fn paths(&self) -> Vec<PathStats> {
        self.shared.state().paths.clone()
    }

    /// All paths as they are now. Packets that nobody answers are no event, and [`Connection::paths`] may not tell of
    /// them.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn fresh_paths(&self) -> Result<Vec<PathStats>, Error> {
        self.ask(|connection, reply| Request::Paths { connection, reply }).await
    }

    /// The next thing that happened to a path; `None` once the connection is over. Of more than 256 waiting events the
    /// oldest are dropped.
    pub async fn path_event(&self) -> Option<PathEvent> {
        self.find(|state| state.path_events.pop_front()).await.ok()
    }

    /// Queues a datagram, which arrives once or not at all.
    ///
    /// # Errors
    /// [`Refused::DatagramSize`] if it is too large, [`Refused::Full`] if too many wait, or if the connection is over.
    pub fn send_datagram(&self, data: &[u8]) -> Result<(), Error> {
        self.send_datagram_parts(&[data])
    }

    /// As [`Connection::send_datagram`], of several parts.
    ///
    /// # Errors
    /// As [`Connection::send_datagram`].
    pub fn send_datagram_parts(&self, parts: &[&[u8]]) -> Result<(), Error> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut state = self.shared.state();
        if let Some(reason) = &state.closed {
            return Err(Error::Closed(reason.clone()));
        }
        if state.max_datagram.is_none_or(|max| len > max) {
            return Err(Error::Refused(Refused::DatagramSize));
        }
        if state.outgoing.len() >= DATAGRAMS_MAX {
            state.outgoing_full = true;
            return Err(Error::Refused(Refused::Full));
        }
        state.outgoing.push_back(parts.concat());
        self.attend_datagrams(state);
        Ok(())
    }

    /// Queues datagrams until `datagrams` ends or about 1024 wait, and returns how many it took; no more are drawn than taken.
    /// Those that no path carries are taken too, dropped and counted in [`Connection::stats`].
    ///
    /// # Errors
    /// If the connection is over.
    pub fn send_datagrams(&self, datagrams: impl IntoIterator<Item = Vec<u8>>) -> Result<usize, Error> {
        let room = DATAGRAMS_MAX.saturating_sub(self.shared.state().outgoing.len());
        // Outside the lock: the caller's iterator may do anything.
        let taken: Vec<_> = datagrams.into_iter().take(room).collect();
        let mut state = self.shared.state();
        if let Some(reason) = &state.closed {
            return Err(Error::Closed(reason.clone()));
        }
        let count = taken.len();
        state.outgoing.extend(taken);
        state.outgoing_full |= state.outgoing.len() >= DATAGRAMS_MAX;
        if count > 0 {
            self.attend_datagrams(state);
        }
        Ok(count)
    }

    /// Has the shard look at the queue, unless it is going to anyway.
    fn attend_datagrams(&self, mut state: MutexGuard<'_, State>) {
        let tell = !core::mem::replace(&mut state.outgoing_attended, true);
        drop(state);
        if tell {
            self.guard.door.send(Request::Datagrams(self.guard.id));
        }
    }

    /// Waits until the queue of [`Connection::send_datagram`] has room for one more.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn datagram_writable(&self) -> Result<(), Error> {
        self.shared
            .find(&self.shared.datagram_room, |state| {
                if let Some(reason) = &state.closed {
                    return Some(Err(Error::Closed(reason.clone())));
                }
                let room = state.outgoing.len() < DATAGRAMS_MAX;
                state.outgoing_full |= !room;
                room.then_some(Ok(()))
            })
            .await
    }

    /// The next datagram. Of more than 1024 waiting ones the oldest are dropped.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn read_datagram(&self) -> Result<Vec<u8>, Error> {
        self.find_datagrams(VecDeque::pop_front).await
    }

    /// Appends the next datagrams to `out`, at most `max`, and returns how many: as soon as there is one, all that wait.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn read_datagrams(&self, out: &mut Vec<Vec<u8>>, max: usize) -> Result<usize, Error> {
        self.find_datagrams(|arrived| {
            let n = arrived.len().min(max);
            out.extend(arrived.drain(..n));
            (n > 0 || max == 0).then_some(n)
        })
        .await
    }

    /// What has arrived counts even if the connection is over.
    async fn find_datagrams<T>(
        &self,
        mut look: impl FnMut(&mut VecDeque<Vec<u8>>) -> Option<T>,
    ) -> Result<T, Error> {
        self.shared
            .find(&self.shared.datagram_arrived, |state| {
                look(&mut state.arrived).map(Ok).or_else(|| Some(Err(Error::Closed(state.closed.clone()?))))
            })
            .await
    }

    /// The largest datagram that every path carries now; `None` if the peer accepts none.
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.shared.state().max_datagram
    }

    /// Ends both directions of a stream at once, whoever has its handles: the peer is told `code` for both, and what waits
    /// at the handles fails as if the stream had been reset and stopped here. Of no effect on a stream that is over.
    pub fn abort_stream(&self, id: StreamId, code: u64) {
        self.guard.door.send(Request::Reset(self.guard.id, id, code));
        self.guard.door.send(Request::Stop(self.guard.id, id, code));
    }

    /// Closes the connection at once; the peer learns `code` and `reason`. What was not delivered is lost.
    pub fn close(&self, code: u64, reason: &[u8]) {
        self.guard.door.send(Request::Close(self.guard.id, code, reason.to_vec()));
    }

    /// Waits until the connection is over, and says why.
    pub async fn closed(&self) -> CloseReason {
        self.shared.find(&self.shared.changed, |state| state.closed.clone()).await
    }

    /// Waits until the handshake is complete. Only connections that carry 0-RTT are handed out before: see
    /// [`crate::Connecting::into_early`] and [`crate::ServerConfig::early_data`].
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn handshake_completed(&self) -> Result<(), Error> {
        self.agreement().await.map(drop)
    }

    /// The handshake is complete: both ends are who they claim to be, and nothing is a replay.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.agreed().is_some()
    }

    /// Waits until the handshake is complete, and says whether the server took what was sent before that. If not, all of
    /// it is sent again. False as well if nothing could be sent early.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn early_data_accepted(&self) -> Result<bool, Error> {
        Ok(self.agreement().await?.early_data == Some(true))
    }

    /// The endpoint is gone, and the connection with it.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.guard.door.is_closed()
    }

    async fn agreement(&self) -> Result<&Agreed, Error> {
        self.find(|_| self.agreed()).await
    }

    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.shared.agreed.get()
    }

    /// The application protocol that both ends agreed on; `None` before the handshake is complete.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.agreed()?.alpn.as_deref()
    }

    /// Whether the peer knows resets that come after a part of the stream ([`crate::SendStream::reset_at`]). False before
    /// the handshake is complete.
    #[must_use]
    pub fn can_reset_at(&self) -> bool {
        self.agreed().is_some_and(|agreed| agreed.can_reset_at)
    }

    /// The peer's certificate (DER); clients show none. After a resumption, that of the first visit.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.agreed()?.peer_certificate.as_deref()
    }

    /// The version of QUIC that is spoken, once the handshake is complete: 1, or 0x6b3343cf for version 2.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        Some(self.agreed()?.version)
    }

    /// The TLS cipher suite, once the handshake is complete (`TLS13_AES_128_GCM_SHA256`).
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        self.agreed()?.cipher
    }

    /// A ticket of an earlier connection stood in for the certificate. False before the handshake is complete.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.agreed().is_some_and(|agreed| agreed.resumed)
    }

    /// The client had to prove its address with a Retry. False before the handshake is complete.
    #[must_use]
    pub fn retried(&self) -> bool {
        self.agreed().is_some_and(|agreed| agreed.retried)
    }

    /// Has the packet keys replaced as soon as the protocol allows (RFC 9001 §6): once the handshake is confirmed,
    /// something under the keys of now was acknowledged, and the last change is some time ago. Keys are replaced without
    /// being asked, too; `counters.key_updates` of [`Connection::stats`] counts all changes.
    ///
    /// # Errors
    /// If the connection is over.
    pub async fn update_keys(&self) -> Result<(), Error> {
        self.ask(|connection, reply| Request::UpdateKeys { connection, reply }).await
    }

    /// The peer's address on the oldest path.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.shared.state().paths.first().map(|path| path.tuple.peer)
    }

    /// Fills `out` with keying material that only the two ends of this connection can know (RFC 8446 §7.5).
    ///
    /// # Errors
    /// If the connection is over or the TLS stack refuses the length.
    pub async fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), Error> {
        let (len, label, context) = (out.len(), label.to_vec(), context.to_vec());
        let material =
            self.ask(|connection, reply| Request::Export { connection, len, label, context, reply }).await?;
        out.copy_from_slice(&material);
        Ok(())
    }

    /// Counters, at most 50 ms old while something happens on the connection.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.shared.state().stats
    }

    async fn ask<T>(&self, request: impl FnOnce(ConnectionId, Reply<T>) -> Request) -> Result<T, Error> {
        self.claim(request, drop).await
    }

    /// Asks for something that `unwanted` has to give back if the caller gives up.
    async fn claim<T>(
        &self,
        request: impl FnOnce(ConnectionId, Reply<T>) -> Request,
        unwanted: impl FnMut(T),
    ) -> Result<T, Error> {
        let (reply, answer) = Answer::channel(unwanted);
        self.guard.door.send(request(self.guard.id, reply));
        // Dropped with the request: there was no connection any more to ask.
        let gone = || Err(self.shared.state().closed.clone().map_or(Error::EndpointGone, Error::Closed));
        answer.arrived().await.unwrap_or_else(gone)
    }

    /// Waits for something in the shared state; what is there counts even if the connection is over.
    async fn find<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T, Error> {
        self.shared
            .find(&self.shared.changed, |state| match look(state) {
                Some(found) => Some(Ok(found)),
                None => Some(Err(Error::Closed(state.closed.clone()?))),
            })
            .await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        f.debug_struct("Connection")
            .field("id", &self.guard.id)
            .field("peer", &state.paths.first().map(|path| path.tuple.peer))
            .field("paths", &state.paths.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
