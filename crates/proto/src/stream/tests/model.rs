//! Random applications over a random network: every byte once and in order, every limit kept, nothing left behind.

use super::{KIB, Packet, Seen, absorb, audit, pack};
use crate::error::Refused;
use crate::stream::{Absorbed, Read, StreamConfig, StreamEvent, StreamLimits, Streams};
use mpquic_base::{Dir, Duration, PageStore, Pages, Rng, Role, StreamId, Time};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fin,
    Reset(u64),
    /// By the reader.
    Stopped(u64),
}

/// A stream as its writer sees it.
#[derive(Debug)]
struct Out {
    target: u64,
    written: u64,
    /// The last write was not cut short, or an event came since.
    may: bool,
    end: Option<End>,
    /// What has to arrive before the reset does.
    reliable: u64,
    /// It was reset with a reliable size.
    partial: bool,
    delivered: bool,
}

/// A stream as its reader sees it.
#[derive(Debug)]
struct In {
    read: u64,
    may: bool,
    end: Option<End>,
}

/// Reads the frames that a side sends and receives, and keeps the books that it ought to keep.
#[derive(Debug)]
struct Accountant {
    granted: StreamLimits,
    role: Role,
    max_streams: BTreeMap<StreamId, u64>,
    highest: BTreeMap<StreamId, u64>,
    reset: BTreeMap<StreamId, u64>,
    /// Code, final size and reliable size of resets that come later.
    reset_at: BTreeMap<StreamId, (u64, u64, u64)>,
}

impl Accountant {
    fn limit(&self, id: StreamId) -> u64 {
        let initial = match (id.dir(), id.opener() == self.role) {
            (Dir::Uni, _) => self.granted.max_stream_data_uni,
            (Dir::Bi, true) => self.granted.max_stream_data_bidi_remote,
            (Dir::Bi, false) => self.granted.max_stream_data_bidi_local,
        };
        self.max_streams.get(&id).copied().unwrap_or(0).max(initial)
    }

    fn received(&mut self, frame: &Seen) {
        match *frame {
            Seen::MaxData(max) => self.granted.max_data = self.granted.max_data.max(max),
            Seen::MaxStreamData(id, max) => {
                let slot = self.max_streams.entry(id).or_default();
                *slot = max.max(*slot);
            }
            Seen::MaxStreams(dir, max) => {
                let count = match dir {
                    Dir::Bi => &mut self.granted.max_streams_bidi,
                    Dir::Uni => &mut self.granted.max_streams_uni,
                };
                *count = max.max(*count);
            }
            _ => {}
        }
    }

    fn sent(&mut self, frame: &Seen, context: &str) {
        let (id, end) = match *frame {
            Seen::Stream { id, offset, ref data, .. } => {
                assert!(!self.reset.contains_key(&id), "{context}: data after RESET_STREAM on {id:?}");
                (id, offset + data.len() as u64)
            }
            Seen::Reset { id, size, .. } => {
                assert_eq!(*self.reset.entry(id).or_insert(size), size, "{context}: final size of {id:?}");
                if let Some((_, known, _)) = self.reset_at.get(&id) {
                    assert_eq!(*known, size, "{context}: final size of {id:?}");
                }
                (id, size)
            }
            Seen::ResetAt { id, code, size, reliable } => {
                let before = self.reset_at.insert(id, (code, size, reliable));
                let (known_code, known_size, most) = before.unwrap_or((code, size, size));
                assert_eq!((code, size), (known_code, known_size), "{context}: {id:?}");
                assert!(reliable <= most, "{context}: {id:?}");
                (id, size)
            }
            Seen::StreamDataBlocked(id, limit) => {
                assert_eq!(limit, self.limit(id), "{context}");
                return;
            }
            Seen::DataBlocked(limit) => return assert_eq!(limit, self.granted.max_data, "{context}"),
            _ => return,
        };
        if id.opener() == self.role {
            let count = match id.dir() {
                Dir::Bi => self.granted.max_streams_bidi,
                Dir::Uni => self.granted.max_streams_uni,
            };
            assert!(id.index() < count, "{context}: {id:?} is beyond MAX_STREAMS {count}");
        }
        assert!(end <= self.limit(id), "{context}: {id:?} reaches {end}, allowed {}", self.limit(id));
        let highest = self.highest.entry(id).or_default();
        *highest = end.max(*highest);
        let total: u64 = self.highest.values().sum();
        assert!(
            total <= self.granted.max_data,
            "{context}: {total} bytes, allowed {}",
            self.granted.max_data
        );
    }
}

#[derive(Debug)]
struct Side {
    role: Role,
    streams: Streams,
    books: Accountant,
    to_open: [u64; 2],
    may_open: [bool; 2],
    out: BTreeMap<StreamId, Out>,
    input: BTreeMap<StreamId, In>,
}

#[derive(Debug)]
struct Flight {
    from: usize,
    packet: Packet,
    delivered: bool,
    declared_lost: bool,
}

struct World {
    rng: Rng,
    context: String,
    sides: [Side; 2],
    flights: Vec<Flight>,
    now: Time,
    send_buffer_max: u64,
}

/// The byte at `offset` of what `writer` sends on stream `id`.
fn byte(id: StreamId, writer: Role, offset: u64) -> u8 {
    let mixed =
        (id.0 * 131 + u64::from(writer.is_client()) * 77 + offset).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[0]
}

const DIRS: [Dir; 2] = [Dir::Bi, Dir::Uni];

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let mut pick = |most: u64| 1 + rng.below(most);
        let grants: [StreamLimits; 2] = core::array::from_fn(|_| StreamLimits {
            max_data: pick(30_000),
            max_stream_data_bidi_local: pick(20_000),
            max_stream_data_bidi_remote: pick(20_000),
            max_stream_data_uni: pick(20_000),
            max_streams_bidi: pick(5),
            max_streams_uni: pick(5),
        });
        let send_buffer_max = 200 + pick(40_000);
        let sides = core::array::from_fn(|i| {
            let role = [Role::Client, Role::Server][i];
            let config = StreamConfig {
                initial: grants[i],
                receive_window_max: 64 * KIB,
                stream_window_max: 32 * KIB,
                send_buffer_max,
            };
            Side {
                role,
                streams: Streams::new(role, config),
                books: Accountant {
                    granted: grants[1 - i],
                    role,
                    max_streams: BTreeMap::new(),
                    highest: BTreeMap::new(),
                    reset: BTreeMap::new(),
                    reset_at: BTreeMap::new(),
                },
                to_open: [rng.below(8), rng.below(8)],
                may_open: [true; 2],
                out: BTreeMap::new(),
                input: BTreeMap::new(),
            }
        });
        let mut world = Self {
            rng,
            context: format!("seed {seed}"),
            sides,
            flights: Vec::new(),
            now: Time::ZERO,
            send_buffer_max,
        };
        // Some applications start on limits remembered from an earlier connection.
        if world.rng.chance(0.3) {
            world.sides[0].streams.on_peer_limits(&StreamLimits { max_data: 0, ..grants[1] });
            world.application(0, 0.0);
        }
        world.sides[0].streams.on_peer_limits(&grants[1]);
        world.sides[1].streams.on_peer_limits(&grants[0]);
        world.sides.iter_mut().for_each(|side| side.streams.allow_reset_at(true));
        world
    }

    /// What the application of one side does between two packets; it acts on events alone.
    fn application(&mut self, side: usize, mischief: f64) {
        self.hear(side);
        self.open(side);
        self.write(side, mischief);
        self.read(side, mischief);
        let side = &mut self.sides[side];
        side.streams.tune(self.now, Duration::from_millis(40));
        let stats = side.streams.stats();
        assert!(stats.send_held <= self.send_buffer_max, "{}: {stats:?}", self.context);
        assert!(stats.receive_held <= 64 * KIB, "{}: {stats:?}", self.context);
        audit(&side.streams, &self.context);
    }

    fn hear(&mut self, side: usize) {
        let context = self.context.as_str();
        let side = &mut self.sides[side];
        while let Some(event) = side.streams.next_event() {
            match event {
                StreamEvent::Opened(dir) => {
                    while let Some(id) = side.streams.accept(dir) {
                        side.input.insert(id, In { read: 0, may: true, end: None });
                        if dir == Dir::Bi {
                            let target = self.rng.below(20_000);
                            side.out.insert(id, Out::new(target));
                        }
                    }
                }
                StreamEvent::Readable(id) => side.input.get_mut(&id).unwrap().may = true,
                StreamEvent::Reset(id, _) => side.input.get_mut(&id).unwrap().may = true,
                StreamEvent::Writable(id) => side.out.get_mut(&id).unwrap().may = true,
                StreamEvent::Available(dir) => side.may_open[usize::from(dir == Dir::Uni)] = true,
                StreamEvent::Finished(id) => {
                    let out = side.out.get_mut(&id).unwrap();
                    assert!(out.partial || out.end == Some(End::Fin), "{context}: {out:?}");
                    assert!(!core::mem::replace(&mut out.delivered, true), "{context}: finished twice");
                }
                StreamEvent::Stopped(id, code) => {
                    let out = side.out.get_mut(&id).unwrap();
                    assert!(!out.delivered, "{context}: {out:?}");
                    if core::mem::take(&mut out.partial) {
                        continue;
                    }
                    assert!(matches!(out.end, None | Some(End::Fin)), "{context}: {out:?}");
                    out.end = Some(End::Stopped(code));
                }
            }
        }
    }

    fn open(&mut self, side: usize) {
        let side = &mut self.sides[side];
        for (i, dir) in DIRS.into_iter().enumerate() {
            while side.to_open[i] > 0 && side.may_open[i] {
                match side.streams.open(dir) {
                    Ok(id) => {
                        side.to_open[i] -= 1;
                        side.out.insert(id, Out::new(self.rng.below(40_000)));
                        if dir == Dir::Bi {
                            side.input.insert(id, In { read: 0, may: true, end: None });
                        }
                        let priority = [-1, 0, 0, 7][usize::try_from(self.rng.below(4)).unwrap()];
                        side.streams.set_priority(id, priority).unwrap();
                    }
                    Err(refused) => {
                        assert_eq!(refused, Refused::StreamLimit);
                        side.may_open[i] = false;
                    }
                }
            }
        }
    }

    /// A reset that comes later is made to come earlier.
    fn shrink(&mut self, side: usize, mischief: f64) {
        let side = &mut self.sides[side];
        for (&id, out) in side.out.iter_mut().filter(|(_, out)| out.reliable > 0) {
            if self.rng.chance(mischief * 5.0) {
                let size = self.rng.below(out.reliable * 2);
                if side.streams.reset_at(id, 99, size).is_ok() {
                    out.reliable = out.reliable.min(size);
                }
            }
        }
    }

    fn write(&mut self, side: usize, mischief: f64) {
        self.shrink(side, mischief);
        let context = self.context.as_str();
        let side = &mut self.sides[side];
        for (&id, out) in side.out.iter_mut().filter(|(_, out)| out.end.is_none()) {
            if self.rng.chance(mischief) {
                let code = self.rng.below(1 << 20);
                let reliable =
                    if self.rng.chance(0.5) { Some(self.rng.below(out.written + 1)) } else { None };
                let done = match reliable {
                    Some(size) => side.streams.reset_at(id, code, size),
                    None => side.streams.reset(id, code),
                };
                if done.is_ok() {
                    out.end = Some(End::Reset(code));
                    out.reliable = reliable.unwrap_or(0);
                    out.partial = reliable.is_some();
                }
                continue;
            }
            while out.may && out.written < out.target {
                let n = (1 + self.rng.below(14_000)).min(out.target - out.written);
                let bytes: Vec<u8> =
                    (out.written..out.written + n).map(|at| byte(id, side.role, at)).collect();
                let wrote = if self.rng.chance(0.5) {
                    side.streams.write(id, &bytes)
                } else {
                    let (mut pages, mut store) = (Pages::new(), PageStore::new());
                    pages.write(&mut store, out.written, &bytes);
                    side.streams.write_pages(id, (&mut pages, &mut store), bytes.len())
                };
                match wrote {
                    Ok(taken) => {
                        out.written += taken as u64;
                        out.may = taken as u64 == n;
                    }
                    // The event is still to come.
                    Err(refused) => {
                        assert!(
                            matches!(refused, Refused::Stopped(_) | Refused::Finished),
                            "{context}: {refused}"
                        );
                        break;
                    }
                }
                if mischief > 0.0 && self.rng.chance(0.3) {
                    break;
                }
            }
            if out.written == out.target && side.streams.finish(id).is_ok() {
                out.end = Some(End::Fin);
            }
        }
    }

    fn read(&mut self, side: usize, mischief: f64) {
        let context = self.context.as_str();
        let side = &mut self.sides[side];
        let mut buffer = [0; 9000];
        for (&id, input) in side.input.iter_mut().filter(|(_, input)| input.end.is_none()) {
            if self.rng.chance(mischief) {
                let code = self.rng.below(1 << 20);
                side.streams.stop(id, code).unwrap();
                input.end = Some(End::Stopped(code));
                continue;
            }
            while input.may && input.end.is_none() {
                let room = 1 + usize::try_from(self.rng.below(9000)).unwrap();
                let read = if self.rng.chance(0.5) {
                    side.streams.read(id, &mut buffer[..room])
                } else {
                    let (mut pages, mut store) = (Pages::new(), PageStore::new());
                    let read = side.streams.read_pages(id, (&mut pages, &mut store), room);
                    if let Ok(Read::Data(n)) = read {
                        pages.read(input.read, &mut buffer[..n]);
                    }
                    read
                };
                match read {
                    Ok(Read::Data(n)) => {
                        for &got in &buffer[..n] {
                            let want = byte(id, side.role.peer(), input.read);
                            assert_eq!(got, want, "{context}: {id:?} at {}", input.read);
                            input.read += 1;
                        }
                    }
                    Ok(Read::Blocked) => input.may = false,
                    Ok(Read::End) => input.end = Some(End::Fin),
                    Err(Refused::Reset(code)) => input.end = Some(End::Reset(code)),
                    Err(refused) => panic!("{context}: {refused}"),
                }
                if mischief > 0.0 && self.rng.chance(0.5) {
                    break; // a slow reader: `may` stays, so it comes back without an event
                }
            }
        }
    }

    /// One packet of a side, if it has anything to say.
    fn transmit(&mut self, from: usize, capacity: usize) -> bool {
        let context = self.context.as_str();
        let side = &mut self.sides[from];
        let (wants_control, sendable) = (side.streams.has_control(), side.streams.sendable());
        let mut after_control = 0;
        let packet = pack(capacity, |frames| {
            side.streams.write_control(frames);
            after_control = frames.len();
            side.streams.write_data(frames);
        });
        let wrote_control = after_control > 0;
        let wrote_data = packet.frames.iter().any(|f| matches!(f, Seen::Stream { .. }));
        let wants_data = sendable.fresh + sendable.again > 0;
        assert!(!wrote_control || wants_control, "{context}: control out of nothing");
        assert!(!wrote_data || wants_data, "{context}: data out of nothing: {sendable:?}");
        if capacity >= 40 {
            assert!(wrote_control || !wants_control, "{context}: said control and wrote none");
            assert!(wrote_control || wrote_data || !wants_data, "{context}: {sendable:?} and wrote none");
        }
        packet.frames.iter().for_each(|frame| side.books.sent(frame, context));
        audit(&side.streams, context);
        let something = !packet.frames.is_empty();
        if something {
            self.flights.push(Flight { from, packet, delivered: false, declared_lost: false });
        }
        something
    }

    fn deliver(&mut self, flight: usize) {
        let flight = &mut self.flights[flight];
        flight.delivered = true;
        let to = &mut self.sides[1 - flight.from];
        for frame in &flight.packet.frames {
            to.books.received(frame);
            assert_eq!(absorb(&mut to.streams, frame), Ok(Absorbed::Yes), "{}: {frame:?}", self.context);
        }
        audit(&to.streams, &self.context);
    }

    fn report(&mut self, flight: usize, arrived: bool) {
        let flight = &mut self.flights[flight];
        let to = &mut self.sides[flight.from].streams;
        for token in &flight.packet.tokens {
            if arrived { to.acked(*token) } else { to.lost(*token) }
        }
        flight.declared_lost |= !arrived;
        audit(to, &self.context);
    }

    /// Something happens to one packet: late, twice, never, and reports in any order.
    fn weather(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let i = usize::try_from(self.rng.below(self.flights.len() as u64)).unwrap();
        let (delivered, declared_lost) = (self.flights[i].delivered, self.flights[i].declared_lost);
        match self.rng.below(10) {
            0..5 => self.deliver(i),
            5..8 if delivered => {
                self.report(i, true);
                if self.rng.chance(0.8) {
                    self.flights.swap_remove(i);
                }
            }
            8.. if !declared_lost => {
                self.report(i, false);
                if !delivered && self.rng.chance(0.5) {
                    self.flights.swap_remove(i);
                }
            }
            _ => {}
        }
    }

    /// Faults stop: everything in the air has its fate, and every packet arrives from now on.
    fn calm(&mut self) -> Vec<Flight> {
        let mut old = Vec::new();
        for round in 0.. {
            assert!(round < 5000, "{}: does not come to an end", self.context);
            for i in 0..self.flights.len() {
                if round > 0 && !self.flights[i].delivered {
                    self.deliver(i);
                }
                let arrived = self.flights[i].delivered;
                self.report(i, arrived);
            }
            old.append(&mut self.flights);
            self.now += Duration::from_millis(10);
            let mut quiet = true;
            for side in 0..2 {
                self.application(side, 0.0);
                for _ in 0..50 {
                    if !self.transmit(side, 1200) {
                        break;
                    }
                    quiet = false;
                }
            }
            if quiet {
                break;
            }
        }
        old
    }

    fn check_completion(&mut self) {
        let context = self.context.as_str();
        for (writer, reader) in [(0, 1), (1, 0)] {
            assert_eq!(self.sides[writer].to_open, [0, 0], "{context}: streams were never opened");
            for (id, out) in &self.sides[writer].out {
                let input = &self.sides[reader].input[id];
                let why = format!("{context}: {id:?} {out:?} {input:?}");
                match (out.end.expect(&why), input.end.expect(&why)) {
                    (End::Fin, End::Fin) => assert!(input.read == out.target && out.delivered, "{why}"),
                    // All of it arrived before the reset did.
                    (End::Reset(_), End::Fin) => assert_eq!(input.read, out.target, "{why}"),
                    (End::Reset(sent), End::Reset(got)) => {
                        assert!(sent == got && input.read >= out.reliable, "{why}");
                    }
                    (End::Stopped(got), End::Stopped(sent)) => assert_eq!(sent, got, "{why}"),
                    // Both gave up, or the reader too late.
                    (End::Reset(_), End::Stopped(_)) => {}
                    (End::Fin, End::Stopped(_)) => assert!(out.delivered, "{why}"),
                    (End::Stopped(_) | End::Fin, _) => panic!("{why}"),
                }
            }
        }
        for side in &self.sides {
            let stats = side.streams.stats();
            assert_eq!((stats.open, stats.held_bytes, stats.fragments), (0, 0, 0), "{context}: {stats:?}");
            assert_eq!(side.streams.sums, super::Tally::default(), "{context}");
            assert!(
                side.streams.queues.control.is_empty() && side.streams.queues.waiting.is_empty(),
                "{context}"
            );
            let queued = side.streams.queues.again.front().or(side.streams.queues.fresh.front());
            assert_eq!(queued, None, "{context}");
        }
    }
}

impl Out {
    const fn new(target: u64) -> Self {
        Self { target, written: 0, may: true, end: None, reliable: 0, partial: false, delivered: false }
    }
}

#[test]
fn any_application_over_any_network_gets_every_byte_once_and_leaves_nothing_behind() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        let mischief = [0.0, 0.0005, 0.01][usize::try_from(seed % 3).unwrap()];
        for _ in 0..600 {
            world.now += Duration::from_millis(1);
            let side = usize::from(world.rng.chance(0.5));
            match world.rng.below(4) {
                0 => world.application(side, mischief),
                1 => {
                    let capacity = 20 + usize::try_from(world.rng.below(1180)).unwrap();
                    world.transmit(side, capacity);
                }
                _ => world.weather(),
            }
        }
        let mut old = world.calm();
        world.check_completion();
        // Packets that were on a very long way meet streams that are over.
        world.flights.append(&mut old);
        for i in 0..world.flights.len() {
            world.deliver(i);
            world.report(i, i % 2 == 0);
        }
        world.check_late_packets();
    }
}

impl World {
    /// Old packets reopen nothing; at most a limit is announced once more.
    fn check_late_packets(&mut self) {
        for side in 0..2 {
            let streams = &mut self.sides[side].streams;
            assert_eq!(streams.stats().open, 0, "{}", self.context);
            assert_eq!(streams.next_event(), None, "{}", self.context);
            let said = super::flush(streams);
            let only_limits = said.iter().flat_map(|p| &p.frames).all(|frame| {
                matches!(frame, Seen::MaxData(_) | Seen::MaxStreams(..) | Seen::StreamsBlocked(..))
            });
            assert!(only_limits, "{}: {said:?}", self.context);
        }
    }
}
