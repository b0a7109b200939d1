//! One story per test, told in a few lines.

use mpquic_base::Duration;
use mpquic_sim::{Side, World};

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn a_file_crosses_one_link() {
    let mut w = World::seeded(1).link("a", "50mbit/20ms").connect();
    let sent = w.send(Side::Client, 5_000_000);
    let took = w.deliver(&[sent], secs(20));
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_file_crosses_two_links_at_once() {
    let mut w = World::seeded(2).link("a", "50mbit/20ms").link("b", "50mbit/20ms").connect();
    let sent = w.send(Side::Server, 20_000_000);
    let took = w.deliver(&[sent], secs(20));
    assert!(took < Duration::from_millis(2500), "{took:?}");
}
