use super::world::{REFUSALS, World, all_of, soon};
use core::sync::atomic::Ordering;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Everything a client is told when it says this at once.
async fn dialog(world: &World, says: &[u8]) -> Vec<u8> {
    let mut client = world.client().await;
    client.write_all(says).await.unwrap();
    all_of(&mut client).await
}

fn connect_to(name: &str) -> Vec<u8> {
    let len = [u8::try_from(name.len()).unwrap()];
    [&[5, 1, 0, 5, 1, 0, 3], &len[..], name.as_bytes(), &[0, 80]].concat()
}

const fn reply(code: u8) -> [u8; 12] {
    [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

#[tokio::test]
async fn a_name_is_dialed_and_bytes_come_back_after_half_close() {
    let world = World::new().await;
    let mut client = world.socks5("echo.test", 7).await;
    client.write_all(b"hello through the proxy").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(all_of(&mut client).await, b"hello through the proxy");
    world.until(|c| c.relays.finished.load(Ordering::Relaxed) == 1).await;
    assert_eq!(world.counters.relays.up.load(Ordering::Relaxed), 23);
    assert_eq!(world.counters.relays.down.load(Ordering::Relaxed), 23);
}

#[tokio::test]
async fn an_address_is_dialed_as_it_is_and_bytes_sent_ahead_of_the_reply_arrive() {
    let world = World::new().await;
    let SocketAddr::V4(home) = world.home else { panic!("not IPv4") };
    let request = [&[5, 2, 2, 0, 5, 1, 0, 1], &home.ip().octets()[..], &home.port().to_be_bytes()].concat();
    let mut client = world.client().await;
    client.write_all(&[&request[..], b"impatient"].concat()).await.unwrap();
    client.shutdown().await.unwrap();
    let heard = all_of(&mut client).await;
    assert_eq!(heard, [&reply(0)[..], b"impatient"].concat());
}

#[tokio::test]
async fn an_ipv6_address_is_understood() {
    let world = World::new().await;
    // Nobody listens on port 1 of ::1, so that the dialer's own refusal comes back.
    let request = [&[5, 1, 0, 5, 1, 0, 4][..], &[0; 15], &[1], &[0, 1]].concat();
    assert_eq!(dialog(&world, &request).await, reply(5));
}

#[tokio::test]
async fn every_refusal_arrives_as_its_reply() {
    let world = World::new().await;
    for (name, refusal) in REFUSALS {
        assert_eq!(dialog(&world, &connect_to(name)).await, reply(refusal.socks5_reply()), "{name}");
    }
    assert_eq!(world.counters.refused.load(Ordering::Relaxed), REFUSALS.len() as u64);
}

#[tokio::test]
async fn what_the_proxy_cannot_do_has_a_reply_of_its_own() {
    let world = World::new().await;
    let bind = [5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80];
    assert_eq!(dialog(&world, &bind).await, reply(7));
    let unknown_command = [5, 1, 0, 5, 9, 0, 1, 127, 0, 0, 1, 0, 80];
    assert_eq!(dialog(&world, &unknown_command).await, reply(7));
    let unknown_address = [5, 1, 0, 5, 1, 0, 9, 127, 0, 0, 1, 0, 80];
    assert_eq!(dialog(&world, &unknown_address).await, reply(8));
    let port_zero = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 0];
    assert_eq!(dialog(&world, &port_zero).await, reply(4));
    assert_eq!(dialog(&world, &connect_to("no name")).await, reply(4));
    assert_eq!(dialog(&world, &connect_to("")).await, reply(4));
    let other_version = [5, 1, 0, 4, 1, 0, 1, 127, 0, 0, 1, 0, 80];
    assert_eq!(dialog(&world, &other_version).await, reply(1));
}

#[tokio::test]
async fn a_client_that_insists_on_a_password_is_told_that_there_is_none() {
    let world = World::new().await;
    assert_eq!(dialog(&world, &[5, 1, 2]).await, [5, 0xff]);
    assert_eq!(dialog(&world, &[5, 0]).await, [5, 0xff]);
}

#[tokio::test]
async fn a_handshake_in_single_bytes_works_as_well() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.set_nodelay(true).unwrap();
    for byte in connect_to("echo.test") {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut replies = [0; 12];
    soon(client.read_exact(&mut replies)).await.unwrap();
    assert_eq!(replies, reply(0));
}
