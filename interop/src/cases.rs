//! What is tried with every peer in both roles. Nothing here knows a stack: a [`Pair`] says who is who.

mod meeting;

use crate::exchange::Load;
use crate::multipath;
use crate::stack::{Connection, Ending, Failure, Later, Role, Stack, Terms};
use crate::trust::Trust;
use meeting::{CODE, Meeting, Opened};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const MEGABYTE: u64 = 1_000_000;
/// The transfers of "10 MB".
const BULK: u64 = 10 * MEGABYTE;
/// Each way, on every one of many streams.
const SMALL: Load = Load { up: 1_000, down: 1_000 };
/// As much as the POST that the project promises to bring back intact.
const ECHO: Load = Load { up: 1_050_000, down: 1_050_000 };
/// Packets after which our end changes its keys in the case about that; [`KEYS_LOAD`] is several times as much.
const KEYS_AFTER: u64 = 400;
const KEYS_LOAD: Load = Load { up: 2 * MEGABYTE, down: 2 * MEGABYTE };
/// Time for tickets, which come after the handshake.
const TICKETS_TAKE: Duration = Duration::from_millis(150);
/// Time for the first request of a client that needs no round trip.
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// Datagrams sent each way. Loopback loses next to none; they are allowed to be.
const DATAGRAMS: usize = 100;
const DATAGRAM_LEN: usize = 1_000;
const DATAGRAMS_MIN: usize = 90;

/// What a case needs both ends to be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Handshake,
    Transfer,
    Streams,
    Payload,
    Retry,
    Chacha,
    Resumption,
    Early,
    KeyUpdate,
    Version2,
    Datagrams,
    Reset,
    Rebinding,
    Multipath,
}

/// One row of the matrix.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub want: Want,
    /// Returns a remark worth printing, or nothing.
    pub run: for<'a> fn(&'a Pair) -> Later<'a, String>,
}

/// Who meets whom.
#[derive(Debug)]
pub struct Pair {
    pub ours: &'static Stack,
    pub peer: &'static Stack,
    pub peer_role: Role,
    pub trust: Trust,
}

macro_rules! case {
    ($name:literal, $want:ident, $about:literal, $run:expr) => {
        Case { name: $name, about: $about, want: Want::$want, run: |pair| Box::pin($run(pair)) }
    };
}

pub const ALL: &[Case] = &[
    case!(
        "handshake",
        Handshake,
        "handshake, one byte each way, an application's close code arrives",
        handshake
    ),
    case!("down-10MB", Transfer, "10 MB from the server to the client", |pair| transfer(
        pair,
        Load::down(BULK)
    )),
    case!("up-10MB", Transfer, "10 MB from the client to the server", |pair| transfer(pair, Load::up(BULK))),
    case!("streams-100", Streams, "100 streams at once, 1 kB each way", |pair| streams(pair, 100)),
    case!("streams-1000", Streams, "1,000 streams at once, 1 kB each way", |pair| streams(pair, 1_000)),
    case!("payload-1200", Payload, "1.05 MB each way in datagrams of 1200 bytes at most", |pair| payload(
        pair, 1200
    )),
    case!("payload-1452", Payload, "1.05 MB each way in datagrams of 1452 bytes at most", |pair| payload(
        pair, 1452
    )),
    case!("retry", Retry, "the server demands a Retry", retry),
    case!("chacha20", Chacha, "ChaCha20-Poly1305 and nothing else", chacha20),
    case!("resumption", Resumption, "a second connection with a ticket of the first", resumption),
    case!("0-rtt", Early, "the second connection's request travels in 0-RTT and is taken", early),
    case!(
        "key-update",
        KeyUpdate,
        "our end changes its keys under way, then the peer's where it can",
        key_update
    ),
    case!("v2", Version2, "QUIC version 2", version_2),
    case!("datagrams", Datagrams, "100 datagrams of 1,000 bytes each way", datagrams),
    case!("reset", Reset, "a server that lost its state resets the connection", reset),
    case!(
        "rebinding",
        Rebinding,
        "the client's port changes three times in the middle of 20 MB up",
        rebinding
    ),
    case!("multipath", Multipath, "50 MB over two paths at once", two_paths),
];

impl Pair {
    #[must_use]
    pub const fn server(&self) -> &'static Stack {
        match self.peer_role {
            Role::Client => self.ours,
            Role::Server => self.peer,
        }
    }

    #[must_use]
    pub const fn client(&self) -> &'static Stack {
        match self.peer_role {
            Role::Client => self.peer,
            Role::Server => self.ours,
        }
    }

    /// Why this case cannot be.
    #[must_use]
    pub fn lacks(&self, want: Want) -> Option<&'static str> {
        let ours = match self.peer_role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        (self.peer.lacks)(want, self.peer_role).or_else(|| (self.ours.lacks)(want, ours))
    }

    /// Ours and the peer's, of a connection's two ends.
    fn sides<'a>(&self, opened: &'a Opened) -> (&'a dyn Connection, &'a dyn Connection) {
        match self.peer_role {
            Role::Client => (&*opened.server, &*opened.client),
            Role::Server => (&*opened.client, &*opened.server),
        }
    }
}

async fn handshake(pair: &Pair) -> Result<String, Failure> {
    let meeting = Meeting::direct(pair, &Terms::default())?;
    let opened = meeting.open().await?;
    opened.exchange(Load { up: 1, down: 1 }).await?;
    let (ended, closed) = meeting::part_with_code(&opened).await?;
    meeting.end().await?;
    expect(ended == Ending::Closed(CODE.into()), || format!("the server saw {ended:?}"))?;
    Ok(closed)
}

async fn transfer(pair: &Pair, load: Load) -> Result<String, Failure> {
    let meeting = Meeting::direct(pair, &Terms::default())?;
    let opened = meeting.open().await?;
    opened.exchange(load).await?;
    meeting.finish(opened).await
}

async fn streams(pair: &Pair, count: u32) -> Result<String, Failure> {
    let meeting = Meeting::direct(pair, &Terms { streams: count, ..Terms::default() })?;
    let opened = meeting.open().await?;
    opened.exchange_at_once(SMALL, usize::try_from(count)?).await?;
    meeting.finish(opened).await
}

async fn payload(pair: &Pair, payload: u16) -> Result<String, Failure> {
    let meeting = Meeting::relayed(pair, &Terms { payload, ..Terms::default() })?;
    let opened = meeting.open().await?;
    opened.exchange(ECHO).await?;
    let seen = meeting.relay()?.seen();
    let (ours, peers) = match pair.peer_role {
        Role::Client => (seen.down.largest, seen.up.largest),
        Role::Server => (seen.up.largest, seen.down.largest),
    };
    expect(ours <= payload.into(), || format!("we sent a datagram of {ours} bytes"))?;
    // A small limit is no reason for small packets.
    expect(ours >= usize::from(payload) - 20, || format!("our largest datagram had only {ours} bytes"))?;
    meeting.finish(opened).await?;
    Ok(format!("largest datagrams: ours {ours}, the peer's {peers}"))
}

async fn retry(pair: &Pair) -> Result<String, Failure> {
    let meeting = Meeting::relayed(pair, &Terms { retry: true, ..Terms::default() })?;
    let opened = meeting.open().await?;
    opened.exchange(SMALL).await?;
    let seen = meeting.relay()?.seen();
    // A first flight of two datagrams may be answered twice; a client follows one of the answers.
    let asked = 1..=seen.up.initial;
    expect(asked.contains(&seen.down.retry), || format!("{} Retry packets passed", seen.down.retry))?;
    meeting.finish(opened).await
}

async fn chacha20(pair: &Pair) -> Result<String, Failure> {
    let meeting = Meeting::direct(pair, &Terms { chacha: true, ..Terms::default() })?;
    let opened = meeting.open().await?;
    opened.exchange(ECHO).await?;
    meeting.finish(opened).await
}

async fn resumption(pair: &Pair) -> Result<String, Failure> {
    let meeting = Meeting::relayed(pair, &Terms { tickets: true, ..Terms::default() })?;
    for round in 0..2 {
        let opened = meeting.open().await?;
        opened.exchange(SMALL).await?;
        sleep(TICKETS_TAKE).await;
        let said = [opened.client.resumed(), opened.server.resumed()];
        expect(said.contains(&Some(round == 1)), || format!("connection {round}: resumed? {said:?}"))?;
        expect(!said.contains(&Some(round == 0)), || format!("connection {round}: resumed? {said:?}"))?;
        meeting.part(opened).await?;
    }
    meeting.end().await
}

async fn early(pair: &Pair) -> Result<String, Failure> {
    let meeting = Meeting::relayed(pair, &Terms { tickets: true, early: true, ..Terms::default() })?;
    let first = meeting.open().await?;
    first.exchange(SMALL).await?;
    sleep(TICKETS_TAKE).await;
    meeting.part(first).await?;
    // The request has to be under way before the handshake is complete, which on loopback is a matter of luck.
    meeting.relay()?.delay(ROUND_TRIP);
    let second = meeting.open_early(SMALL).await?;
    let packets = meeting.relay()?.seen().up.early;
    expect(packets > 0, || "no 0-RTT packet passed".into())?;
    let said = [second.client.early_taken().await?, second.server.early_taken().await?];
    expect(said.contains(&Some(true)) && !said.contains(&Some(false)), || format!("taken? {said:?}"))?;
    meeting.finish(second).await?;
    Ok(format!("{packets} 0-RTT packets"))
}

async fn key_update(pair: &Pair) -> Result<String, Failure> {
    let meeting = Meeting::direct(pair, &Terms { key_update_after: Some(KEYS_AFTER), ..Terms::default() })?;
    let opened = meeting.open().await?;
    let (ours, peer) = pair.sides(&opened);
    opened.exchange(KEYS_LOAD).await?;
    sleep(TICKETS_TAKE).await;
    let by_us = ours.key_updates().ok_or("our end does not count key updates")?;
    expect(by_us > 0, || "our end did not change its keys".into())?;
    let can = peer.update_keys().is_ok();
    // Fewer packets than make our end change its keys again.
    opened.exchange(Load { up: 50_000, down: 50_000 }).await?;
    sleep(TICKETS_TAKE).await;
    let all = ours.key_updates().ok_or("our end does not count key updates")?;
    expect(!can || all > by_us, || "the peer changed its keys, and our end did not notice".into())?;
    meeting.finish(opened).await?;
    Ok(format!("{by_us} by us, {}", if can { "one by the peer" } else { "the peer offers none" }))
}

async fn version_2(_: &Pair) -> Result<String, Failure> {
    Err("no peer of this list speaks it".into())
}

async fn datagrams(pair: &Pair) -> Result<String, Failure> {
    let meeting = Meeting::direct(pair, &Terms { datagrams: true, ..Terms::default() })?;
    let opened = meeting.open().await?;
    opened.exchange(SMALL).await?;
    let mut got = Vec::new();
    for (from, to) in [(&opened.client, &opened.server), (&opened.server, &opened.client)] {
        for number in 0..DATAGRAMS {
            from.send_datagram(&vec![u8::try_from(number)?; DATAGRAM_LEN])?;
        }
        let mut arrived = 0;
        while arrived < DATAGRAMS {
            match timeout(Duration::from_secs(1), to.read_datagram()).await {
                Ok(datagram) => {
                    let datagram = datagram?;
                    let whole = datagram.len() == DATAGRAM_LEN && datagram.iter().all(|b| *b == datagram[0]);
                    expect(whole, || {
                        format!("a datagram of {} bytes is not as it was sent", datagram.len())
                    })?;
                    arrived += 1;
                }
                Err(_) => break,
            }
        }
        expect(arrived >= DATAGRAMS_MIN, || format!("{arrived} of {DATAGRAMS} datagrams arrived"))?;
        got.push(arrived);
    }
    meeting.finish(opened).await?;
    Ok(format!("{} up and {} down of {DATAGRAMS}", got[0], got[1]))
}

async fn reset(pair: &Pair) -> Result<String, Failure> {
    let terms = Terms { secret: Some([7; 32]), ..Terms::default() };
    let meeting = Meeting::relayed(pair, &terms)?;
    let opened = meeting.open().await?;
    opened.exchange(SMALL).await?;
    // As if the first server had been killed and started again.
    let successor = (pair.server().server)(&pair.trust, &terms)?;
    meeting.relay()?.redirect(successor.address()?);
    let (mut send, _recv) = opened.client.open().await?;
    let knock = async {
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut send, &[0; 400]).await.is_err() {
                return std::future::pending().await;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::select! {
        ended = opened.client.closed() => ended?,
        () = knock => return Err("the client knocks for ever".into()),
    };
    expect(ended == Ending::StatelessReset, || format!("the client saw {ended:?}"))?;
    successor.shutdown().await?;
    Ok(String::new())
}

async fn rebinding(pair: &Pair) -> Result<String, Failure> {
    let terms = Terms { moves: true, ..Terms::default() };
    let meeting = Meeting::relayed(pair, &terms)?;
    let opened = meeting.open().await?;
    let relay = meeting.relay()?;
    // Upwards: a client that only downloads may have nothing to say after the change, and then nobody learns of it.
    let load = Load::up(2 * BULK);
    let watch = async {
        for share in [BULK / 2, BULK, BULK + BULK / 2] {
            while relay.seen().up.bytes < share {
                sleep(Duration::from_millis(1)).await;
            }
            relay.rebind();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        done = opened.exchange(load) => done?,
        () = watch => {}
    }
    let rebinds = relay.seen().rebinds;
    expect(rebinds == 3, || format!("the port changed {rebinds} times"))?;
    meeting.finish(opened).await?;
    Ok(format!("{rebinds} changes of port"))
}

async fn two_paths(pair: &Pair) -> Result<String, Failure> {
    let load = Load::down(multipath::LOAD);
    let shares = match pair.peer_role {
        Role::Client => multipath::noq_asks_us(load).await,
        Role::Server => multipath::we_ask_noq(load).await,
    };
    Ok(shares)
}

fn expect(right: bool, wrong: impl FnOnce() -> String) -> Result<(), Failure> {
    if right { Ok(()) } else { Err(wrong().into()) }
}
