//! What the application does to the table: open, accept, write, read, and giving up on either half.

use super::recv::{Look, Recv};
use super::send::Send;
use super::{Shared, StreamEvent, Streams};
use crate::error::Refused;
use mpquic_base::{Dir, PageStore, Pages, StreamId};

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// That many bytes were copied.
    Data(usize),
    /// The stream ended; everything was read.
    End,
    /// Nothing there now; an event says when.
    Blocked,
}

/// What a look at the next bytes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The next bytes as far as they lie together.
    Data(&'a [u8]),
    End,
    Blocked,
}

/// What all send buffers together may take now.
#[derive(Clone, Copy)]
struct Free {
    /// Bytes that are in flight or could be.
    moving: u64,
    /// Of those, bytes never sent.
    fresh: u64,
}

impl Free {
    /// A stream may buffer this much beyond the peer's limit, so that new credit finds bytes waiting.
    const STALLED_MAX: u64 = 64 * 1024;
    /// A stream may hold this many times what is free: slow ones cannot take everything from the others.
    const SHARE: u64 = 4;

    /// What one stream may take.
    fn room(self, send: &Send) -> u64 {
        let moving = Self::share(self.moving, send.moving());
        moving.min(Self::share(self.fresh, send.fresh())).min(send.headroom(Self::STALLED_MAX))
    }

    fn share(free: u64, held: u64) -> u64 {
        // The most it may take so that what it holds stays within SHARE times what is then free.
        let spare = free.saturating_mul(Self::SHARE).saturating_sub(held);
        // Rounded up: a stream that holds nothing can always take something of what is free.
        spare.div_ceil(Self::SHARE + 1)
    }
}

impl Streams {
    /// The send buffers never get smaller than this: bytes enough for a few round trips of a slow start.
    const SEND_BUFFER_MIN: u64 = 256 * 1024;
    /// Room that is worth waking a writer for.
    const WORTH_WAKING: u64 = 4096;

    /// Opens a stream.
    pub(crate) fn open(&mut self, dir: Dir) -> Result<StreamId, Refused> {
        let ours = self.ours.get_mut(dir);
        if ours.credit.left() == 0 {
            ours.refused = true;
            return Err(Refused::StreamLimit);
        }
        let id = StreamId::new(self.role, dir, ours.credit.used());
        ours.credit.take(1);
        self.insert(id);
        Ok(id)
    }

    /// The next stream that the peer opened, in its order.
    pub(crate) fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        let theirs = self.theirs.get_mut(dir);
        if theirs.accepted == theirs.opened {
            return None;
        }
        let id = StreamId::new(self.role.peer(), dir, theirs.accepted);
        theirs.accepted += 1;
        self.touch(id, |stream, shared| {
            // What happened before is told now.
            stream.known = true;
            match stream.recv.as_ref().map_or(Look::Blocked, Recv::look) {
                Look::Bytes(_) | Look::End => stream.news(id).tell_readable(&mut shared.events),
                Look::Reset(code) => shared.events.push_back(StreamEvent::Reset(id, code)),
                Look::Blocked | Look::Stopped => {}
            }
            if let Some(code) = stream.send.as_ref().and_then(Send::stopped) {
                shared.events.push_back(StreamEvent::Stopped(id, code));
            }
        });
        Some(id)
    }

    /// Whether the application may speak of the sending half; if it is over, it was finished or reset.
    fn sender(&self, id: StreamId) -> Result<&Send, Refused> {
        match self.table.get(&id) {
            Some(stream) if stream.known => stream.send.as_ref().ok_or(Refused::UnknownStream),
            Some(_) => Err(Refused::UnknownStream),
            None => {
                let local = id.opener() == self.role;
                let over = match (local, id.dir()) {
                    (true, dir) => id.index() < self.ours.get(dir).credit.used(),
                    (false, Dir::Bi) => id.index() < self.theirs.bi.accepted,
                    (false, Dir::Uni) => false,
                };
                Err(if over { Refused::Finished } else { Refused::UnknownStream })
            }
        }
    }

    fn change_sender<R>(
        &mut self,
        id: StreamId,
        change: impl FnOnce(&mut Send, &mut Shared) -> R,
    ) -> Result<R, Refused> {
        self.sender(id)?;
        self.touch_send(id, |send, _, shared| change(send, shared)).ok_or(Refused::UnknownStream)
    }

    fn change_receiver<R>(
        &mut self,
        id: StreamId,
        change: impl FnOnce(&mut Recv, &mut Shared) -> R,
    ) -> Result<R, Refused> {
        let changed = self.touch_recv(id, |recv, news, shared| news.known.then(|| change(recv, shared)));
        changed.flatten().ok_or(Refused::UnknownStream)
    }

    /// Takes as much of `data` as there is room for. Less than all of it means that `Writable` follows, or
    /// `Stopped` if the peer loses interest.
    pub(crate) fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, Refused> {
        let n = self.room(id)?.min(data.len());
        self.change_sender(id, |send, shared| {
            send.write(&mut shared.store, &data[..n]);
            send.waiting = n < data.len();
        })?;
        Ok(n)
    }

    /// As [`Streams::write`] for the first `available` bytes that are not written yet of a window with this stream's
    /// offsets; whole pages change hands.
    pub(crate) fn write_pages(
        &mut self,
        id: StreamId,
        from: (&mut Pages, &mut PageStore),
        available: usize,
    ) -> Result<usize, Refused> {
        let n = self.room(id)?.min(available);
        self.change_sender(id, |send, shared| {
            send.write_pages(&mut shared.store, from, n as u64);
            send.waiting = n < available;
        })?;
        Ok(n)
    }

    /// What may be written to this stream now.
    fn room(&self, id: StreamId) -> Result<usize, Refused> {
        let send = self.sender(id)?;
        send.check_open()?;
        Ok(usize::try_from(self.free().room(send)).unwrap_or(usize::MAX))
    }

    fn free(&self) -> Free {
        let useful = self.send_hints.useful.max(Self::SEND_BUFFER_MIN).min(self.config.send_buffer_max);
        let hard = self.config.send_buffer_max.saturating_sub(self.sums.held);
        Free {
            moving: useful.saturating_sub(self.sums.moving).min(hard),
            fresh: self.send_hints.unsent.saturating_sub(self.sums.fresh),
        }
    }

    /// The next stream whose writer can go on. One that cannot leaves the queue: its next packet, acknowledgement or limit
    /// brings it back.
    fn next_writable(&mut self) -> Option<StreamId> {
        let worth = Self::WORTH_WAKING.min(self.config.send_buffer_max / 4).max(1);
        loop {
            let free = self.free();
            if free.moving.min(free.fresh) == 0 {
                return None;
            }
            let id = self.queues.waiting.pop_front()?;
            let Some(stream) = self.table.get_mut(&id) else { continue };
            stream.listed.waiting = false;
            let Some(send) = &mut stream.send else { continue };
            let room = free.room(send);
            if send.waiting && (room >= worth || (room > 0 && send.moving() == 0)) {
                send.waiting = false;
                return Some(id);
            }
        }
    }

    /// Ends the stream after what was written.
    pub(crate) fn finish(&mut self, id: StreamId) -> Result<(), Refused> {
        self.change_sender(id, |send, _| send.finish())?
    }

    /// Gives up on sending: what was not delivered may never be.
    pub(crate) fn reset(&mut self, id: StreamId, code: u64) -> Result<(), Refused> {
        self.change_sender(id, |send, shared| send.reset(&mut shared.store, code))?
    }

    /// Gives up on what lies beyond the first `reliable` bytes; those are delivered, and then the reset with them.
    pub(crate) fn reset_at(&mut self, id: StreamId, code: u64, reliable: u64) -> Result<(), Refused> {
        if !self.reset_at_allowed {
            return Err(Refused::NoResetAt);
        }
        self.change_sender(id, |send, shared| send.reset_at(&mut shared.store, code, reliable))?
    }

    /// Gives up on reading: what is here is dropped, and the peer is asked to stop.
    pub(crate) fn stop(&mut self, id: StreamId, code: u64) -> Result<(), Refused> {
        let stopped = self.change_receiver(id, |recv, shared| recv.stop(shared, code))?;
        if stopped { Ok(()) } else { Err(Refused::UnknownStream) }
    }

    /// Streams of a higher priority send first; the default is 0.
    pub(crate) fn set_priority(&mut self, id: StreamId, priority: i32) -> Result<(), Refused> {
        self.sender(id)?;
        let Some(stream) = self.table.get_mut(&id) else { return Err(Refused::UnknownStream) };
        let Some(send) = &mut stream.send else { return Err(Refused::UnknownStream) };
        let before = core::mem::replace(&mut send.priority, priority);
        if before == priority {
            return Ok(());
        }
        if stream.listed.again {
            self.queues.again.remove(before, id);
            self.queues.again.push(priority, id);
        }
        if stream.listed.fresh {
            self.queues.fresh.remove(before, id);
            self.queues.fresh.push(priority, id);
        }
        Ok(())
    }

    /// Copies the next bytes. A stream that ended or was reset stays in the table until this, [`Streams::peek`] or
    /// [`Streams::stop`] made the application know.
    pub(crate) fn read(&mut self, id: StreamId, out: &mut [u8]) -> Result<Read, Refused> {
        self.read_with(id, |recv, shared| recv.read(shared, out))
    }

    /// As [`Streams::read`], but moves up to `max` bytes to a window with this stream's offsets; whole pages change hands.
    pub(crate) fn read_pages(
        &mut self,
        id: StreamId,
        into: (&mut Pages, &mut PageStore),
        max: usize,
    ) -> Result<Read, Refused> {
        self.read_with(id, |recv, shared| recv.read_pages(shared, into, max))
    }

    fn read_with(
        &mut self,
        id: StreamId,
        read: impl FnOnce(&mut Recv, &mut Shared) -> usize,
    ) -> Result<Read, Refused> {
        self.change_receiver(id, |recv, shared| {
            let look = recv.look();
            recv.told();
            match look {
                Look::Bytes(_) => Ok(Read::Data(read(recv, shared))),
                Look::Blocked => Ok(Read::Blocked),
                Look::End => Ok(Read::End),
                Look::Reset(code) => Err(Refused::Reset(code)),
                Look::Stopped => Err(Refused::UnknownStream),
            }
        })?
    }

    /// The next bytes where they lie; [`Streams::consume`] takes them away.
    pub(crate) fn peek(&mut self, id: StreamId) -> Result<Chunk<'_>, Refused> {
        let look = self.change_receiver(id, |recv, _| {
            let look = recv.look();
            recv.told();
            look
        })?;
        match look {
            Look::Bytes(_) => {
                let recv = self.table.get(&id).and_then(|stream| stream.recv.as_ref());
                Ok(recv.map_or(Chunk::Blocked, |recv| Chunk::Data(recv.chunk())))
            }
            Look::Blocked => Ok(Chunk::Blocked),
            Look::End => Ok(Chunk::End),
            Look::Reset(code) => Err(Refused::Reset(code)),
            Look::Stopped => Err(Refused::UnknownStream),
        }
    }

    /// Takes `n` bytes away that [`Streams::peek`] showed; more than there are means all.
    pub(crate) fn consume(&mut self, id: StreamId, n: usize) -> Result<(), Refused> {
        self.change_receiver(id, |recv, shared| recv.skip(shared, n as u64))
    }

    /// What happened since the last call.
    pub(crate) fn next_event(&mut self) -> Option<StreamEvent> {
        while let Some(event) = self.shared.events.pop_front() {
            if self.still_true(event) {
                return Some(event);
            }
        }
        self.next_writable().map(StreamEvent::Writable)
    }

    /// Drops news that the application has overtaken, and lets the next one of its kind pass.
    fn still_true(&mut self, event: StreamEvent) -> bool {
        match event {
            StreamEvent::Opened(dir) => {
                let theirs = self.theirs.get_mut(dir);
                theirs.opened_pending = false;
                theirs.accepted < theirs.opened
            }
            StreamEvent::Readable(id) => {
                let Some(stream) = self.table.get_mut(&id) else { return false };
                stream.readable_pending = false;
                let look = stream.recv.as_ref().map_or(Look::Blocked, Recv::look);
                matches!(look, Look::Bytes(_) | Look::End)
            }
            StreamEvent::Available(dir) => {
                let ours = self.ours.get_mut(dir);
                ours.available_pending = false;
                ours.credit.left() > 0
            }
            StreamEvent::Writable(_)
            | StreamEvent::Finished(_)
            | StreamEvent::Stopped(..)
            | StreamEvent::Reset(..) => true,
        }
    }
}
