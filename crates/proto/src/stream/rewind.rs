//! 0-RTT that came to nothing (RFC 9001 §4.6.2, RFC 9000 §7.4.1): streams exist that the peer has never heard of, opened and
//! written under limits that it does not stand by any more.
//!
//! To the application they stay what they are. To the peer they begin anew: every byte is sent as if for the first time,
//! and a stream beyond the number allowed now is withheld until there is room for it.

use super::flow::Credit;
use super::{STREAMS_MAX, StreamLimits, Streams, stream_limit};
use mpquic_base::{Dir, StreamId};

impl Streams {
    /// Nothing that was sent so far has arrived, nor ever will. The peer's limits are these; `None` if it has not said them
    /// yet. Everything sent has been reported lost before, and nothing of it will be reported again.
    pub(crate) fn rewind(&mut self, limits: Option<&StreamLimits>) {
        self.peer = limits.copied();
        self.shared.send = Credit::new(limits.map(|limits| limits.max_data));
        for dir in [Dir::Bi, Dir::Uni] {
            let max = limits.map(|limits| match dir {
                Dir::Bi => limits.max_streams_bidi,
                Dir::Uni => limits.max_streams_uni,
            });
            let max = max.map(|max| max.min(STREAMS_MAX));
            let ours = self.ours.get_mut(dir);
            ours.credit.replace(max);
            let opened = ours.credit.used();
            let first_withheld = max.unwrap_or(0);
            ours.withheld = (first_withheld < opened).then_some(first_withheld);
            for index in 0..opened {
                let id = StreamId::new(self.role, dir, index);
                let limit = limits.map(|limits| stream_limit(limits, false, dir));
                self.unlist(id);
                self.touch(id, |stream, _| {
                    stream.withheld = index >= first_withheld;
                    stream.send.iter_mut().for_each(|send| send.rewind(limit));
                });
            }
        }
    }

    /// The peer may allow more streams than before.
    pub(super) fn release(&mut self, dir: Dir) {
        let ours = self.ours.get_mut(dir);
        let Some(from) = ours.withheld else { return };
        let opened = ours.credit.used();
        let to = ours.credit.limit().min(opened);
        ours.withheld = (to < opened).then_some(to.max(from));
        for index in from..to {
            self.touch(StreamId::new(self.role, dir, index), |stream, _| stream.withheld = false);
        }
    }

    /// Takes a stream out of the queues of what is to be sent; [`Streams::touch`] puts it back where it belongs.
    fn unlist(&mut self, id: StreamId) {
        let Some(stream) = self.table.get_mut(&id) else { return };
        let priority = stream.send.as_ref().map_or(0, |send| send.priority);
        if core::mem::take(&mut stream.listed.again) {
            self.again.remove(priority, id);
        }
        if core::mem::take(&mut stream.listed.fresh) {
            self.fresh.remove(priority, id);
        }
        if core::mem::take(&mut stream.listed.control) {
            self.control.retain(|queued| *queued != id);
        }
    }
}
