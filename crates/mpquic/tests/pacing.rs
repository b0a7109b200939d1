//! Pacing on real sockets, as the receiving kernel's clock sees it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test; its world is built outside the test functions, and it says what it measured"
)]

mod observer;

use mpquic::policy::cc::{AckBatch, Controller, EcnBatch, LossBatch};
use mpquic::policy::{Entry, Settings, Tunable};
use mpquic::{ClientConfig, Endpoint, Identity, Pin, Rate, ServerConfig, TransportConfig};
use observer::{Observer, Seen};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(60);
/// What the path is paced at, in bits per second: two full packets are 1.16 ms.
const RATE: u32 = 20_000_000;
/// Arrivals closer together than this are one burst: a hundredth of a millisecond's packets would be further apart.
const TOGETHER: Duration = Duration::from_micros(50);

/// A controller that knows its rate and lets nothing else hold the path back.
#[derive(Debug)]
struct Fixed(Rate);

impl Controller for Fixed {
    fn on_ack(&mut self, _: &AckBatch) {}
    fn on_loss(&mut self, _: &LossBatch) {}
    fn on_ecn(&mut self, _: &EcnBatch) {}
    fn on_mtu(&mut self, _: u16) {}
    fn window(&self) -> u64 {
        4 << 20
    }
    fn pacing(&self) -> Option<Rate> {
        Some(self.0)
    }
    fn in_slow_start(&self) -> bool {
        false
    }
}

const BITS: Tunable =
    Tunable { name: "bits", about: "bits per second", default: RATE as f64, min: 1.0, max: 1e10 };

static FIXED: Entry<dyn Controller> = Entry {
    name: "fixed",
    about: "for tests: a rate that never changes",
    tunables: &[BITS],
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate within its range")]
    build: |settings: &Settings| Box::new(Fixed(Rate::from_bits_per_second(settings.get(BITS.name) as u64))),
};

/// Sends `bytes` through an observer and returns what it saw, full packets only.
async fn watched(pacing: bool, bytes: usize) -> Vec<Seen> {
    let mut transport = TransportConfig { pacing, ..TransportConfig::default() };
    transport.set_controller(&FIXED);
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let pin = Pin::Certificate(identity.fingerprint());
    let any = ["127.0.0.1:0".parse().unwrap()];
    let server = Endpoint::server(ServerConfig::new(identity, ALPN).unwrap(), &any).unwrap();
    let client = Endpoint::client(&any).unwrap();
    let config = ClientConfig::pinned(&[pin], ALPN).unwrap().transport(transport);
    let observer = Observer::before(server.local_addrs()[0]);
    let dialled = client.connect(&config, "localhost", client.local_addrs()[0], observer.address());
    let (near, far) = timeout(PATIENCE, async { tokio::join!(dialled, server.accept()) }).await.unwrap();
    let (near, far) = (near.unwrap(), far.unwrap());
    let mut send = near.open_uni().await.unwrap();
    let receiver = tokio::spawn(async move { far.accept_uni().await.unwrap().read_to_end(bytes).await });
    send.write_all(&vec![5; bytes]).await.unwrap();
    send.finish().unwrap();
    let got = timeout(PATIENCE, receiver).await.unwrap().unwrap().unwrap();
    assert_eq!(got.len(), bytes);
    client.shutdown().await;
    let mut seen = observer.stop();
    seen.retain(|s| s.len > 1100);
    seen
}

/// What arrived together: when, and how many bytes.
fn bursts(seen: &[Seen]) -> Vec<(Duration, usize)> {
    let mut all: Vec<(Duration, usize)> = Vec::new();
    let mut last = Duration::ZERO;
    for s in seen {
        match all.last_mut().filter(|_| s.at.saturating_sub(last) < TOGETHER) {
            Some(burst) => burst.1 += s.len,
            None => all.push((s.at, s.len)),
        }
        last = s.at;
    }
    all
}

/// The size of the burst that the middle byte arrived in: single large ones among many small ones count by their bytes.
fn usual_burst(bursts: &[(Duration, usize)], share: f64) -> usize {
    let mut sizes: Vec<usize> = bursts.iter().map(|b| b.1).collect();
    sizes.sort_unstable();
    let total: usize = sizes.iter().sum();
    let mut below = 0;
    let found = sizes.iter().find(|size| {
        below += **size;
        below as f64 >= total as f64 * share
    });
    *found.unwrap()
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// A millisecond's bytes, at least two packets: what one batch may have.
const BATCH: usize = 2 * 1452;

/// What holds however late the thread was woken: the size of each batch (the kernel stamps what was sent at once with one
/// time), and how much a late thread may catch up on, which is what lay ready (2 ms), its credit (1 ms) and a batch at
/// the end of each.
fn assert_bounds(steady: &[Seen]) {
    let mut batches: BTreeMap<Duration, usize> = BTreeMap::new();
    steady.iter().for_each(|s| *batches.entry(s.at).or_default() += s.len);
    let largest = batches.values().max().unwrap();
    assert!(*largest <= BATCH, "a batch of {largest} bytes");
    let longest = bursts(steady).iter().map(|b| b.1).max().unwrap();
    assert!(longest <= 6 * BATCH, "a burst of {longest} bytes");
}

/// What is uneven in the way in which a paced path's packets arrived.
fn complaint(steady: &[Seen]) -> Option<String> {
    let all = bursts(steady);
    let gaps: Vec<Duration> = all.windows(2).map(|w| w[1].0 - w[0].0).collect();
    let (usual, most, gap) = (usual_burst(&all, 0.5), usual_burst(&all, 0.9), median(gaps));
    println!("paced: {} bursts, usual {usual} bytes, nine of ten up to {most}, gap {gap:?}", all.len());
    // A thread that woke late sends the next batch along.
    if usual > 2 * BATCH {
        return Some(format!("the usual burst has {usual} bytes"));
    }
    let ideal = Duration::from_nanos(BATCH as u64 * 8 * 1_000_000_000 / u64::from(RATE));
    if gap < ideal * 7 / 10 || gap > ideal * 14 / 10 {
        return Some(format!("batches came {gap:?} apart, not {ideal:?}"));
    }
    None
}

/// The machine may be too busy to wake a thread in time: that is no fault of the pacer, and does not happen each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paced_path_sends_even_batches_of_no_more_than_a_millisecond() {
    let mut why = String::new();
    for attempt in 1..=6 {
        let seen = watched(true, 2_000_000).await;
        // The first 100 ms are the handshake's and the search for the MTU.
        let start = seen[0].at + Duration::from_millis(100);
        let steady: Vec<Seen> = seen.into_iter().filter(|s| s.at > start).collect();
        assert_bounds(&steady);
        match complaint(&steady) {
            None => return,
            Some(complaint) => why = complaint,
        }
        println!("attempt {attempt}: {why}; trying again");
    }
    panic!("six times in a row: {why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_pacing_the_same_path_sends_long_bursts() {
    let seen = watched(false, 2_000_000).await;
    let all = bursts(&seen);
    let usual = usual_burst(&all, 0.5);
    println!("unpaced: {} bursts, usual {usual} bytes", all.len());
    assert!(usual > 10 * 1452, "{usual} bytes");
}
