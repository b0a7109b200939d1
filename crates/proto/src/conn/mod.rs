//! One connection. This folder is a switchboard: it owns no protocol rule, it hands what happens to the part whose
//! business it is, and asks the parts in a fixed order what they want to send.
//!
//! `receive` takes datagrams apart, `dispatch` hands their frames on, `settle` brings fates home, `transmit` builds
//! datagrams (`packet` seals them, `early` those of 0-RTT), `timers` lets time pass, `app` is the application's side, `paths` opens and
//! closes paths, `moves` has them go to other addresses, `negotiation` begins again when the server asks for it, `versions` goes on
//! in another version, `rest` gives memory back, `audit` checks the books for the simulator and `holdings` counts what is held.

mod app;
mod audit;
mod dispatch;
mod early;
mod holdings;
mod moves;
pub(crate) mod negotiation;
mod packet;
mod paths;
mod receive;
mod rest;
mod settle;
pub(crate) mod setup;
mod tail;
mod timers;
mod transmit;
mod versions;

pub use holdings::Holdings;
pub(crate) use packet::protect;
pub(crate) use receive::{Arrival, INITIAL_DATAGRAM_MIN, RESET_LEN_MIN};
pub use transmit::{Fate, Tag, Transmit};

use crate::ack_frequency::{AckOrders, AckWishes};
use crate::cids::{Cids, ResetChange, RouteChange};
use crate::close::{Close, CloseFrame};
use crate::config::TransportConfig;
use crate::datagrams::Datagrams;
use crate::error::Violation;
use crate::event::{CloseReason, Event, PathEvent};
use crate::frames::Token;
use crate::handshake::{Handshake, LevelId};
use crate::keys::OneRttKeys;
use crate::path::{Fates, Path};
use crate::path_ids::PathIds;
use crate::stream::Streams;
use crate::tokens::Grants;
use early::Early;
use mpquic_base::{Cid, Duration, PathId, Rng, Role, Time};
use mpquic_policy::sched::{PathView, Scheduler};
use mpquic_wire::TransportParameters;
use negotiation::Attempt;
use std::collections::VecDeque;
use std::sync::Arc;
use versions::Begun;

/// RFC 9000 §18.2: the exponent that we send ACK delays with.
const ACK_DELAY_EXPONENT: u8 = 3;
/// Events that may wait; streams bound their own, so only a flood of path events could ever reach it.
const EVENTS_MAX: usize = 4096;

pub struct Connection {
    role: Role,
    config: Arc<TransportConfig>,
    rng: Rng,
    version: u32,
    begun: Begun,
    /// Our ID in long headers.
    scid: Cid,
    /// The ID that the client chose for the server before it knew better.
    first_dcid: Cid,
    /// What a client needs to begin again; the source ID of the Retry that it followed and the token for its Initial
    /// packets.
    attempt: Option<Attempt>,
    retry_scid: Option<Cid>,
    initial_token: Vec<u8>,
    grants: Grants,
    tokens_received: u32,
    /// Number of the next OBSERVED_ADDRESS.
    observed_seq: u64,
    handshake: Handshake,
    keys: Option<OneRttKeys>,
    early: Option<Box<Early>>,
    /// What became of 0-RTT, if there was any, once the handshake is complete.
    early_outcome: Option<bool>,
    paths: Vec<Path>,
    path_ids: PathIds,
    cids: Cids,
    streams: Streams,
    datagrams: Datagrams,
    ack_orders: AckOrders,
    ack_wishes: AckWishes,
    peer: Option<Peer>,
    close: Close,
    idle: Idle,
    scheduler: Box<dyn Scheduler>,
    events: VecDeque<Event>,
    /// Transmissions whose fate is open.
    credits_used: u32,
    /// When a pacer that held data back lets go of it.
    pacing_wake: Option<Time>,
    /// When [`Connection::transmit`] last had nothing to say: what was due then waits for something else than time.
    asked_at: Option<Time>,
    /// How often the peer was told again that we are blocked, since it last gave credit.
    asked_for_credit: u8,
    /// The application read: receive windows may want tuning.
    read_since_tune: bool,
    /// Packets for keys that do not exist yet.
    stash: Vec<receive::Stashed>,
    /// The ID that the peer chose for itself, once an Initial packet of it was taken in.
    peer_scid: Option<Cid>,
    counters: ConnectionCounters,
    /// Bytes of packets whose stream data went over a second path too.
    doubled: u64,
    /// Nothing moved for a while, and what was kept for speed was given back.
    rested: bool,
    // Kept for their allocations.
    fates: Fates,
    tokens: Vec<Token>,
    views: Vec<PathView>,
    slots: Vec<usize>,
}

/// What the peer's transport parameters left behind.
#[derive(Clone, Debug)]
struct Peer {
    parameters: TransportParameters,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionCounters {
    pub datagrams_received: u64,
    pub datagrams_sent: u64,
    pub transmissions: u64,
    /// Packets that did not decrypt, repeated ones, and ones that came before their keys and found no room.
    pub forged: u64,
    pub duplicates: u64,
    pub undecryptable: u64,
    /// 0-RTT packets taken in.
    pub early_packets: u64,
    /// Changes of the 1-RTT keys, by either end.
    pub key_updates: u64,
    /// Retry packets that were followed: one at the most.
    pub retries: u64,
    /// Packets left unacknowledged because a stream was too fragmented to take them.
    pub refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    since: Time,
    started: Time,
    /// RFC 9000 §10.1: only the first eliciting packet after a received one restarts the timer.
    sent_since_heard: bool,
}

impl Connection {
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The handshake is complete and the connection not yet closing.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.handshake.is_complete() && self.close.is_open()
    }

    /// The version of QUIC that is spoken; settled once the handshake is complete.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The client proved its address by following a Retry.
    #[must_use]
    pub const fn is_retried(&self) -> bool {
        self.retry_scid.is_some()
    }

    /// Whether 0-RTT data was taken by the server; `None` if there was none, and before the handshake is complete.
    #[must_use]
    pub const fn early_data(&self) -> Option<bool> {
        self.early_outcome
    }

    /// The server has confirmed the handshake (or we are the server and it is complete).
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.handshake.is_confirmed()
    }

    /// Nothing is left to be done: the connection may be dropped once its events are read.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.close.is_done()
    }

    pub(crate) const fn has_route_changes(&self) -> bool {
        self.cids.has_changes()
    }

    pub(crate) fn take_route_changes(&mut self, out: &mut Vec<RouteChange>) {
        self.cids.take_changes(out);
    }

    pub(crate) fn take_reset_changes(&mut self, out: &mut Vec<ResetChange>) {
        self.cids.take_reset_changes(out);
    }

    /// At least one packet of the peer proved genuine.
    pub(crate) fn heard_from_peer(&mut self) -> bool {
        let initial = self.handshake.level(LevelId::Initial);
        initial.is_none_or(|l| l.space.acks.largest().is_some()) || !self.close.is_open()
    }

    /// RFC 9287 §3.1: the QUIC bit is sent as zero now and then, if the peer said that it does not care.
    fn greases_bit(&mut self) -> bool {
        let allowed = self.peer.as_ref().is_some_and(|p| p.parameters.grease_quic_bit);
        allowed && self.config.greasing && self.rng.coin()
    }

    /// draft-ietf-quic-address-discovery-00 §3: we provide and the peer wants to receive.
    fn tells_addresses(&self) -> bool {
        use mpquic_wire::parameters::AddressDiscovery::{Both, Receives};
        let wish = self.peer.as_ref().and_then(|p| p.parameters.address_discovery);
        let provides = self.config.address_discovery && !self.role.is_client();
        provides && matches!(wish, Some(Receives | Both))
    }

    fn slot(&self, id: PathId) -> Option<usize> {
        self.paths.binary_search_by_key(&id, |p| p.id).ok()
    }

    fn push_event(&mut self, event: Event) {
        // Said once, it need not be said again for the next path id.
        let available = Event::Path(PathEvent::Available);
        if event == available && self.events.back() == Some(&available) {
            return;
        }
        if self.events.len() < EVENTS_MAX || matches!(event, Event::Closed(_)) {
            self.events.push_back(event);
        }
    }

    /// The peer's max_ack_delay where it counts: in the application space, once the handshake is confirmed.
    fn max_ack_delay(&self) -> Duration {
        match &self.peer {
            Some(_) if self.handshake.is_confirmed() => self.ack_wishes.delay(),
            _ => Duration::ZERO,
        }
    }

    /// The largest PTO of all paths: what spans paths waits for the slowest.
    fn largest_pto(&self) -> Duration {
        let delay = self.max_ack_delay();
        let ptos = self.paths.iter().map(|p| p.recovery.pto_interval(delay));
        ptos.max().unwrap_or(self.config.initial_rtt)
    }

    fn violate(&mut self, now: Time, violation: Violation) {
        self.begin_close(now, CloseFrame::Transport { code: violation.code, why: violation.why });
    }

    fn begin_close(&mut self, now: Time, frame: CloseFrame) {
        if !self.close.is_open() {
            return;
        }
        let reason = frame.reason();
        self.close.start(now, frame, self.largest_pto() * 3);
        self.push_event(Event::Closed(reason));
    }

    /// Ends without a word to the peer.
    fn end(&mut self, reason: CloseReason) {
        if self.close.is_open() {
            self.push_event(Event::Closed(reason));
        }
        self.close = Close::Done;
        self.cids.remove_all();
    }

    fn drain(&mut self, now: Time, reason: CloseReason) {
        if self.close.is_open() {
            self.push_event(Event::Closed(reason));
        }
        let three = self.largest_pto() * 3;
        self.close.drain(now, three);
    }
}

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("handshake", &self.handshake)
            .field("paths", &self.paths.iter().map(|p| (p.id, p.tuple)).collect::<Vec<_>>())
            .field("close", &self.close)
            .finish_non_exhaustive()
    }
}
