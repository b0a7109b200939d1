//! The streams that a connection needs besides requests (RFC 9114 §6.2): control and QPACK, ours and the peer's.

use crate::code;
use crate::conn::Core;
use crate::error::{Error, Fault};
use crate::frames::FrameReader;
use crate::qpack::{Instructions, Side};
use crate::wire::frame::{self, Head};
use crate::wire::settings::{self, Settings};
use crate::wire::varint::{self, Partial};
use core::future::poll_fn;
use core::sync::atomic::{AtomicU8, Ordering};
use mpquic::{RecvStream, SendStream, WriteError};
use mpquic_wire::Reader;
use std::sync::Arc;
use tokio::task::JoinSet;

const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const QPACK_ENCODER: u64 = 0x02;
const QPACK_DECODER: u64 = 0x03;

/// Our critical streams, which stay open as long as the connection.
pub(crate) struct OurStreams {
    control: SendStream,
    encoder: SendStream,
    decoder: SendStream,
}

/// Opens our streams and announces our settings.
pub(crate) async fn open(core: &Core) -> Result<OurStreams, Error> {
    let connection = &core.connection;
    let mut control = connection.open_uni().await?;
    let (mut hello, mut payload) = (Vec::new(), Vec::new());
    core.local.write(&mut payload);
    varint::put(&mut hello, CONTROL);
    frame::put(&mut hello, frame::SETTINGS, &payload);
    control.write_all(&hello).await?;
    let (mut encoder, mut decoder) = (connection.open_uni().await?, connection.open_uni().await?);
    encoder.write_all(&[QPACK_ENCODER.to_le_bytes()[0]]).await?;
    decoder.write_all(&[QPACK_DECODER.to_le_bytes()[0]]).await?;
    Ok(OurStreams { control, encoder, decoder })
}

/// Keeps our streams open, and says on them when we go away.
pub(crate) async fn keep(core: Arc<Core>, streams: OurStreams) {
    let OurStreams { mut control, mut encoder, mut decoder } = streams;
    let mut goaway = core.goaway.subscribe();
    loop {
        let over = tokio::select! {
            over = control.finished() => over,
            over = encoder.finished() => over,
            over = decoder.finished() => over,
            Ok(()) = goaway.changed() => {
                let id = *goaway.borrow_and_update();
                let mut said = Vec::new();
                id.into_iter().for_each(|id| frame::put_number(&mut said, frame::GOAWAY, id));
                match control.write_all(&said).await {
                    Ok(()) => continue,
                    over => over,
                }
            }
        };
        if let Err(WriteError::Stopped(_)) = over {
            core.fail(closed_critical());
        }
        return;
    }
}

/// Reads the peer's one-way streams until the connection is over.
pub(crate) async fn accept(core: Arc<Core>) {
    let seen = Arc::new(AtomicU8::new(0));
    let mut readers = JoinSet::new();
    while let Ok(stream) = core.connection.accept_uni().await {
        while readers.try_join_next().is_some() {}
        let (core, seen) = (Arc::clone(&core), Arc::clone(&seen));
        readers.spawn(async move {
            if let Err(error) = read(&core, &seen, stream).await {
                core.judge(error);
            }
        });
    }
}

async fn read(core: &Core, seen: &AtomicU8, mut stream: RecvStream) -> Result<(), Error> {
    // RFC 9114 §6.2: a stream may end before its type is known; that means nothing.
    let Ok(Some(kind)) = read_kind(&mut stream).await else { return Ok(()) };
    match kind {
        CONTROL | QPACK_ENCODER | QPACK_DECODER => {
            let bit = 1 << kind;
            if seen.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
                let why = "a second stream of a type that may exist once";
                return Err(Error::violation(code::STREAM_CREATION_ERROR, why));
            }
            let read = match kind {
                CONTROL => read_control(core, FrameReader::new(stream)).await,
                QPACK_ENCODER => read_qpack(stream, Side::Encoder).await,
                _ => read_qpack(stream, Side::Decoder).await,
            };
            // RFC 9114 §6.2.1, RFC 9204 §4.2: these never end before the connection.
            Err(match read {
                Ok(()) | Err(Error::Reset(_)) => Error::Violation(closed_critical()),
                Err(error) => error,
            })
        }
        // RFC 9114 §6.2.2: only servers push, and ours was never allowed to be pushed to.
        PUSH if core.server => Err(Error::violation(code::STREAM_CREATION_ERROR, "a client pushes")),
        PUSH => Err(Error::violation(code::ID_ERROR, "a push that was not allowed")),
        _ => {
            stream.stop(code::STREAM_CREATION_ERROR);
            Ok(())
        }
    }
}

async fn read_kind(stream: &mut RecvStream) -> Result<Option<u64>, Error> {
    let mut partial = Partial::default();
    let mut byte = [0];
    while stream.read(&mut byte).await?.is_some() {
        if let Some(kind) = partial.push(byte[0]) {
            return Ok(Some(kind));
        }
    }
    Ok(None)
}

/// Until the stream ends, which it may not.
async fn read_qpack(mut stream: RecvStream, side: Side) -> Result<(), Error> {
    let mut instructions = Instructions::new(side);
    let mut bytes = [0; 256];
    while let Some(n) = stream.read(&mut bytes).await? {
        instructions.push(&bytes[..n]).map_err(Error::Violation)?;
    }
    Ok(())
}

/// Until the stream ends, which it may not.
async fn read_control(core: &Core, mut frames: FrameReader) -> Result<(), Error> {
    let mut pushes = None;
    let mut known = false;
    while let Some(head) = poll_fn(|cx| frames.poll_head(cx)).await.map_err(cut_is_closed)? {
        match (head.kind, known) {
            (frame::SETTINGS, false) => {
                let payload = read_payload(&mut frames, head, settings::PAYLOAD_MAX).await?;
                on_settings(core, &payload)?;
                known = true;
            }
            // RFC 9114 §6.2.1: SETTINGS come first.
            (_, false) => {
                return Err(Error::violation(code::MISSING_SETTINGS, "the control stream begins otherwise"));
            }
            (frame::GOAWAY, _) => {
                let id = read_number(&mut frames, head).await?;
                core.on_goaway(id).map_err(Error::Violation)?;
            }
            (frame::CANCEL_PUSH, _) => {
                read_number(&mut frames, head).await?;
                // RFC 9114 §7.2.3: no push was promised or allowed.
                return Err(Error::violation(code::ID_ERROR, "a push is cancelled that never was"));
            }
            (frame::MAX_PUSH_ID, _) if core.server => {
                let id = read_number(&mut frames, head).await?;
                if pushes.replace(id).is_some_and(|before| id < before) {
                    return Err(Error::violation(code::ID_ERROR, "MAX_PUSH_ID is less than before"));
                }
            }
            (
                frame::SETTINGS | frame::DATA | frame::HEADERS | frame::PUSH_PROMISE | frame::MAX_PUSH_ID,
                _,
            ) => {
                return Err(unexpected());
            }
            (kind, _) if frame::is_forbidden(kind) => return Err(unexpected()),
            _ => poll_fn(|cx| frames.skip(cx)).await,
        }
    }
    Ok(())
}

fn on_settings(core: &Core, payload: &[u8]) -> Result<(), Error> {
    let settings = Settings::read(payload).map_err(Error::Violation)?;
    core.peer.send_replace(Some(settings));
    Ok(())
}

async fn read_payload(frames: &mut FrameReader, head: Head, limit: u64) -> Result<Vec<u8>, Error> {
    if head.len > limit {
        return Err(Error::violation(code::EXCESSIVE_LOAD, "a control frame is too long"));
    }
    let mut payload = Vec::new();
    poll_fn(|cx| frames.poll_all(cx, &mut payload)).await.map_err(cut_is_closed)?;
    Ok(payload)
}

/// The payload of a frame that is one number.
async fn read_number(frames: &mut FrameReader, head: Head) -> Result<u64, Error> {
    let malformed = || Error::violation(code::FRAME_ERROR, "a frame that is not one number");
    if head.len > 8 {
        return Err(malformed());
    }
    let payload = read_payload(frames, head, 8).await?;
    let mut reader = Reader::new(&payload);
    let number = reader.varint().map_err(|_| malformed())?;
    if reader.is_empty() { Ok(number) } else { Err(malformed()) }
}

/// On a control stream its end matters more than the frame that it cuts off.
fn cut_is_closed(error: Error) -> Error {
    match error {
        Error::Violation(_) => Error::Violation(closed_critical()),
        other => other,
    }
}

const fn closed_critical() -> Fault {
    Fault { code: code::CLOSED_CRITICAL_STREAM, why: "a critical stream was closed" }
}

/// RFC 9114 §7.2: a frame where it is not permitted.
const fn unexpected() -> Error {
    Error::violation(code::FRAME_UNEXPECTED, "a frame that may not come on the control stream")
}
