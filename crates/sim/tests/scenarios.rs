//! One story per test, told in a few lines.

use mpquic_base::{Duration, PathId};
use mpquic_proto::{Event, PathEvent};
use mpquic_sim::link::{CodelSpec, LinkSpec, Way};
use mpquic_sim::profile::Profile;
use mpquic_sim::world::Malice;
use mpquic_sim::{Side, World};

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn two_equal_links_give_nearly_the_sum_of_both() {
    for side in [Side::Client, Side::Server] {
        let mut w = World::seeded(2).link("a", "50mbit/20ms").link("b", "50mbit/20ms").connect();
        let sent = w.send(side, 40_000_000);
        let took = w.deliver(&[sent], secs(20));
        assert!(took < ms(3600), "{side:?} took {took:?}; the bare bytes need 3.2 s");
    }
}

#[test]
fn unlike_links_give_more_than_the_better_one_alone() {
    let mut w = World::seeded(3).link("fast", "100mbit/10ms").link("slow", "30mbit/60ms").connect();
    let sent = w.send(Side::Server, 60_000_000);
    let took = w.deliver(&[sent], secs(20));
    assert!(took < ms(4600), "{took:?}; the better link alone needs 5 s");
}

#[test]
fn loss_on_one_path_leaves_the_other_window_alone() {
    let mut w = World::seeded(4)
        .link("clean", "50mbit/20ms")
        .link("lossy", "50mbit/20ms/3%")
        .config(|c| c.set_controller(mpquic_policy::Entry::find(mpquic_policy::cc::ALL, "cubic").unwrap()))
        .connect();
    let sent = w.send(Side::Server, 10_000_000);
    w.deliver(&[sent], secs(30));
    let (clean, lossy) = (w.server_path("clean"), w.server_path("lossy"));
    assert!(lossy.packets_lost > 5, "{lossy:?}");
    assert!(clean.window > 4 * lossy.window, "{} and {}", clean.window, lossy.window);
}

#[test]
fn a_window_that_only_the_pacer_keeps_from_being_full_still_grows() {
    for controller in ["cubic", "newreno", "bbr"] {
        let entry = mpquic_policy::Entry::find(mpquic_policy::cc::ALL, controller).unwrap();
        let mut w = World::seeded(15).link("a", "100mbit/40ms").config(|c| c.set_controller(entry)).connect();
        w.send(Side::Server, 30_000_000);
        let first = w.server_path("a").window;
        w.run_for(ms(1000));
        let later = w.server_path("a");
        // A round trip holds 1 MB: paced, the window was never full before its end.
        assert!(later.window >= 900_000 && first < 50_000, "{controller}: {first}, then {}", later.window);
    }
}

#[test]
fn a_cut_fast_link_costs_no_byte_and_little_time() {
    let mut w = World::seeded(5).link("lte", "40mbit/35ms").link("fibre", "200mbit/8ms").connect();
    let sent = w.send(Side::Server, 30_000_000);
    w.run_for(ms(500));
    w.cut("fibre");
    w.deliver(&[sent], secs(20));
    assert!(w.transfer(sent).longest_gap() < ms(400), "{:?}", w.transfer(sent).longest_gap());
    assert!(w.server_path("fibre").silent);
}

#[test]
fn a_link_that_returns_is_used_again_within_a_second() {
    let mut w = World::seeded(6).link("lte", "20mbit/35ms").link("fibre", "200mbit/8ms").connect();
    let sent = w.send(Side::Server, 120_000_000);
    w.run_for(secs(1));
    w.cut("fibre");
    w.run_for(secs(3));
    w.restore("fibre");
    w.run_for(secs(1));
    let before = w.transfer(sent).delivered_bytes();
    w.run_for(ms(500));
    let per_second = (w.transfer(sent).delivered_bytes() - before) * 2 * 8;
    assert!(per_second > 100_000_000, "{per_second} bit/s after the return");
    let recovered = |e: &(Side, Event)| matches!(e, (Side::Server, Event::Path(PathEvent::Recovered(_))));
    assert!(w.events().iter().any(recovered));
}

#[test]
fn an_ack_path_cut_in_one_direction_does_not_stop_the_data() {
    for (side, way) in [(Side::Server, Way::Up), (Side::Client, Way::Down)] {
        let mut w = World::seeded(7).link("a", "50mbit/20ms").link("b", "50mbit/30ms").connect();
        let sent = w.send(side, 10_000_000);
        w.run_for(ms(400));
        w.cut_one_way("a", way);
        w.deliver(&[sent], secs(15));
        assert!(w.transfer(sent).longest_gap() < ms(600), "{:?}", w.transfer(sent).longest_gap());
    }
}

#[test]
fn both_links_cut_for_three_seconds_and_back_loses_nothing() {
    let mut w = World::seeded(8).link("a", "50mbit/20ms").link("b", "30mbit/40ms").connect();
    let sent = [w.send(Side::Server, 10_000_000), w.send(Side::Client, 3_000_000)];
    w.run_for(ms(500));
    ["a", "b"].iter().for_each(|link| w.cut(link));
    w.run_for(secs(3));
    ["a", "b"].iter().for_each(|link| w.restore(link));
    w.deliver(&sent, secs(15));
    assert!(w.transfer(sent[0]).longest_gap() < ms(4500), "{:?}", w.transfer(sent[0]).longest_gap());
}

#[test]
fn a_path_finds_the_mtu_of_its_link_and_survives_its_shrinking() {
    let profile = Profile::find("blackhole_mtu").unwrap();
    let mut w = World::seeded(9).profile(&profile).connect();
    let sent = w.send(Side::Server, 40_000_000);
    w.run_for(secs(1));
    assert!(w.paths(Side::Server).iter().all(|p| p.mtu == 1452), "{:?}", w.paths(Side::Server));
    w.deliver(&[sent], secs(30));
    assert!(w.paths(Side::Server).iter().any(|p| p.mtu < 1280), "{:?}", w.paths(Side::Server));
}

#[test]
fn a_nat_that_changes_ports_is_followed() {
    let profile = Profile::find("nat_rebind").unwrap();
    let mut w = World::seeded(10).profile(&profile).config(|c| c.keep_alive = Some(secs(1))).connect();
    let sent = [w.send(Side::Client, 40_000_000), w.send(Side::Server, 60_000_000)];
    w.deliver(&sent, secs(60));
    let moved = |e: &(Side, Event)| matches!(e, (Side::Server, Event::Path(PathEvent::Moved(_))));
    assert!(w.events().iter().any(moved));
}

#[test]
fn a_backup_path_carries_data_only_when_nothing_else_is_left() {
    let mut w = World::seeded(11).link("main", "50mbit/20ms").link("spare", "50mbit/20ms").connect();
    w.set_backup("spare", true);
    w.run_for(ms(200));
    let first = w.send(Side::Server, 5_000_000);
    w.deliver(&[first], secs(10));
    assert!(w.server_path("spare").bytes_sent < 20_000, "{}", w.server_path("spare").bytes_sent);
    w.cut("main");
    let second = w.send(Side::Server, 5_000_000);
    w.deliver(&[second], secs(10));
    assert!(w.server_path("spare").bytes_sent > 5_000_000);
}

#[test]
fn an_abandoned_path_hands_over_and_its_id_is_never_used_again() {
    let mut w = World::seeded(12).link("a", "50mbit/20ms").link("b", "50mbit/20ms").connect();
    let sent = w.send(Side::Server, 10_000_000);
    w.run_for(ms(300));
    let old = w.abandon("b");
    w.run_for(secs(1));
    w.open_path("b");
    w.deliver(&[sent], secs(15));
    assert!(w.path("b").id > old);
}

#[test]
fn a_short_transfer_is_not_held_up_by_the_tail_on_a_slow_link() {
    let mut w = World::seeded(12).link("fast", "100mbit/10ms").link("slow", "20mbit/300ms").connect();
    let sent = w.send(Side::Server, 5_000_000);
    let took = w.deliver(&[sent], secs(20));
    assert!(took < ms(550), "{took:?}; the fast link alone needs about 0.46 s");
}

#[test]
fn both_links_cut_for_five_seconds_and_back_are_both_used_again() {
    let mut w = World::seeded(13).link("a", "50mbit/20ms").link("b", "30mbit/40ms").connect();
    let sent = [w.send(Side::Server, 30_000_000), w.send(Side::Client, 9_000_000)];
    w.run_for(ms(500));
    ["a", "b"].iter().for_each(|link| w.cut(link));
    w.run_for(secs(5));
    let before = ["a", "b"].map(|link| w.server_path(link).bytes_sent);
    ["a", "b"].iter().for_each(|link| w.restore(link));
    w.deliver(&sent, secs(15));
    assert!(w.transfer(sent[0]).longest_gap() < ms(6500), "{:?}", w.transfer(sent[0]).longest_gap());
    let after = ["a", "b"].map(|link| w.server_path(link).bytes_sent);
    assert!((0..2).all(|i| after[i] > before[i] + 1_000_000), "{before:?} {after:?}");
}

#[test]
fn a_link_added_after_the_only_one_was_removed_takes_the_data_over() {
    for host_knows in [true, false] {
        let mut w = World::seeded(14).link("old", "50mbit/20ms").link("new", "30mbit/40ms").build();
        // Enough for both ends to have something in flight when the link goes: only that shows a path to be silent.
        let sent = [w.send(Side::Server, 10_000_000), w.send(Side::Client, 8_000_000)];
        w.run_for(secs(1));
        if host_knows {
            w.remove_link("old");
        } else {
            w.cut("old");
        }
        w.run_for(secs(3));
        w.open_path("new");
        w.deliver(&sent, secs(15));
        assert!(w.transfer(sent[0]).longest_gap() < ms(4000), "{:?}", w.transfer(sent[0]).longest_gap());
        assert!(w.path("old").silent && !w.path("new").silent, "{:?}", w.paths(Side::Client));
    }
}

#[test]
fn with_every_path_dead_and_no_id_left_a_new_link_is_reached_by_moving_a_path() {
    let links = World::seeded(15).link("a", "50mbit/20ms").link("b", "50mbit/20ms").link("c", "30mbit/30ms");
    let mut w = links.config(|c| c.max_paths = 2).build();
    w.open_path("b");
    w.run_for(secs(1));
    let sent = [w.send(Side::Server, 10_000_000), w.send(Side::Client, 3_000_000)];
    w.run_for(ms(300));
    ["a", "b"].iter().for_each(|link| w.remove_link(link));
    w.run_for(secs(2));
    w.open_path("c");
    w.deliver(&sent, secs(15));
    assert_eq!(w.path("c").id, PathId(0));
    assert!(w.transfer(sent[0]).longest_gap() < ms(4000), "{:?}", w.transfer(sent[0]).longest_gap());
}

#[test]
fn trying_a_dead_link_while_nothing_lives_uses_up_no_path_ids() {
    let mut w = World::seeded(16).link("a", "50mbit/20ms").link("b", "50mbit/20ms").build();
    let sent = [w.send(Side::Server, 10_000_000)];
    w.run_for(ms(600));
    ["a", "b"].iter().for_each(|link| w.cut(link));
    w.run_for(secs(1));
    w.open_path("b");
    w.run_for(secs(15));
    assert_eq!(w.paths(Side::Client).len(), 2, "{:?}", w.paths(Side::Client));
    w.restore("b");
    w.deliver(&sent, secs(10));
    assert_eq!(w.path("b").id, PathId(1));
}

#[test]
fn datagrams_of_any_size_leave_in_batches_and_share_packets() {
    let mut w = World::seeded(17).link("a", "200mbit/10ms").connect();
    let warm = w.send(Side::Client, 10_000_000);
    w.deliver(&[warm], secs(10));
    let sizes = |mixed: bool, i: usize| if mixed { [1200, 40, 700, 1200, 1200, 90, 3][i % 7] } else { 1200 };
    for mixed in [false, true] {
        let (near, far) = (w.node(Side::Client).id(0).unwrap(), w.node(Side::Server).id(0).unwrap());
        let connection = w.node(Side::Client).connection(near).unwrap();
        let before = connection.counters();
        let sent: Vec<_> = (0_u8..200).map(|i| vec![i; sizes(mixed, usize::from(i))]).collect();
        let mut waiting: std::collections::VecDeque<_> = sent.iter().cloned().collect();
        connection.send_datagrams(&mut waiting).unwrap();
        assert!(waiting.is_empty());
        w.run_for(ms(300));
        let after = w.node(Side::Client).connection(near).unwrap().counters();
        let (packets, batches) =
            (after.datagrams_sent - before.datagrams_sent, after.transmissions - before.transmissions);
        let most = if mixed { 160 } else { 215 };
        assert!(packets <= most, "{packets} packets, mixed {mixed}");
        assert!(mixed || batches * 4 < packets, "{packets} packets in {batches} batches");
        let receiver = w.node(Side::Server).connection(far).unwrap();
        let received: Vec<_> = std::iter::from_fn(|| receiver.read_datagram()).collect();
        assert!(received == sent, "all arrive, in order");
    }
}

#[test]
fn a_path_on_which_data_keeps_arriving_is_not_called_silent_for_a_late_ack() {
    let mut w = World::seeded(17).link("a", "100mbit/20ms").link("b", "50mbit/20ms").connect();
    let sent = w.send(Side::Server, 60_000_000);
    w.deliver(&[sent], secs(20));
    let silent = |e: &&(Side, Event)| matches!(e, (_, Event::Path(PathEvent::Silent(_))));
    assert_eq!(w.events().iter().find(silent), None);
}

#[test]
fn a_queue_that_marks_is_kept_short_without_a_loss() {
    for controller in ["cubic", "bbr"] {
        let codel = CodelSpec { ecn: true, ..CodelSpec::default() };
        let mut w = World::seeded(13)
            .link_spec("a", LinkSpec::parse("50mbit/20ms").unwrap().codel(codel))
            .config(|c| {
                c.set_controller(mpquic_policy::Entry::find(mpquic_policy::cc::ALL, controller).unwrap());
            })
            .connect();
        // A slow start may overrun any queue.
        let first = w.send(Side::Server, 10_000_000);
        w.deliver(&[first], secs(20));
        let before = w.server_path("a").packets_lost;
        let second = w.send(Side::Server, 30_000_000);
        let took = w.deliver(&[second], secs(20));
        let path = w.server_path("a");
        assert!(path.ecn && path.congestion_marks > 0, "{controller}: {path:?}");
        assert!(path.packets_lost - before < 30, "{controller}: {} of 21000", path.packets_lost - before);
        assert!(took < ms(6200), "{controller} took {took:?}; the bare bytes need 4.8 s");
    }
}

#[test]
fn keys_change_under_way_on_unlike_and_lossy_paths_without_a_forgery() {
    let mut w = World::seeded(14)
        .link("near", "50mbit/5ms/1%")
        .link("far", "50mbit/80ms/1%")
        .config(|c| c.key_update_packets = 400)
        .connect();
    let sent = [w.send(Side::Server, 20_000_000), w.send(Side::Client, 5_000_000)];
    w.deliver(&sent, secs(30));
    let id = w.node(Side::Client).id(0).unwrap();
    let counters = w.node(Side::Client).connection(id).unwrap().counters();
    assert!(counters.key_updates >= 1, "{counters:?}");
    assert_eq!(counters.forged, 0, "{counters:?}");
}

#[test]
fn thirty_percent_loss_and_somebody_who_forges_and_repeats_only_cost_time() {
    let malice = Malice { truncate: 0.01, replay: 0.05, spoof: 0.02, garbage: 0.05 };
    for side in [Side::Client, Side::Server] {
        let mut w = World::seeded(31)
            .link("a", "20mbit/20ms/30%")
            .link("b", "20mbit/40ms/30%")
            .config(|c| c.handshake_timeout = secs(60))
            .malice(malice)
            .connect();
        let sent = w.send(side, 300_000);
        w.deliver(&[sent], secs(120));
    }
}
