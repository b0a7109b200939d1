//! A bulk transfer over loopback, one thread per end, as in production: what a megabyte costs in allocations, copies, turns
//! and system calls once the transfer has settled. An application that writes and looks where the bytes lie stands at
//! both ends, so all that is counted is the machine's own.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test function")]

#[path = "../../net/tests/counting/mod.rs"]
mod counting;

use counting::allocations;
use mpquic_base::{Dir, FourTuple, Rng, StreamId};
use mpquic_engine::{App, Cx, Habits, Shard, ShardCounters, SocketIo};
use mpquic_net::{Clock, PoolConfig, Socket, SocketOptions, Waker};
use mpquic_proto::{
    Chunk, ClientConfig, ConnectionId, Endpoint, Event, ServerConfig, StreamEvent, TransportConfig,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

const MB: u64 = 1_000_000;
/// Windows, pools and pages have grown to what this transfer needs; then it counts.
const SETTLED: u64 = 150 * MB;
const TOTAL: u64 = 300 * MB;
/// Less than the sockets' buffers, so that nothing is lost however long either thread has to wait for its core: after a
/// loss a receiver may take more pages than it had.
const WINDOW: u64 = 1 << 20;
/// Allocations that are left for a window which is emptier than it may be until late, one for each of its pages. There are a
/// hundred thousand packets in the same time: none of them may need one.
const GROWTH_MAX: u64 = WINDOW / 4096;

/// Sends or receives [`TOTAL`] bytes on one stream.
struct Mover {
    connection: Option<ConnectionId>,
    stream: Option<StreamId>,
    sends: bool,
    payload: Vec<u8>,
    moved: u64,
    allocations_when_settled: Option<u64>,
    /// In the second part, and bytes copied in all.
    allocations: u64,
    copied: u64,
    /// Ends both threads.
    stop: Arc<AtomicBool>,
    wakers: Vec<Waker>,
}

impl Mover {
    fn new(sends: bool, stop: Arc<AtomicBool>) -> Self {
        Self {
            connection: None,
            stream: None,
            sends,
            payload: vec![0x5a; 64 * 1024],
            moved: 0,
            allocations_when_settled: None,
            allocations: 0,
            copied: 0,
            stop,
            wakers: Vec::new(),
        }
    }

    fn on_moved(&mut self, cx: &Cx<'_>, bytes: usize) {
        self.moved += bytes as u64;
        let now = allocations();
        if self.moved >= SETTLED {
            let settled = *self.allocations_when_settled.get_or_insert(now);
            self.allocations = now - settled;
        }
        if self.moved >= TOTAL {
            let connection = self.connection.and_then(|id| cx.peek(id));
            self.copied = connection.map_or(0, |connection| connection.stream_stats().copied);
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>) {
        let (Some(id), Some(stream)) = (self.connection, self.stream) else { return };
        while self.moved < TOTAL {
            let left = usize::try_from(TOTAL - self.moved).unwrap().min(self.payload.len());
            let taken = cx.connection(id).unwrap().write(stream, &self.payload[..left]).unwrap();
            self.on_moved(cx, taken);
            if taken < left {
                return;
            }
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>, stream: StreamId) {
        let Some(id) = self.connection else { return };
        while let Ok(Chunk::Data(data)) = cx.connection(id).unwrap().peek(stream) {
            let n = data.len();
            cx.connection(id).unwrap().consume(stream, n).unwrap();
            self.on_moved(cx, n);
        }
        if self.moved == TOTAL {
            self.stop.store(true, Ordering::Release);
            self.wakers.iter().for_each(Waker::wake);
        }
    }
}

impl App for Mover {
    fn on_event(&mut self, cx: &mut Cx<'_>, id: ConnectionId, event: Event) {
        self.connection.get_or_insert(id);
        match event {
            Event::Connected if self.sends => {
                self.stream = Some(cx.connection(id).unwrap().open(Dir::Uni).unwrap());
                self.write(cx);
            }
            Event::Stream(StreamEvent::Writable(_)) => self.write(cx),
            Event::Stream(StreamEvent::Opened(dir)) => {
                let stream = cx.connection(id).unwrap().accept(dir).unwrap();
                self.read(cx, stream);
            }
            Event::Stream(StreamEvent::Readable(stream)) => self.read(cx, stream),
            Event::Closed(reason) => panic!("closed: {reason}"),
            _ => {}
        }
    }

    fn on_wake(&mut self, _cx: &mut Cx<'_>) {}
}

/// What one end has to show for the transfer.
struct Bill {
    counters: ShardCounters,
    allocations: u64,
    copied: u64,
    moved: u64,
}

fn run(mut shard: Shard<Mover>, io: &mut SocketIo) -> Bill {
    let stop = Arc::clone(&shard.app().stop);
    mpquic_engine::run(&mut shard, io, &stop, Habits::default()).unwrap();
    let (counters, app) = (shard.counters(), shard.app());
    Bill { counters, allocations: app.allocations, copied: app.copied, moved: app.moved }
}

/// A server that receives in a thread of its own, a client that sends in another.
fn transfer() -> [Bill; 2] {
    let identity = mpquic_tls::Identity::self_signed(&["localhost"]).unwrap();
    let pin = mpquic_tls::Pin::Certificate(identity.fingerprint());
    let transport = TransportConfig {
        initial_stream_window: WINDOW,
        initial_connection_window: WINDOW,
        stream_window_max: WINDOW,
        connection_window_max: WINDOW,
        ..TransportConfig::default()
    };
    let server = ServerConfig {
        crypto: Arc::new(mpquic_tls::ServerConfig::with_identity(identity).build(&[b"t"]).unwrap()),
        transport: Arc::new(transport.clone()),
        max_connections: 4,
    };
    let client = ClientConfig {
        crypto: Arc::new(mpquic_tls::ClientConfig::pinned(&[pin]).unwrap().build(&[b"t"]).unwrap()),
        transport: Arc::new(transport),
    };
    let clock = Clock::start();
    let stop = Arc::new(AtomicBool::new(false));
    let io = || {
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = Socket::bind(local, &SocketOptions::default()).unwrap();
        let local = socket.local_addr();
        (SocketIo::new(clock, vec![socket]).unwrap(), local)
    };
    let ((mut near, local), (mut far, peer)) = (io(), io());
    let wakers = vec![near.waker(), far.waker()];
    let (bill_to, bill_of) = mpsc::channel();
    let halt = Arc::clone(&stop);
    let receiver = thread::spawn(move || {
        let mut app = Mover::new(false, halt);
        app.wakers = wakers;
        let endpoint = Endpoint::new(Some(server), Rng::from_number(2));
        bill_to.send(run(Shard::new(endpoint, PoolConfig::default(), app), &mut far)).unwrap();
    });
    let endpoint = Endpoint::new(None, Rng::from_number(1));
    let mut shard = Shard::new(endpoint, PoolConfig::default(), Mover::new(true, stop));
    shard.with_app(clock.now(), |_, cx| cx.connect(&client, "localhost", FourTuple { local, peer }).unwrap());
    let sender = run(shard, &mut near);
    receiver.join().unwrap();
    [sender, bill_of.recv().unwrap()]
}

#[test]
fn a_settled_transfer_allocates_nothing_and_a_megabyte_costs_few_turns_calls_and_copies() {
    for (end, bill) in ["sender", "receiver"].into_iter().zip(transfer()) {
        assert_eq!(bill.moved, TOTAL);
        let per_mb = |count: u64| count as f64 / (TOTAL / MB) as f64;
        let (turns, calls) = (per_mb(bill.counters.turns), per_mb(bill.counters.system_calls));
        let copies = bill.copied as f64 / TOTAL as f64;
        let said = format!(
            "{end}: {} allocations in {} MB; per MB {turns:.1} turns, {calls:.1} system calls, {copies:.3} copies",
            bill.allocations,
            (TOTAL - SETTLED) / MB
        );
        println!("{said}");
        assert!(bill.allocations <= GROWTH_MAX, "{said}");
        // A megabyte is 16 batches of 64 KiB. The sender copies it in and out, the receiver in.
        assert!(copies < if end == "sender" { 2.2 } else { 1.1 }, "{said}");
        assert!(turns < 100.0 && calls < 300.0, "{said}");
    }
}
