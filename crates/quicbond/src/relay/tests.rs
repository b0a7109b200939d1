use super::*;
use core::sync::atomic::AtomicBool;
use mpquic_base::Rng;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);
const PIPE: usize = 16 << 10;

/// An end in memory that can break and that notes whether it was aborted.
struct Wire {
    inner: DuplexStream,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The end of the stream is a reset.
    broken: AtomicBool,
    aborted: AtomicBool,
}

impl Abort for Wire {
    fn abort(&mut self) {
        self.state.aborted.store(true, Ordering::SeqCst);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, room))?;
        if room.filled().len() == before && self.state.broken.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn wire() -> (Wire, DuplexStream, Arc<State>) {
    let (inner, far) = duplex(PIPE);
    let state = Arc::new(State::default());
    (Wire { inner, state: Arc::clone(&state) }, far, state)
}

/// A program's TCP connection, a relay, and the far end of its flow.
struct Bench {
    program: TcpStream,
    far: DuplexStream,
    flow: Arc<State>,
    relay: JoinHandle<Relayed>,
    counters: Arc<Counters>,
}

impl Bench {
    async fn new(early: &[u8], idle: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (local, _) = listener.accept().await.unwrap();
        let (flow, far, state) = wire();
        let (early, counters) = (early.to_vec(), Arc::new(Counters::default()));
        let counted = Arc::clone(&counters);
        let relay = tokio::spawn(async move { relay(local, early, flow, idle, &counted).await });
        Self { program, far, flow: state, relay, counters }
    }

    async fn ended(self) -> (Relayed, bool) {
        let relayed = timeout(LONG, self.relay).await.expect("the relay ends").unwrap();
        (relayed, self.flow.aborted.load(Ordering::SeqCst))
    }
}

async fn all_of(end: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(LONG, end.read_to_end(&mut bytes)).await.expect("an end comes").unwrap();
    bytes
}

async fn reset_of(end: &mut TcpStream) -> io::ErrorKind {
    let mut bytes = Vec::new();
    timeout(LONG, end.read_to_end(&mut bytes)).await.expect("an end comes").unwrap_err().kind()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::from_number(seed).fill(&mut bytes);
    bytes
}

#[tokio::test]
async fn when_the_program_ends_its_direction_the_other_one_stays_open() {
    let mut b = Bench::new(b"", LONG).await;
    b.program.write_all(b"question").await.unwrap();
    b.program.shutdown().await.unwrap();
    assert_eq!(all_of(&mut b.far).await, b"question");
    let answer = noise(1, 300_000);
    let expected = answer.clone();
    let writer = tokio::spawn(async move {
        b.far.write_all(&answer).await.unwrap();
        b.far.shutdown().await.unwrap();
        b.far
    });
    assert!(all_of(&mut b.program).await == expected);
    b.far = writer.await.unwrap();
    assert_eq!(b.ended().await, (Relayed { up: 8, down: 300_000, end: End::Finished }, false));
}

#[tokio::test]
async fn when_the_far_end_ends_its_direction_the_other_one_stays_open() {
    let mut b = Bench::new(b"", LONG).await;
    b.far.write_all(b"banner").await.unwrap();
    b.far.shutdown().await.unwrap();
    assert_eq!(all_of(&mut b.program).await, b"banner");
    b.program.write_all(b"still here").await.unwrap();
    b.program.shutdown().await.unwrap();
    assert_eq!(all_of(&mut b.far).await, b"still here");
    assert_eq!(b.ended().await, (Relayed { up: 10, down: 6, end: End::Finished }, false));
}

#[tokio::test]
async fn megabytes_cross_in_both_directions_at_once() {
    const LEN: usize = 6 << 20;
    let b = Bench::new(b"", LONG).await;
    let counters = Arc::clone(&b.counters);
    let (program_reads, program_writes) = b.program.into_split();
    let (far_reads, far_writes) = tokio::io::split(b.far);
    async fn send(mut to: impl AsyncWrite + Unpin, seed: u64) {
        to.write_all(&noise(seed, LEN)).await.unwrap();
        to.shutdown().await.unwrap();
    }
    async fn receive(mut from: impl AsyncRead + Unpin, seed: u64) {
        assert!(all_of(&mut from).await == noise(seed, LEN), "seed {seed}");
    }
    tokio::join!(
        send(program_writes, 1),
        receive(far_reads, 1),
        send(far_writes, 2),
        receive(program_reads, 2)
    );
    let relayed = b.relay.await.unwrap();
    assert_eq!(relayed, Relayed { up: LEN as u64, down: LEN as u64, end: End::Finished });
    assert_eq!(counters.up.load(Ordering::Relaxed), LEN as u64);
    assert_eq!(counters.down.load(Ordering::Relaxed), LEN as u64);
    assert_eq!(counters.finished.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn early_bytes_come_first() {
    for early in [1, BUFFER_MIN, BUFFER_MIN + 1, 3 * BUFFER_MIN] {
        let early = noise(early as u64, early);
        let mut b = Bench::new(&early, LONG).await;
        b.program.write_all(b" and the rest").await.unwrap();
        b.program.shutdown().await.unwrap();
        assert!(all_of(&mut b.far).await == [&early[..], b" and the rest"].concat());
    }
}

#[tokio::test]
async fn a_reset_by_the_program_aborts_the_flow() {
    let mut b = Bench::new(b"", LONG).await;
    b.program.write_all(b"half a word").await.unwrap();
    b.far.read_exact(&mut [0; 11]).await.unwrap();
    let counters = Arc::clone(&b.counters);
    b.program.abort();
    let Bench { program, far, flow, relay, .. } = b;
    drop(program);
    let relayed = timeout(LONG, relay).await.unwrap().unwrap();
    assert_eq!(relayed.end, End::LocalReset);
    assert!(flow.aborted.load(Ordering::SeqCst));
    assert_eq!(counters.local_resets.load(Ordering::Relaxed), 1);
    drop(far);
}

#[tokio::test]
async fn a_reset_of_the_flow_resets_the_program() {
    let mut b = Bench::new(b"", LONG).await;
    b.far.write_all(b"half a word").await.unwrap();
    b.program.read_exact(&mut [0; 11]).await.unwrap();
    b.flow.broken.store(true, Ordering::SeqCst);
    b.far.shutdown().await.unwrap();
    assert_eq!(reset_of(&mut b.program).await, io::ErrorKind::ConnectionReset);
    assert_eq!(b.ended().await, (Relayed { up: 0, down: 11, end: End::FlowReset }, true));
}

#[tokio::test]
async fn a_flow_that_takes_no_more_resets_the_program() {
    let b = Bench::new(b"", LONG).await;
    let Bench { mut program, far, flow, relay, .. } = b;
    program.write_all(b"hello?").await.unwrap();
    // The far end is gone before it read: writes fail, and reads of the flow end.
    drop(far);
    flow.broken.store(true, Ordering::SeqCst);
    let ended = timeout(LONG, relay).await.unwrap().unwrap().end;
    assert_eq!(ended, End::FlowReset);
    assert_eq!(reset_of(&mut program).await, io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_silent_relay_is_reset_on_both_sides_and_a_busy_one_is_not() {
    let idle = Duration::from_secs(1);
    let mut b = Bench::new(b"", idle).await;
    let began = Instant::now();
    for _ in 0..6 {
        tokio::time::sleep(idle / 4).await;
        b.far.write_all(b".").await.unwrap();
        b.program.read_exact(&mut [0]).await.unwrap();
    }
    assert_eq!(reset_of(&mut b.program).await, io::ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= idle * 10 / 4, "{:?}", began.elapsed());
    assert_eq!(b.ended().await, (Relayed { up: 0, down: 6, end: End::Idle }, true));
}

#[tokio::test]
async fn a_far_end_that_does_not_read_fills_one_buffer_and_no_more() {
    let (local, mut program, _) = wire();
    let (flow, far, _) = wire();
    let relay = tokio::spawn(async move { relay(local, Vec::new(), flow, LONG, &Counters::default()).await });
    let mut taken = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), program.write(&[7; 4096])).await {
        taken += written.unwrap();
    }
    assert!(taken >= 2 * PIPE, "{taken} bytes");
    assert!(taken <= BUFFER_MAX + 2 * PIPE, "{taken} bytes");
    drop((program, far));
    relay.await.unwrap();
}
