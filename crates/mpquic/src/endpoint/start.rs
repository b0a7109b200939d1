//! An endpoint begins: its sockets are bound, and its threads take them over.

use super::{Endpoint, Opened, ShardHandle, Shards};
use crate::bind::Bind;
use crate::bridge::door::{Bound, Door};
use crate::bridge::{Accepting, Bridge};
use crate::threads::Threads;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use mpquic_base::Rng;
use mpquic_engine::{Habits, Post, Shard, SocketIo, steer};
use mpquic_net::{Clock, PoolConfig, Socket};
use mpquic_proto::{Admission, SHARDS_MAX, Seat, ServerConfig};
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, mpsc};

pub(super) fn start(
    server: Option<(ServerConfig, Admission)>,
    binds: &[Bind],
    threads: &Threads,
) -> io::Result<Endpoint> {
    if !(1..=SHARDS_MAX).contains(&threads.shards) {
        let why = format!("an endpoint has 1 to {SHARDS_MAX} shards, not {}", threads.shards);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let mut rng = Rng::from_seed(seed);
    let seats = Seat::row(threads.shards, &mut rng);
    let mut shards = Shards {
        handles: Vec::new(),
        accepting: Arc::new(Accepting::default()),
        program: seats[0].steering().filter(|_| threads.kernel_steering).map(steer::program),
        busy_poll: threads.busy_poll,
        steered: AtomicBool::new(threads.shards > 1 && threads.kernel_steering),
        turn: AtomicUsize::new(0),
    };
    // What each shard is to have, link by link.
    let mut shares: Vec<Vec<(Socket, Bound)>> = seats.iter().map(|_| Vec::new()).collect();
    for bind in binds {
        let Opened { sockets, bind, throttle } = shards.open_for(bind, seats.len())?;
        for (share, socket) in shares.iter_mut().zip(sockets) {
            let bound =
                Bound { local: socket.local_addr(), bind: bind.clone(), throttle: Arc::clone(&throttle) };
            share.push((socket, bound));
        }
    }
    // One clock, so that tokens and the links' limits mean the same to all.
    let clock = Clock::start();
    let posts = Post::among(threads.shards);
    for ((seat, share), post) in seats.into_iter().zip(shares).zip(posts) {
        let habits = threads.habits(seat.shard());
        let kit = Kit { server: server.clone(), rng: rng.fork(), seat, post, habits };
        // If this fails, dropping `shards` ends those that run.
        shards.handles.push(kit.spawn(clock, share, &shards.accepting)?);
    }
    Ok(Endpoint { shards: Arc::new(shards) })
}

/// What a thread begins with.
struct Kit {
    server: Option<(ServerConfig, Admission)>,
    rng: Rng,
    seat: Seat,
    post: Post,
    habits: Habits,
}

impl Kit {
    fn spawn(
        self,
        clock: Clock,
        share: Vec<(Socket, Bound)>,
        accepting: &Arc<Accepting>,
    ) -> io::Result<ShardHandle> {
        let (sockets, bound) = share.into_iter().unzip();
        let mut io = SocketIo::new(clock, sockets)?;
        let habits = self.habits;
        self.post.set_waker(io.waker());
        let door = Arc::new(Door::new(io.waker(), bound));
        let stop = Arc::new(AtomicBool::new(false));
        let bridge = Bridge::new(Arc::clone(&door), Arc::clone(accepting), Arc::clone(&stop));
        let name = match self.seat.shard() {
            0 => "mpquic".to_owned(),
            shard => format!("mpquic-{shard}"),
        };
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let Self { server, rng, seat, post, habits } = self;
            let adopted = habits.adopt();
            let failed = adopted.is_err();
            ready.send(adopted).ok();
            if failed {
                return;
            }
            let (server, admission) = server.unzip();
            let mut endpoint = mpquic_proto::Endpoint::seated(server, rng, seat);
            // Tokens outlive the process if the server's secret does, so their times are told by the calendar.
            endpoint.set_admission(Admission { epoch: clock.epoch(), ..admission.unwrap_or_default() });
            let mut shard = Shard::new(endpoint, PoolConfig::default(), bridge).with_post(post);
            // If the poller itself fails, the shard ends like after a shutdown: dropping it tells everybody.
            mpquic_engine::run(&mut shard, &mut io, &stop, habits).ok();
        })?;
        if let Ok(Err(error)) = is_ready.recv() {
            let processor = habits.processor.unwrap_or_default();
            let why = format!("a thread cannot be tied to processor {processor}: {error}");
            return Err(io::Error::new(error.kind(), why));
        }
        Ok(ShardHandle { door, thread: Mutex::new(Some(thread)) })
    }
}

impl Shards {
    /// A link's sockets for the shards that run.
    pub(super) fn open(&self, bind: &Bind) -> io::Result<Opened> {
        self.open_for(bind, self.handles.len())
    }

    fn open_for(&self, bind: &Bind, count: usize) -> io::Result<Opened> {
        let (sockets, throttle) = bind.open(count, self.busy_poll)?;
        if let (Some(program), Some(first)) = (&self.program, sockets.first())
            && first.steer_group(program).is_err()
        {
            // Then the shards pass datagrams on to each other.
            self.steered.store(false, Ordering::Relaxed);
        }
        Ok(Opened { sockets, bind: bind.clone(), throttle })
    }
}
