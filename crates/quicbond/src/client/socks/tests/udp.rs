use super::super::Settings;
use super::super::datagram;
use super::world::{World, soon};
use crate::client::dial::Target;
use core::sync::atomic::Ordering;
use core::time::Duration;
use mpquic_base::Rng;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

fn to(target: &str, payload: &[u8]) -> Vec<u8> {
    [datagram::header(&target.parse().unwrap()), payload.to_vec()].concat()
}

async fn heard(socket: &UdpSocket) -> (Target, Vec<u8>) {
    let mut buffer = [0; 2048];
    let (len, _) = soon(socket.recv_from(&mut buffer)).await.unwrap();
    let (target, payload) = datagram::read(&buffer[..len]).expect("a header");
    (target, payload.to_vec())
}

async fn ask(socket: &UdpSocket, relay: SocketAddr, target: &str, payload: &[u8]) {
    socket.send_to(&to(target, payload), relay).await.unwrap();
    let (from, answer) = heard(socket).await;
    assert_eq!(from, target.parse().unwrap());
    assert_eq!(answer, [target.as_bytes(), b" says ", payload].concat());
}

#[test]
fn a_datagram_header_reads_back_and_nothing_panics() {
    for target in ["10.0.0.1:53", "[2001:db8::1]:443", "name.example:65535"] {
        let bytes = to(target, b"payload");
        assert_eq!(datagram::read(&bytes), Some((target.parse().unwrap(), &b"payload"[..])));
        assert_eq!(datagram::read(&bytes[..bytes.len() - 8]), None, "a header cut off");
        let mut fragment = bytes.clone();
        fragment[2] = 1;
        assert_eq!(datagram::read(&fragment), None);
    }
    for seed in 0..2000 {
        let mut rng = Rng::from_number(seed);
        let mut bytes = vec![0; usize::try_from(rng.below(40)).unwrap()];
        rng.fill(&mut bytes);
        if bytes.len() > 4 {
            bytes[2] = 0;
            bytes[3] %= 5;
        }
        if let Some((target, _)) = datagram::read(&bytes) {
            assert_eq!(target.to_string().parse().ok(), Some(target), "seed {seed}");
        }
    }
}

#[tokio::test]
async fn datagrams_reach_many_targets_and_answers_name_theirs() {
    let world = World::new().await;
    let (_control, socket, relay) = world.associate().await;
    for round in [b"one", b"two"] {
        for target in ["10.1.2.3:53", "[2001:db8::7]:443", "dns.example:53"] {
            ask(&socket, relay, target, round).await;
        }
    }
    assert_eq!(world.udp_flows(), 3);
    assert_eq!(world.counters.datagrams_up.load(Ordering::Relaxed), 6);
    assert_eq!(world.counters.datagrams_down.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn fragments_garbage_and_strangers_are_dropped() {
    let world = World::new().await;
    let (_control, socket, relay) = world.associate().await;
    ask(&socket, relay, "10.1.2.3:53", b"first").await;
    let mut fragment = to("10.1.2.3:53", b"fragment");
    fragment[2] = 0x81;
    socket.send_to(&fragment, relay).await.unwrap();
    socket.send_to(b"??", relay).await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(&to("10.1.2.3:53", b"other port"), relay).await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    stranger.send_to(&to("10.1.2.3:53", b"other address"), relay).await.unwrap();
    world.until(|c| c.datagrams_dropped.load(Ordering::Relaxed) == 4).await;
    ask(&socket, relay, "10.1.2.3:53", b"second").await;
    assert_eq!(world.counters.datagrams_up.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_stranger_who_comes_first_does_not_take_an_association_of_another_address() {
    let world = World::new().await;
    let (_control, socket, relay) = world.associate().await;
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    stranger.send_to(&to("10.1.2.3:53", b"mine"), relay).await.unwrap();
    world.until(|c| c.datagrams_dropped.load(Ordering::Relaxed) == 1).await;
    ask(&socket, relay, "10.1.2.3:53", b"no, mine").await;
}

#[tokio::test]
async fn an_announced_port_is_the_only_one_that_is_accepted() {
    let world = World::new().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut control = world.client().await;
    let port = socket.local_addr().unwrap().port().to_be_bytes();
    control.write_all(&[&[5, 1, 0, 5, 3, 0, 1, 127, 0, 0, 1], &port[..]].concat()).await.unwrap();
    let mut replies = [0; 12];
    soon(control.read_exact(&mut replies)).await.unwrap();
    let relay = SocketAddr::new([127, 0, 0, 1].into(), u16::from_be_bytes([replies[10], replies[11]]));
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    other.send_to(&to("10.1.2.3:53", b"quick"), relay).await.unwrap();
    world.until(|c| c.datagrams_dropped.load(Ordering::Relaxed) == 1).await;
    ask(&socket, relay, "10.1.2.3:53", b"announced").await;
}

#[tokio::test]
async fn the_association_ends_with_its_tcp_connection() {
    let world = World::new().await;
    let (mut control, socket, relay) = world.associate().await;
    ask(&socket, relay, "10.1.2.3:53", b"x").await;
    control.write_all(b"what is said here means nothing").await.unwrap();
    ask(&socket, relay, "10.1.2.4:53", b"x").await;
    assert_eq!(world.udp_flows(), 2);
    drop(control);
    soon(async {
        while world.udp_flows() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The port is free again, so that nothing more is relayed from it.
    soon(async {
        while UdpSocket::bind(relay).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_target_that_was_silent_longest_makes_room_for_the_65th() {
    let world = World::new().await;
    let (_control, socket, relay) = world.associate().await;
    for n in 0..64 {
        ask(&socket, relay, &format!("10.0.0.{n}:53"), b"x").await;
    }
    ask(&socket, relay, "10.0.0.0:53", b"still used").await;
    assert_eq!(world.udp_flows(), 64);
    for n in 64..80 {
        ask(&socket, relay, &format!("10.0.0.{n}:53"), b"x").await;
    }
    soon(async {
        while world.udp_flows() > 64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    ask(&socket, relay, "10.0.0.0:53", b"kept").await;
    assert_eq!(world.udp_flows(), 64);
}

#[tokio::test]
async fn a_refused_target_is_not_dialed_for_every_datagram() {
    let world = World::new().await;
    let (_control, socket, relay) = world.associate().await;
    for _ in 0..20 {
        socket.send_to(&to("notallowed.test:53", b"x"), relay).await.unwrap();
    }
    ask(&socket, relay, "10.1.2.3:53", b"others go on").await;
    world.until(|c| c.refused.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_flow_that_ended_is_dialed_again_and_a_datagram_too_long_is_dropped() {
    let world = World::new().await;
    let (_control, socket, relay) = world.associate().await;
    ask(&socket, relay, "10.1.2.3:53", b"x").await;
    socket.send_to(&to("10.1.2.3:53", b"over"), relay).await.unwrap();
    soon(async {
        while world.udp_flows() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    ask(&socket, relay, "10.1.2.3:53", b"again").await;
    socket.send_to(&to("10.1.2.3:53", &[0; 1300]), relay).await.unwrap();
    world.until(|c| c.datagrams_dropped.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_silent_target_is_forgotten() {
    let world = World::with(Settings { udp_idle: Duration::from_millis(200), ..Settings::default() }).await;
    let (_control, socket, relay) = world.associate().await;
    ask(&socket, relay, "10.1.2.3:53", b"x").await;
    soon(async {
        while world.udp_flows() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    ask(&socket, relay, "10.1.2.3:53", b"again").await;
}
