//! Plays for the connection target: each step it knows at least once, in an order that leads somewhere.

use mpquic_base::{Cid, Dir, PathId, StreamId};
use mpquic_wire::frame::NewConnectionId;
use mpquic_wire::{Frame, Writer};

const CARRY: [u8; 1] = [0];
const LOSE: [u8; 1] = [1];
const JUMP: [u8; 1] = [3];
/// What the first byte of a play says.
const CONNECTED: u8 = 1;
const HOSTILE_CLIENT: u8 = 4;
const HOSTILE_SERVER: u8 = 6;
const TWO_PATHS: u8 = 8;
const RETRY: u8 = 16;
const EARLY: u8 = 32;
const EARLY_REFUSED: u8 = 64;

fn wait(ms: u16) -> Vec<u8> {
    [&[2][..], &ms.to_be_bytes()].concat()
}

fn piece(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes()[..], bytes].concat()
}

/// The application of the client (0) or the server (1).
fn act(whom: u8, what: u8, n: u16) -> Vec<u8> {
    [&[12, whom, what][..], &n.to_be_bytes()].concat()
}

/// Frames of the villain on a path; `how` as the target reads it.
fn inject(path: u8, how: u8, frames: &[Frame<'_>]) -> Vec<u8> {
    [&[8, path, how][..], &piece(&written(frames))].concat()
}

fn written(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; frames.iter().map(Frame::len).sum()];
    let mut out = Writer::new(&mut bytes);
    frames.iter().for_each(|f| f.write(&mut out));
    bytes
}

fn ack(how: u8) -> Vec<u8> {
    vec![11, how]
}

fn again(which: u8, how: u8, at: u16) -> Vec<u8> {
    [&[6, which, how][..], &at.to_be_bytes()].concat()
}

/// The client opens a stream, writes and finishes; the server reads and answers.
fn exchange() -> Vec<u8> {
    let stream = |whom, what| act(whom, what, 9000);
    let steps = [
        stream(0, 1),
        stream(0, 2),
        stream(0, 4),
        stream(0, 8),
        CARRY.to_vec(),
        stream(1, 7),
        stream(1, 2),
        stream(1, 4),
        stream(1, 9),
        CARRY.to_vec(),
        wait(30),
        CARRY.to_vec(),
        stream(0, 7),
    ];
    steps.concat()
}

fn mode(mode: u8, steps: &[Vec<u8>]) -> Vec<u8> {
    [&[mode][..], &steps.concat()].concat()
}

fn beginnings() -> Vec<(String, Vec<u8>)> {
    vec![
        ("handshake".to_owned(), mode(0, &[CARRY.into(), wait(100), CARRY.into(), exchange()])),
        (
            "handshake-lossy".into(),
            mode(0, &[LOSE.into(), JUMP.into(), vec![15, 1], CARRY.into(), JUMP.into(), CARRY.into()]),
        ),
        ("retry".into(), mode(RETRY, &[CARRY.into(), exchange()])),
        ("early".into(), mode(EARLY, &[act(0, 0, 0), act(0, 2, 700), CARRY.into(), exchange()])),
        (
            "early-refused".into(),
            mode(EARLY | EARLY_REFUSED, &[act(0, 0, 0), act(0, 2, 700), CARRY.into(), exchange()]),
        ),
        ("exchange".into(), mode(CONNECTED, &[exchange(), exchange()])),
    ]
}

fn lives() -> Vec<(String, Vec<u8>)> {
    vec![
        (
            "two-paths".into(),
            mode(CONNECTED | TWO_PATHS, &[exchange(), act(0, 0x1c, 0), CARRY.into(), wait(400), exchange()]),
        ),
        (
            "abandon".into(),
            mode(
                CONNECTED | TWO_PATHS,
                &[exchange(), act(0, 0x1d, 0), CARRY.into(), wait(4000), CARRY.into()],
            ),
        ),
        ("third-path".into(), mode(CONNECTED | TWO_PATHS, &[act(1, 15, 0), CARRY.into(), exchange()])),
        ("backup".into(), mode(CONNECTED | TWO_PATHS, &[act(0, 0x0b, 1), CARRY.into(), exchange()])),
        ("idle".into(), mode(CONNECTED, &[wait(29_000), CARRY.into(), JUMP.into(), JUMP.into()])),
        ("close".into(), mode(CONNECTED, &[act(0, 14, 0x0707), CARRY.into(), again(20, 0, 0), wait(5000)])),
        (
            "reset-stop".into(),
            mode(
                CONNECTED,
                &[
                    act(0, 1, 0),
                    act(0, 2, 3000),
                    CARRY.into(),
                    act(1, 6, 7),
                    CARRY.into(),
                    act(0, 5, 8),
                    CARRY.into(),
                ],
            ),
        ),
        (
            "refused".into(),
            mode(
                CONNECTED | TWO_PATHS,
                &[
                    vec![14, 1],
                    exchange(),
                    vec![14, 2],
                    exchange(),
                    vec![14, 3],
                    exchange(),
                    vec![14, 4],
                    exchange(),
                    vec![14, 0],
                ],
            ),
        ),
        (
            "garbage".into(),
            mode(
                CONNECTED,
                &[
                    [vec![4, 0], piece(&[0x40; 60])].concat(),
                    [vec![4, 3], piece(&[0xc0; 1300])].concat(),
                    exchange(),
                ],
            ),
        ),
        (
            "garbage-for-a-known-id".into(),
            mode(
                CONNECTED,
                &[[vec![5, 0, 9], piece(&[0x5a; 50])].concat(), [vec![5, 3, 9], piece(&[0x5a; 50])].concat()],
            ),
        ),
    ]
}

fn repetitions() -> Vec<(String, Vec<u8>)> {
    let mut plays = Vec::new();
    for how in [0, 2, 3, 5, 6, 7, 8, 10, 16, 24] {
        let steps = [exchange(), again(23, how, 20), again(20, how, 3), again(2, how, 7), wait(2000)];
        plays.push((format!("again-{how}"), mode(CONNECTED | TWO_PATHS, &steps)));
        plays.push((
            format!("again-early-{how}"),
            mode(0, &[again(0, how, 40), LOSE.into(), again(0, how, 5), CARRY.into()]),
        ));
    }
    plays
}

fn frames() -> Vec<(&'static str, Frame<'static>)> {
    let stream = StreamId(0);
    let data = b"some data".as_slice();
    let new = NewConnectionId {
        path: PathId(1),
        multipath: true,
        seq: 2,
        retire_prior_to: 1,
        cid: Cid::new(&[7; 8]).unwrap_or_default(),
        reset_token: [9; 16],
    };
    vec![
        ("ping", Frame::Ping),
        ("stream", Frame::Stream { stream, offset: 0, data, fin: true }),
        ("stream-far", Frame::Stream { stream, offset: 9000, data, fin: false }),
        ("reset", Frame::ResetStream { stream, code: 1, final_size: 9000 }),
        ("stop", Frame::StopSending { stream: StreamId(1), code: 2 }),
        ("crypto", Frame::Crypto { offset: 1200, data }),
        ("token", Frame::NewToken { token: data }),
        ("max-data", Frame::MaxData(1 << 30)),
        ("max-streams", Frame::MaxStreams { dir: Dir::Bi, max: 100 }),
        ("challenge", Frame::PathChallenge([1; 8])),
        ("done", Frame::HandshakeDone),
        ("datagram", Frame::Datagram { data }),
        ("new-cid", Frame::NewConnectionId(new)),
        ("new-cid-0", Frame::NewConnectionId(NewConnectionId { path: PathId::ZERO, seq: 3, ..new })),
        ("retire", Frame::RetireConnectionId { path: PathId::ZERO, multipath: true, seq: 0 }),
        ("abandon", Frame::PathAbandon { path: PathId(1), code: 0x3e }),
        ("status", Frame::PathStatus { path: PathId(1), seq: 1, backup: true }),
        ("max-path", Frame::MaxPathId(PathId(30))),
        ("paths-blocked", Frame::PathsBlocked(PathId(1))),
        ("cids-blocked", Frame::PathCidsBlocked { path: PathId(2), next_seq: 0 }),
        ("close", Frame::ConnectionClose { code: 7, frame_type: Some(2), reason: b"no" }),
    ]
}

fn hostile() -> Vec<(String, Vec<u8>)> {
    let mut plays = Vec::new();
    for (who, villain) in [("client", HOSTILE_CLIENT), ("server", HOSTILE_SERVER)] {
        let mode = CONNECTED | TWO_PATHS | villain;
        for (name, frame) in frames() {
            let steps = [
                act(u8::from(villain == HOSTILE_CLIENT), 0, 0),
                act(u8::from(villain == HOSTILE_CLIENT), 2, 5000),
                inject(0, 0, &[Frame::Ping]),
                ack(2),
                inject(0, 0, &[frame]),
                ack(2),
                inject(1, 0, &[frame]),
                ack(0x12),
                wait(1000),
                inject(0, 1, &[frame]),
                JUMP.into(),
            ];
            plays.push((format!("{who}-{name}"), [&[mode][..], &steps.concat()].concat()));
        }
        let moves =
            [inject(0, 0x48, &[Frame::Ping]), ack(1), inject(0, 0x58, &[Frame::Ping]), wait(3000), ack(1)];
        plays.push((format!("{who}-moves"), [&[mode][..], &moves.concat()].concat()));
        let opens = [inject(2, 0, &[Frame::Ping]), ack(1), inject(3, 0, &[Frame::Ping]), ack(1), ack(0x22)];
        plays.push((format!("{who}-opens"), [&[mode][..], &opens.concat()].concat()));
        for kind in 0..3 {
            let hello = written(&[Frame::Crypto { offset: 0, data: &[0, 4, 1, 2, 3, 4] }]);
            let long = [&[10, kind | 4, 0, 1][..], &piece(&hello)].concat();
            let steps = [CARRY.into(), long.clone(), long, JUMP.into()];
            plays.push((format!("{who}-long-{kind}"), [&[villain][..], &steps.concat()].concat()));
        }
    }
    plays
}

pub(crate) fn plays() -> Vec<(String, Vec<u8>)> {
    [beginnings(), lives(), repetitions(), hostile()].concat()
}
