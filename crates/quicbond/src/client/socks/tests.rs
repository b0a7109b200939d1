//! The whole proxy on loopback, with clients written by hand and with curl.

mod curl;
mod http;
mod socks5;
mod udp;
mod world;

use super::*;
use mpquic_base::Rng;
use std::io::ErrorKind;
use tokio::io::AsyncWriteExt;
use world::{World, all_of, soon};

#[tokio::test]
async fn socks4_is_refused_with_its_own_reply() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.write_all(b"\x04\x01\x00\x50\x00\x00\x00\x01me\0echo.test\0").await.unwrap();
    assert_eq!(all_of(&mut client).await, [0, 91, 0, 0, 0, 0, 0, 0]);
    drop(client);
    world.until(|c| c.bad_handshakes.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_first_byte_of_no_protocol_closes_the_connection() {
    let world = World::new().await;
    let mut client = world.client().await;
    // As TLS begins.
    client.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut bytes = Vec::new();
    let read = soon(client.read_to_end(&mut bytes)).await;
    assert!(bytes.is_empty());
    assert!(read.is_ok() || read.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go_in_time() {
    let settings = Settings { handshake: Duration::from_millis(300), ..Settings::default() };
    let world = World::with(settings).await;
    for opening in [&b""[..], b"\x05", b"\x05\x01\x00", b"CONNECT echo.test", b"\x04\x01"] {
        let mut client = world.client().await;
        client.write_all(opening).await.unwrap();
        let began = std::time::Instant::now();
        let mut bytes = Vec::new();
        let _reset_or_end = soon(client.read_to_end(&mut bytes)).await;
        assert!(began.elapsed() >= Duration::from_millis(250), "{opening:?}");
    }
    world.until(|c| c.bad_handshakes.load(Ordering::Relaxed) == 5).await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_free_place_is_used_again() {
    let world = World::with(Settings { connections: 2, ..Settings::default() }).await;
    let mut first = world.socks5("echo.test", 7).await;
    let _second = world.socks5("echo.test", 7).await;
    let mut third = world.client().await;
    let mut bytes = Vec::new();
    let _reset_or_end = soon(third.read_to_end(&mut bytes)).await;
    assert!(bytes.is_empty());
    assert_eq!(world.counters.turned_away.load(Ordering::Relaxed), 1);

    first.shutdown().await.unwrap();
    all_of(&mut first).await;
    drop(first);
    world.until(|c| c.relays.finished.load(Ordering::Relaxed) == 1).await;
    // The relay is counted just before its task is over.
    for _ in 0..100 {
        if world.try_socks5("echo.test", 7).await.is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of the first connection stays taken");
}

#[tokio::test]
async fn no_bytes_whatever_bring_the_proxy_down() {
    let world = World::with(Settings { handshake: Duration::from_millis(200), ..Settings::default() }).await;
    for seed in 0..150 {
        let mut rng = Rng::from_number(seed);
        let mut bytes = vec![0; usize::try_from(rng.below(600)).unwrap()];
        rng.fill(&mut bytes);
        let opening: &[u8] = match rng.below(6) {
            0 => b"\x05\x01\x00\x05\x01\x00\x03",
            1 => b"\x05\x01\x00\x05\x03\x00",
            2 => b"\x05",
            3 => b"CONNECT ",
            4 => b"\x04",
            _ => b"",
        };
        let mut client = world.client().await;
        let _sent = client.write_all(&[opening, &bytes].concat()).await;
        let _ended = client.shutdown().await;
    }
    let mut client = world.socks5("echo.test", 7).await;
    client.write_all(b"alive").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(all_of(&mut client).await, b"alive");
}

#[tokio::test]
async fn dropping_the_server_ends_every_connection() {
    let world = World::new().await;
    let mut client = world.socks5("echo.test", 7).await;
    world.stop();
    let mut bytes = Vec::new();
    let ended = soon(client.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
}
