//! What is made of a peer's bytes, without a connection: for the fuzz target, which sees nothing private otherwise.

#![doc(hidden)]

use crate::datagrams::Routes;
use crate::head;
use crate::qpack::{self, Instructions, Side};
use crate::wire::frame::{self, Head, PartialHead};
use crate::wire::settings::Settings;
use mpquic::StreamId;

/// Name, value and whether no table may hold it.
pub type Field = (Vec<u8>, Vec<u8>, bool);

/// The fields of a section, if it is one and not larger than `limit`.
#[must_use]
pub fn fields(block: &[u8], limit: u64) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let read = qpack::decode(block, limit, |name, value, never| {
        fields.push((name.to_vec(), value.to_vec(), never));
        Ok::<(), ()>(())
    });
    read.is_ok().then_some(fields)
}

/// A section of fields whose names are text.
#[must_use]
pub fn section(fields: &[Field]) -> Option<Vec<u8>> {
    let mut block = Vec::new();
    qpack::begin(&mut block);
    for (name, value, never) in fields {
        qpack::put_field(&mut block, core::str::from_utf8(name).ok()?, value, *never);
    }
    Some(block)
}

/// How large a section counts.
#[must_use]
pub fn size(fields: &[Field]) -> u64 {
    fields.iter().map(|(name, value, _)| qpack::line_size(name.len(), value.len())).sum()
}

/// A request as we would write it ourselves.
#[must_use]
pub fn request(block: &[u8], limit: u64) -> Option<Vec<u8>> {
    head::request_block(&head::parse_request(block, limit).ok()?).ok()
}

/// A response as we would write it ourselves.
#[must_use]
pub fn response(block: &[u8], limit: u64) -> Option<Vec<u8>> {
    head::response_block(&head::parse_response(block, limit).ok()?).ok()
}

#[must_use]
pub fn are_trailers(block: &[u8], limit: u64) -> bool {
    head::parse_trailers(block, limit).is_ok()
}

/// Types and lengths of the frames whose heads are in `bytes`, as if they had no payload.
#[must_use]
pub fn heads(bytes: &[u8]) -> Vec<(u64, u64)> {
    let mut partial = PartialHead::default();
    bytes.iter().filter_map(|byte| partial.push(*byte)).map(|Head { kind, len }| (kind, len)).collect()
}

#[must_use]
pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, kind, payload);
    bytes
}

#[must_use]
pub fn settings(payload: &[u8]) -> Option<Settings> {
    Settings::read(payload).ok()
}

#[must_use]
pub fn settings_payload(settings: &Settings) -> Vec<u8> {
    let mut payload = Vec::new();
    settings.write(&mut payload);
    payload
}

/// Whether a peer may say that on its QPACK stream, in one piece and byte by byte.
#[must_use]
pub fn instructions(encoder: bool, bytes: &[u8]) -> (bool, bool) {
    let side = if encoder { Side::Encoder } else { Side::Decoder };
    let (mut whole, mut pieces) = (Instructions::new(side), Instructions::new(side));
    (whole.push(bytes).is_ok(), bytes.iter().all(|byte| pieces.push(&[*byte]).is_ok()))
}

/// QUIC datagrams to a server with some requests open; how many datagrams are held in the end, of how many.
#[must_use]
pub fn datagrams(bytes: &[u8]) -> (usize, usize) {
    let mut routes = Routes::new(true);
    let open: Vec<_> = (0..4).map(|index| routes.open(StreamId(index * 4))).collect();
    let arrived: Vec<Vec<u8>> = bytes.chunks(7).map(<[u8]>::to_vec).collect();
    let total = arrived.len();
    let taken = routes.on_datagrams(arrived);
    routes.close(StreamId(4));
    let late = routes.open(StreamId(16));
    let held = open.iter().chain([&late]).map(|route| route.held()).sum::<usize>() + routes.held_early();
    (held, if taken.is_ok() { total } else { total.saturating_sub(1) })
}
