//! Clients without manners: what the server does not let them do.

use crate::raw::{self, Raw, Token, endpoint, udp};
use crate::rooted;
use crate::world::{PRIVATE, SERVER, TARGET, Tunnel, World, eventually, status};
use http::StatusCode;
use mpquic_base::Rng;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;
use tokio::task::JoinSet;

const REFUSED: StatusCode = StatusCode::PROXY_AUTHENTICATION_REQUIRED;

#[test]
fn nothing_is_served_without_the_proof_of_this_very_connection() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let world = &tunnel.world;
    let token = Token::read(&tunnel.token);
    let asked = raw::run(&world.router, move || async move {
        let first = Raw::connect(&token).await;
        let recorded = first.proof().await;
        // It is good here, before and after others have failed.
        let good = first.hello(Some(&recorded)).await;
        let missing = first.tcp(&format!("{TARGET}:80"), None).await.0;
        let other = Raw::connect(&token).await;
        let replayed = other.hello(Some(&recorded)).await;
        let truncated = other.tcp(&format!("{TARGET}:80"), Some(&recorded[..recorded.len() - 4])).await.0;
        let nobody = recorded.replace("default", "nobody");
        let elsewhere = Raw::connect(&token).await.ip(Some(&nobody)).await.err();
        let bare = Raw::connect(&token).await.ip(None).await.err();
        (good, missing, replayed, truncated, elsewhere, bare)
    });
    let expected = (StatusCode::NO_CONTENT, REFUSED, REFUSED, REFUSED, Some(REFUSED), Some(REFUSED));
    assert_eq!(asked, expected, "{}", tunnel.logs());
    tunnel.assert_download();
}

#[test]
fn a_session_has_one_datagram_lane_and_gives_its_addresses_back_however_it_ends() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let token = world.enrol();
    // Room for five clients.
    world.configure("network", "ipv4 = \"10.181.0.0/29\"");
    let server = world.serve();
    let token = Token::read(&token);
    let second = raw::run(&world.router, move || async move {
        let mut second = None;
        for _ in 0..12 {
            let raw = Raw::connect(&token).await;
            let proof = raw.proof().await;
            let _lane = raw.ip(Some(&proof)).await.unwrap();
            second = raw.ip(Some(&proof)).await.err();
            raw.connection.close(0, b"");
            // The address is free as soon as the server has heard of the end.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        second
    });
    assert_eq!(second, Some(StatusCode::SERVICE_UNAVAILABLE), "{}", server.said());
}

#[test]
fn a_tenant_sends_from_its_own_address_only() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let world = &tunnel.world;
    // What comes out at the target.
    let heard = world.target.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:9").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        socket
    });
    let token = Token::read(&tunnel.token);
    raw::run(&world.router, move || async move {
        let raw = Raw::connect(&token).await;
        let proof = raw.proof().await;
        assert_eq!(raw.hello(Some(&proof)).await, StatusCode::NO_CONTENT);
        let lane = raw.ip(Some(&proof)).await.unwrap();
        assert_ne!(lane.address.to_string(), "10.181.0.2", "this one is the client's");
        let send = |packet: &[u8]| lane.datagrams.send(0, packet).unwrap();
        // Another client's address, the server's, one of the Internet, and no packet at all.
        for foreign in ["10.181.0.2", "10.181.0.1", "192.0.2.1", "127.0.0.1"] {
            send(&udp(foreign.parse().unwrap(), TARGET, 9, b"foreign"));
        }
        send(b"");
        send(&[0x45; 19]);
        send(&[0xff; 60]);
        send(&udp(lane.address, TARGET, 9, b"own"));
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    let mut buffer = [0; 64];
    let mut came = Vec::new();
    while let Ok((n, from)) = heard.recv_from(&mut buffer) {
        came.push((String::from_utf8_lossy(&buffer[..n]).into_owned(), from.ip().to_string()));
    }
    // Behind the masquerade the server's address is everybody's.
    assert_eq!(came, [("own".to_owned(), "198.51.100.1".to_owned())], "{}", tunnel.logs());
    eventually("the counters say so", || {
        let status = status(&world.internet);
        let notes = status["notes"].to_string();
        if notes.contains("packets with a foreign source or target") { Ok(()) } else { Err(notes) }
    });
    tunnel.assert_download();
}

#[test]
fn what_is_private_behind_the_server_is_out_of_reach() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let world = &tunnel.world;
    let _listens = world.internet.listen(22);
    let forbidden = [
        format!("{PRIVATE}:80"),
        "169.254.169.254:80".into(),
        "127.0.0.1:22".into(),
        "[::1]:22".into(),
        "[::ffff:127.0.0.1]:22".into(),
        "[64:ff9b::a63:a]:80".into(),
        "0.0.0.0:22".into(),
        "[::]:22".into(),
        "10.181.0.1:22".into(),
        "[fd51:bd::1]:22".into(),
        "localhost:22".into(),
    ];
    let token = Token::read(&tunnel.token);
    let targets = forbidden.clone();
    let answers = raw::run(&world.router, move || async move {
        let raw = Raw::connect(&token).await;
        let proof = raw.proof().await;
        let mut answers = Vec::new();
        for target in &targets {
            answers.push(raw.tcp(target, Some(&proof)).await);
        }
        answers
    });
    for (target, (status, why)) in forbidden.iter().zip(answers) {
        assert_eq!(status, StatusCode::FORBIDDEN, "{target}: {why}\n{}", tunnel.logs());
        assert!(why.contains("destination_ip_prohibited"), "{target}: {why}");
    }
    // The other lane: the target's own address answers, the others do not.
    world.lan.must(&format!("ping -c 1 -W 5 {TARGET}"));
    for private in [PRIVATE, "169.254.169.254"] {
        let (code, said) = world.lan.sh(&format!("ping -c 2 -i 0.2 -W 1 {private}"));
        assert_eq!(code, 1, "{private} answers: {said}");
    }
    // Services of the server itself, by its addresses inside and outside.
    let heard = world.internet.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        socket
    });
    world.lan.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for to in ["10.181.0.1:5353", "203.0.113.1:5353"] {
            socket.send_to(b"hello", to).unwrap();
        }
    });
    let came = heard.recv_from(&mut [0; 8]);
    assert!(came.is_err(), "{came:?}: a service of the server is reached\n{}", tunnel.logs());
    tunnel.assert_download();
}

#[test]
fn thousands_of_strangers_cost_the_server_little_and_lock_nobody_out() {
    if !rooted() {
        return;
    }
    let world = World::new();
    let text = world.enrol();
    let token = Token::read(&text);
    let server = world.serve();
    let before = resident(server.id());
    let strangers = token.clone();
    let (connected, failed) = raw::run(&world.router, move || async move {
        let (endpoint, local) = endpoint().await;
        let (sink, abyss) = (sink(strangers.server).await, strangers.config());
        let mut tasks = JoinSet::new();
        let (mut connected, mut failed, mut standing) = (0, 0, Vec::new());
        for n in 0..5_000 {
            // Every other one begins a handshake and never answers.
            let (endpoint, config) = (endpoint.clone(), abyss.clone());
            let to = if n % 2 == 0 { strangers.server } else { sink };
            let patience = Duration::from_secs(if n % 2 == 0 { 10 } else { 1 });
            tasks.spawn(async move {
                tokio::time::timeout(patience, endpoint.connect(&config, "quicbond", local, to)).await
            });
            while tasks.len() >= 250 {
                match tasks.join_next().await {
                    Some(Ok(Ok(Ok(connection)))) => {
                        connected += 1;
                        standing.push(connection);
                    }
                    _ => failed += 1,
                }
            }
        }
        (connected, failed)
    });
    let after = resident(server.id());
    println!("{connected} connected, {failed} did not; {} MB more", after.saturating_sub(before) >> 20);
    assert!(connected > 500, "only {connected} strangers got through: the test tests nothing");
    assert!(after < before + (100 << 20), "{before} bytes before, {after} after");
    let mut client = world.client(&text);
    client.wait_for("ready");
    Tunnel { world, token: text, server, client }.assert_download();
}

#[test]
fn rubbish_on_the_port_does_not_disturb() {
    if !rooted() {
        return;
    }
    let tunnel = World::new().tunnel();
    let before = resident(tunnel.server.id());
    let seed = u64::from(std::process::id());
    tunnel.world.router.run(move || {
        let mut rng = Rng::from_number(seed);
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for n in 0..10_000u32 {
            let mut bytes = vec![0; 1 + usize::try_from(rng.below(1400)).unwrap()];
            rng.fill(&mut bytes);
            if n % 3 == 0 {
                // At least the first bytes look like QUIC's.
                bytes[0] |= 0xc0;
                let version: &[u8] = &[0, 0, 0, 1, 8];
                let len = version.len().min(bytes.len() - 1);
                bytes[1..=len].copy_from_slice(&version[..len]);
            }
            socket.send_to(&bytes, (SERVER, 443)).ok();
            if n % 100 == 0 {
                sleep(Duration::from_millis(2));
            }
        }
    });
    tunnel.assert_download();
    let after = resident(tunnel.server.id());
    assert!(
        after < before + (50 << 20),
        "seed {seed}: {before} bytes before, {after} after\n{}",
        tunnel.logs()
    );
}

/// Sends on the first datagram of whoever speaks to it, and none of the answers.
async fn sink(server: SocketAddr) -> SocketAddr {
    let inner = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let outer = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let address = inner.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok(n) = inner.recv(&mut buffer).await {
            outer.send_to(&buffer[..n], server).await.ok();
        }
    });
    address
}

/// Of a process, in bytes.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
