//! Back-pressure and pacing over links of unlike rates, in virtual time.

use mpquic_base::Duration;
use mpquic_proto::TransportConfig;
use mpquic_sim::{Side, World};

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A link of 500 Mbit/s with a round trip of 100 ms between hosts that have so many transmissions under way at most and
/// learn that late what has left them.
fn long_fat(limit: u32, told_after: Duration) -> World {
    let config = |c: &mut TransportConfig| c.max_in_flight_transmissions = limit;
    World::seeded(31).link("fat", "500mbit/50ms").config(config).told_after(told_after).connect()
}

/// The limit counts what has not left this host, not what is on its way to the peer, and pacers hand over at most 2 ms
/// ahead. So where the socket's word is final it need not grow with the round trip: a few fill a link on which thousands
/// of packets are in flight.
#[test]
fn a_long_fat_link_is_filled_whatever_the_limit() {
    let took = [5, 16, 64].map(|limit| {
        let mut w = long_fat(limit, Duration::ZERO);
        let sent = w.send(Side::Server, 30_000_000);
        w.deliver(&[sent], secs(60))
    });
    println!("5, 16, 64 transmissions: {took:?}");
    // The bare bytes need 0.48 s; the way up to the full rate takes its round trips.
    assert!(took[1] < millis(2000), "{took:?}");
    assert!(took[2] <= took[1], "64 is no worse than 16: {took:?}");
    assert!(took[0] < took[2] + took[2] / 10, "5 is no bottleneck: {took:?}");
}

/// Where a transmission keeps its credit for longer, up to a round trip as it would until the acknowledgement, a host
/// sends no more than the limit allows in that time, and takes this for what the path can carry.
#[test]
fn where_a_transmission_keeps_its_credit_for_up_to_a_round_trip_64_beat_16_on_a_long_fat_link() {
    let arrived = |limit, kept| {
        let mut w = long_fat(limit, kept);
        let sent = w.send(Side::Server, 40_000_000);
        w.run_for(secs(2));
        w.transfer(sent).delivered_bytes()
    };
    for kept in [0, 25, 50, 100].map(millis) {
        let [few, some, many] = [5, 16, 64].map(|limit| arrived(limit, kept));
        println!("kept for {kept:?}: {few}, {some}, {many} bytes after 2 s with 5, 16, 64 transmissions");
        assert!(few <= some + some / 50 && some <= many + many / 50, "more are no worse");
        assert!(kept.is_zero() || 5 * some < 4 * many, "64 beat 16");
        assert!(kept.is_zero() || 5 * few < 4 * some, "16 beat 5");
    }
}

#[test]
fn a_host_that_learns_what_has_left_after_the_peers_answer_loses_nothing() {
    for seed in 35..40 {
        let links = World::seeded(seed).link("near", "100mbit/5ms/1%").link("far", "20mbit/30ms/1%");
        let mut w = links.told_after(millis(25)).connect();
        let sent = [Side::Client, Side::Server].map(|side| w.send(side, 5_000_000));
        w.deliver(&sent, secs(60));
    }
}

#[test]
fn a_sender_faster_than_its_link_holds_bounded_memory() {
    let limit = 3_000_000;
    let config = |c: &mut TransportConfig| c.send_buffer_max = limit;
    let mut w = World::seeded(32).link("thin", "5mbit/40ms").config(config).connect();
    // Written as fast as the connection takes it: 30 s worth of the link.
    let sent = w.send(Side::Client, 20_000_000);
    let id = w.node(Side::Client).id(0).expect("a connection");
    let mut most = 0;
    for _ in 0..100 {
        w.run_for(millis(100));
        let connection = w.node(Side::Client).connection(id).expect("a connection");
        most = most.max(connection.stream_stats().send_held);
    }
    assert!(most > 10_000 && most <= limit, "{most} bytes held at the most");
    assert!(w.transfer(sent).delivered_bytes() > 5_000_000, "and the link was kept busy");
}

#[test]
fn the_pacer_of_a_slow_path_never_holds_back_a_fast_one() {
    let alone = {
        let mut w = World::seeded(33).link("fast", "200mbit/15ms").connect();
        let sent = w.send(Side::Server, 25_000_000);
        w.deliver(&[sent], secs(30))
    };
    for seed in [33, 34] {
        let fast_and_slow = World::seeded(seed).link("fast", "200mbit/15ms").link("slow", "5mbit/15ms");
        let mut w = fast_and_slow.connect();
        let sent = w.send(Side::Server, 25_000_000);
        let took = w.deliver(&[sent], secs(30));
        assert!(took < alone + alone / 50, "seed {seed}: {took:?}, and {alone:?} without the slow path");
        // The slow one did its share: its pacing rate is not the fast one's.
        let (fast, slow) = (w.server_path("fast"), w.server_path("slow"));
        assert!(slow.bytes_sent > 150_000, "seed {seed}: {slow:?}");
        let (fast, slow) = (fast.pacing_rate.bits_per_second(), slow.pacing_rate.bits_per_second());
        assert!(fast > 20 * slow, "seed {seed}: {fast} and {slow} bit/s");
    }
}
