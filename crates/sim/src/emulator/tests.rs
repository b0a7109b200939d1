use super::{Emulator, Rebinding};
use crate::link::{Schedule, Ways};
use crate::profile::NamedLink;
use mpquic_base::{Duration, Time};
use std::net::{SocketAddr, UdpSocket};

/// Long enough for any loaded machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn emulator(links: &str, schedule: &Schedule) -> (Emulator, UdpSocket, UdpSocket) {
    let server = socket();
    let links = NamedLink::parse_list(links).unwrap();
    let emulator = Emulator::start(links, server.local_addr().unwrap(), schedule, 7).unwrap();
    (emulator, socket(), server)
}

fn content(i: u32) -> Vec<u8> {
    let size = 20 + (i as usize * 37) % 1400;
    i.to_be_bytes().into_iter().chain((0..size).map(|k| (k as u32 ^ i).to_le_bytes()[0])).collect()
}

/// Receives one datagram and returns its content and sender.
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buf = vec![0; 2048];
    let (n, from) = socket.recv_from(&mut buf).expect("a datagram arrives");
    buf.truncate(n);
    (buf, from)
}

#[test]
fn two_hundred_datagrams_each_way_arrive_in_order_and_intact() {
    let (emulator, client, server) = emulator("50mbit/5ms", &Schedule::new());
    let link = emulator.client_addr(0).unwrap();
    let begun = emulator.now();
    // In rounds of ten, so that no queue or socket buffer decides the test.
    for round in 0..20 {
        let numbers = round * 10..round * 10 + 10;
        for i in numbers.clone() {
            client.send_to(&content(i), link).unwrap();
        }
        let mut nat = None;
        for i in numbers.clone() {
            let (datagram, from) = receive(&server);
            assert_eq!(datagram, content(i), "up, number {i}");
            nat = Some(from);
        }
        for i in numbers.clone() {
            server.send_to(&content(i + 1000), nat.unwrap()).unwrap();
        }
        for i in numbers {
            let (datagram, from) = receive(&client);
            assert_eq!((datagram, from), (content(i + 1000), link), "down, number {i}");
        }
    }
    // Twenty round trips over a link of 5 ms each way.
    assert!(emulator.now().since(begun) >= Duration::from_millis(200));
    let stats = emulator.stats().remove(0);
    assert_eq!((stats.name.as_str(), stats.refused), ("a", 0));
    assert_eq!((stats.link.up.delivered, stats.link.down.delivered), (200, 200));
}

#[test]
fn a_cut_link_is_silent_until_it_is_restored() {
    let (emulator, client, server) = emulator("fibre=50mbit/5ms,lte=50mbit/5ms", &Schedule::new());
    let links: Vec<SocketAddr> = (0..2).map(|i| emulator.client_addr(i).unwrap()).collect();
    emulator.cut(0, Ways::Both);
    assert_eq!((emulator.is_cut(0), emulator.is_cut(1), emulator.is_cut(2)), (true, false, false));
    client.send_to(b"lost", links[0]).unwrap();
    // The other link is alive, and once the cut one has counted its drop there is nothing left to come.
    client.send_to(b"beside", links[1]).unwrap();
    assert_eq!(receive(&server).0, b"beside");
    let begun = emulator.now();
    while emulator.stats()[0].link.up.drops.cut == 0 {
        assert!(emulator.now().since(begun) < PATIENCE, "the cut link never saw the datagram");
        std::thread::sleep(Duration::from_millis(1));
    }
    emulator.restore(0, Ways::Both);
    client.send_to(b"back", links[0]).unwrap();
    assert_eq!(receive(&server).0, b"back");
}

#[test]
fn a_schedule_given_later_counts_from_then() {
    let (emulator, ..) = emulator("50mbit/5ms", &Schedule::new());
    let hour = Duration::from_secs(3600);
    emulator.reschedule(&Schedule::new().cut(0, Ways::Both, Duration::ZERO, hour));
    assert!(emulator.is_cut(0));
    emulator.reschedule(&Schedule::new().cut(0, Ways::Both, hour, 2 * hour));
    assert!(!emulator.is_cut(0));
}

#[test]
fn two_clients_of_one_link_get_their_own_answers() {
    let (emulator, one, server) = emulator("50mbit/1ms", &Schedule::new());
    let (two, link) = (socket(), emulator.client_addr(0).unwrap());
    for (client, text) in [(&one, b"one"), (&two, b"two")] {
        client.send_to(text, link).unwrap();
        let (datagram, nat) = receive(&server);
        server.send_to(&datagram, nat).unwrap();
        assert_eq!(receive(client).0, text);
    }
}

#[test]
fn a_rebinding_gives_the_client_a_new_port_that_answers() {
    let schedule = Schedule::new().rebind(0, Duration::from_millis(100));
    let (emulator, client, server) = emulator("50mbit/1ms", &schedule);
    let link = emulator.client_addr(0).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut first = None;
    // An answer may meet the next rebinding and be lost, so it is asked for until it comes.
    while emulator.now() < Time::ZERO + PATIENCE {
        client.send_to(b"ping", link).unwrap();
        let (_, nat) = receive(&server);
        if *first.get_or_insert(nat) == nat {
            continue;
        }
        server.send_to(b"pong", nat).unwrap();
        let mut buf = [0; 16];
        if client.recv(&mut buf).is_ok_and(|n| buf[..n] == *b"pong") {
            return;
        }
    }
    panic!("no answer through a new port");
}

#[test]
fn a_rebinding_by_order_changes_the_port_or_the_address_as_well() {
    let (emulator, client, server) = emulator("50mbit/1ms", &Schedule::new());
    let link = emulator.client_addr(0).unwrap();
    let seen_as = |other_than: Option<SocketAddr>| loop {
        client.send_to(b"ping", link).unwrap();
        let (_, nat) = receive(&server);
        if other_than != Some(nat) {
            server.send_to(b"pong", nat).unwrap();
            assert_eq!(receive(&client).0, b"pong");
            return nat;
        }
    };
    let first = seen_as(None);
    emulator.rebind(0, Rebinding::Port);
    let second = seen_as(Some(first));
    assert_eq!(second.ip(), first.ip());
    emulator.rebind(0, Rebinding::Address);
    assert_ne!(seen_as(Some(second)).ip(), first.ip());
}

#[test]
fn a_server_that_comes_up_late_is_reached() {
    let reserved = socket();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let links = NamedLink::parse_list("50mbit/1ms").unwrap();
    let emulator = Emulator::start(links, address, &Schedule::new(), 7).unwrap();
    let client = socket();
    let link = emulator.client_addr(0).unwrap();
    client.send_to(b"nobody there", link).unwrap();
    while emulator.stats()[0].link.up.delivered == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let server = UdpSocket::bind(address).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"hello", link).unwrap();
    let (_, nat) = receive(&server);
    server.send_to(b"hello yourself", nat).unwrap();
    assert_eq!(receive(&client).0, b"hello yourself");
}
