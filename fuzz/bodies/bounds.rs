//! What an end may hold at the most, whatever the other does.

use mpquic_base::Role;
use mpquic_proto::Holdings;

/// Whatever the peer does, no more than this is kept for it.
pub(crate) fn within_bounds(role: Role, held: &Holdings) {
    let most = Holdings {
        streams: 64,
        stream_bytes: 512 << 10,
        fragments: 70_000,
        datagrams: 32,
        datagram_bytes: 32 * 1500,
        paths: 4,
        local_cids: 16,
        peer_cids: 40,
        retirements: 64,
        abandons: 80,
        stashed: 10,
        crypto_bytes: 3 * (80 << 10),
        events: 4097,
        sent_packets: 4000,
        ack_ranges: 6 * 257,
        responses: 16,
    };
    let pairs = [
        (held.streams, most.streams),
        (held.fragments, most.fragments),
        (held.datagrams, most.datagrams),
        (held.paths, most.paths),
        (held.local_cids, most.local_cids),
        (held.peer_cids, most.peer_cids),
        (held.retirements, most.retirements),
        (held.abandons, most.abandons),
        (held.stashed, most.stashed),
        (held.crypto_bytes, most.crypto_bytes),
        (held.events, most.events),
        (held.sent_packets, most.sent_packets),
        (held.ack_ranges, most.ack_ranges),
        (held.responses, most.responses),
    ];
    let bytes = held.stream_bytes <= most.stream_bytes && held.datagram_bytes <= most.datagram_bytes;
    assert!(bytes && pairs.iter().all(|(held, most)| held <= most), "{role:?} holds {held:?}");
}
