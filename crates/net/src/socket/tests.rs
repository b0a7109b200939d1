use super::{Batch, KernelPacing, ReceiveBatch, Socket, SocketOptions, Train};
use crate::clock::Clock;
use crate::filter::Instruction;
use crate::sys;
use core::slice::ChunksMut;
use mpquic_base::Ecn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::Duration;

/// Loopback addresses of both families, or of one with the reason why.
fn loopbacks() -> Vec<SocketAddr> {
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let mut addresses = vec!["127.0.0.1:0".parse().unwrap()];
    match UdpSocket::bind(v6) {
        Ok(_) => addresses.push(v6),
        Err(error) => println!("IPv6 left out: no socket on ::1 ({error})"),
    }
    addresses
}

fn bind(address: SocketAddr, options: &SocketOptions) -> Socket {
    Socket::bind(address, options).unwrap()
}

/// Ways of sending and receiving; where the kernel lacks one, its fallback is what is tested.
fn ways() -> [SocketOptions; 3] {
    let all = SocketOptions::default();
    [
        SocketOptions { disable_gso: true, ..all.clone() },
        SocketOptions { disable_gso: true, disable_gro: true, ..all.clone() },
        all,
    ]
}

#[derive(Debug, PartialEq, Eq)]
struct Arrived {
    bytes: Vec<u8>,
    peer: SocketAddr,
    local: SocketAddr,
    ecn: Ecn,
}

/// Receives until `count` datagrams are there. Loopback delivers within the send call, so this never spins long.
fn receive(socket: &Socket, count: usize) -> Vec<Arrived> {
    let mut batch = ReceiveBatch::new();
    let mut all = Vec::new();
    for _ in 0..100_000 {
        let received = socket.receive(&mut batch).unwrap();
        let before = all.len();
        for (&Train { peer, local, ecn, .. }, datagrams) in batch.trains() {
            all.extend(datagrams.map(|bytes| Arrived { bytes: bytes.to_vec(), peer, local, ecn }));
        }
        assert_eq!(all.len() - before, received);
        if all.len() >= count {
            return all;
        }
        thread::yield_now();
    }
    panic!("{} of {count} datagrams arrived", all.len());
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_batch_with_a_shorter_last_datagram_arrives_intact_however_it_is_sent_and_received() {
    let bytes = pattern(10 * 1200 + 333);
    for address in loopbacks() {
        for (tx, rx) in ways().iter().flat_map(|tx| ways().map(|rx| (tx.clone(), rx))) {
            let (a, b) = (bind(address, &tx), bind(address, &rx));
            let batch = Batch {
                bytes: &bytes,
                segment: 1200,
                local: address.ip(),
                peer: b.local_addr(),
                ecn: Ecn::NotEct,
            };
            a.send(&batch).unwrap();
            let arrived = receive(&b, 11);
            assert_eq!(arrived.len(), 11);
            for (datagram, expected) in arrived.iter().zip(bytes.chunks(1200)) {
                assert_eq!(datagram.bytes, expected);
                assert_eq!((datagram.peer, datagram.local), (a.local_addr(), b.local_addr()));
            }
            assert_eq!((a.stats().datagrams_sent, b.stats().datagrams_received), (11, 11));
            assert_eq!(a.stats().send_calls, 1, "one call with either way of batching");
            assert!(!tx.disable_gso || !a.stats().gso);
            assert!(!rx.disable_gro || !b.stats().gro);
        }
    }
}

#[test]
fn a_batch_of_64_kib_is_sent_in_as_many_calls_as_it_takes() {
    let bytes = pattern(65_536);
    for address in loopbacks() {
        for options in ways() {
            let (a, b) = (bind(address, &options), bind(address, &options));
            let batch = Batch {
                bytes: &bytes,
                segment: 1252,
                local: address.ip(),
                peer: b.local_addr(),
                ecn: Ecn::NotEct,
            };
            a.send(&batch).unwrap();
            let arrived = receive(&b, bytes.len().div_ceil(1252));
            assert_eq!(arrived.iter().flat_map(|d| d.bytes.clone()).collect::<Vec<_>>(), bytes);
        }
    }
}

#[test]
fn ecn_marks_arrive_as_sent() {
    for address in loopbacks() {
        for options in ways() {
            let (a, b) = (bind(address, &options), bind(address, &options));
            for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
                let batch = Batch {
                    bytes: &[7; 2000],
                    segment: 1000,
                    local: address.ip(),
                    peer: b.local_addr(),
                    ecn,
                };
                a.send(&batch).unwrap();
                assert_eq!(receive(&b, 2).iter().map(|d| d.ecn).collect::<Vec<_>>(), [ecn; 2]);
            }
        }
    }
}

#[test]
fn a_socket_on_the_wildcard_address_reports_and_uses_the_address_that_was_meant() {
    // All of 127/8 is local, so IPv4 can show that the source follows the packet and not the routing table.
    let server = bind("0.0.0.0:0".parse().unwrap(), &SocketOptions::default());
    let client = bind("127.0.0.1:0".parse().unwrap(), &SocketOptions::default());
    let meant: IpAddr = "127.0.0.7".parse().unwrap();
    let port = server.local_addr().port();
    let peer = SocketAddr::new(meant, port);
    let local = client.local_addr().ip();
    client.send(&Batch { bytes: &[1; 50], segment: 1200, local, peer, ecn: Ecn::NotEct }).unwrap();
    let request = receive(&server, 1).remove(0);
    assert_eq!((request.local, request.peer), (peer, client.local_addr()));
    let (local, peer) = (request.local.ip(), request.peer);
    server.send(&Batch { bytes: &[2; 50], segment: 1200, local, peer, ecn: Ecn::Ect0 }).unwrap();
    assert_eq!(receive(&client, 1)[0].peer, SocketAddr::new(meant, port));
    // Without a source the routing table has its way.
    let local = "0.0.0.0".parse().unwrap();
    server.send(&Batch { bytes: &[3; 50], segment: 1200, local, peer, ecn: Ecn::Ect0 }).unwrap();
    assert_eq!(receive(&client, 1)[0].peer.ip(), client.local_addr().ip());
}

#[test]
fn an_icmp_answer_to_one_datagram_stops_neither_sending_nor_receiving() {
    for address in loopbacks() {
        let (a, b) = (bind(address, &SocketOptions::default()), bind(address, &SocketOptions::default()));
        // A port that no test is ever given: nobody listens, so the kernel answers with ICMP.
        let closed = SocketAddr::new(address.ip(), 1);
        let batch =
            |peer| Batch { bytes: &[9; 100], segment: 100, local: address.ip(), peer, ecn: Ecn::NotEct };
        for _ in 0..3 {
            a.send(&batch(closed)).unwrap();
            a.send(&batch(b.local_addr())).unwrap();
        }
        assert_eq!(receive(&b, 3).len(), 3);
        assert_eq!(a.receive(&mut ReceiveBatch::new()).unwrap(), 0);
    }
}

#[test]
fn an_empty_socket_delivers_nothing_and_forgets_the_last_batch() {
    let address = "127.0.0.1:0".parse().unwrap();
    let (a, b) = (bind(address, &SocketOptions::default()), bind(address, &SocketOptions::default()));
    let (local, peer) = (a.local_addr().ip(), b.local_addr());
    a.send(&Batch { bytes: &[1], segment: 1, local, peer, ecn: Ecn::NotEct }).unwrap();
    let mut batch = ReceiveBatch::new();
    while b.receive(&mut batch).unwrap() == 0 {}
    assert_eq!(batch.trains().flat_map(|(_, datagrams)| datagrams).count(), 1);
    assert_eq!(b.receive(&mut batch).unwrap(), 0);
    assert_eq!(batch.trains().flat_map(|(_, datagrams)| datagrams).count(), 0);
}

#[test]
fn a_datagram_that_no_link_can_carry_is_refused_and_segmentation_stays_on() {
    // Loopback carries 65536 bytes: one more than UDP can say.
    let address = "127.0.0.1:0".parse().unwrap();
    let (a, b) = (bind(address, &SocketOptions::default()), bind(address, &SocketOptions::default()));
    let bytes = pattern(65_530);
    let (local, peer) = (a.local_addr().ip(), b.local_addr());
    let before = a.stats().gso;
    let stopped =
        a.send(&Batch { bytes: &bytes, segment: 65_530, local, peer, ecn: Ecn::NotEct }).unwrap_err();
    assert!(!stopped.is_blocked());
    assert_eq!((stopped.sent, stopped.cause.raw_os_error()), (0, Some(libc::EMSGSIZE)));
    assert_eq!(a.stats().gso, before);
}

#[test]
fn a_taken_address_and_an_unknown_device_are_the_callers_to_see() {
    let a = bind("127.0.0.1:0".parse().unwrap(), &SocketOptions::default());
    let taken = Socket::bind(a.local_addr(), &SocketOptions::default()).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let options = SocketOptions { device: Some("no-such-link".into()), ..SocketOptions::default() };
    assert!(Socket::bind("127.0.0.1:0".parse().unwrap(), &options).is_err());
}

#[test]
fn the_kernel_says_when_each_datagram_came_in_if_it_is_asked() {
    let bytes = pattern(3000);
    for address in loopbacks() {
        let options = SocketOptions { timestamps: true, ..SocketOptions::default() };
        let (a, b, c) = (bind(address, &options), bind(address, &options), bind(address, &ways()[2]));
        let mut times = Vec::new();
        let mut batch = ReceiveBatch::new();
        for _ in 0..3 {
            for (to, asked) in [(&b, true), (&c, false)] {
                let (local, peer, ecn) = (address.ip(), to.local_addr(), Ecn::Ect0);
                a.send(&Batch { bytes: &bytes, segment: 1200, local, peer, ecn }).unwrap();
                while to.receive(&mut batch).unwrap() == 0 {}
                let each = |(train, datagrams): (&Train, ChunksMut<'_, u8>)| {
                    vec![train.received_at; datagrams.len()]
                };
                let at: Vec<Option<Duration>> = batch.trains().flat_map(each).collect();
                assert_eq!((at.len(), at.iter().flatten().count()), (3, if asked { 3 } else { 0 }));
                times.extend(at.into_iter().flatten());
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(times.is_sorted() && times[8] - times[0] >= Duration::from_millis(10), "{times:?}");
        assert!(times[0] > Duration::from_secs(1_600_000_000), "counted from 1970: {times:?}");
    }
}

#[test]
fn a_departure_time_may_go_with_a_batch_whatever_the_interface_makes_of_it() {
    let clock = Clock::start();
    for address in loopbacks() {
        let [never, always] = [KernelPacing::Never, KernelPacing::Always];
        assert!(
            !bind(address, &SocketOptions { kernel_pacing: never, ..ways()[2].clone() })
                .stats()
                .kernel_pacing
        );
        assert!(!bind(address, &ways()[2]).stats().kernel_pacing, "loopback has no fq");
        for options in ways() {
            let a = bind(address, &SocketOptions { kernel_pacing: always, ..options.clone() });
            let b = bind(address, &options);
            assert!(a.stats().kernel_pacing);
            let bytes = pattern(5 * 1200 + 7);
            let (local, peer) = (address.ip(), b.local_addr());
            let at = clock.kernel_ns(clock.now() + Duration::from_millis(1));
            a.send_at(&Batch { bytes: &bytes, segment: 1200, local, peer, ecn: Ecn::Ect0 }, at).unwrap();
            let arrived = receive(&b, 6);
            assert_eq!(arrived.iter().flat_map(|d| d.bytes.clone()).collect::<Vec<_>>(), bytes);
            assert!(arrived.iter().all(|d| d.ecn == Ecn::Ect0));
        }
    }
}

#[test]
fn a_kernel_that_turns_out_not_to_segment_loses_nothing_and_is_asked_only_once() {
    // Linux refuses to segment for a socket without checksums, but sends its datagrams one by one.
    let address = "127.0.0.1:0".parse().unwrap();
    let (a, b) = (bind(address, &SocketOptions::default()), bind(address, &SocketOptions::default()));
    assert!(a.stats().gso);
    sys::set_option(a.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let bytes = pattern(16 * 1200);
    let (local, peer) = (a.local_addr().ip(), b.local_addr());
    let batch = Batch { bytes: &bytes, segment: 1200, local, peer, ecn: Ecn::NotEct };
    a.send(&batch).unwrap();
    assert_eq!(receive(&b, 16).iter().flat_map(|d| d.bytes.clone()).collect::<Vec<_>>(), bytes);
    assert!(!a.stats().gso, "found out at run time");
    let calls = a.stats().send_calls;
    a.send(&batch).unwrap();
    assert_eq!((a.stats().send_calls - calls, receive(&b, 16).len()), (1, 16));
}

#[test]
fn a_group_shares_one_address_and_a_program_picks_who_gets_what() {
    let options = SocketOptions::default();
    for address in loopbacks() {
        let group = Socket::bind_group(address, &options, 3).unwrap();
        assert!(group.iter().all(|s| s.local_addr() == group[0].local_addr()));
        let taken = Socket::bind_group(group[0].local_addr(), &options, 3).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "others do not join by mistake");
        let sender = bind(address, &options);
        let send = |n: u8| {
            let (local, peer) = (address.ip(), group[0].local_addr());
            sender.send(&Batch { bytes: &[n; 20], segment: 20, local, peer, ecn: Ecn::NotEct }).unwrap();
        };
        send(0);
        let got: usize = group.iter().map(|s| s.receive(&mut ReceiveBatch::new()).unwrap()).sum();
        assert_eq!(got, 1, "without a program the kernel picks one");
        if let Err(error) =
            group[0].steer_group(&[Instruction::load_byte_at(0), Instruction::give_accumulator()])
        {
            println!("skipped: the kernel takes no steering program ({error})");
            return;
        }
        for n in [2, 0, 1, 1, 2] {
            send(n);
            let got: Vec<usize> =
                group.iter().map(|s| s.receive(&mut ReceiveBatch::new()).unwrap()).collect();
            let wanted: Vec<usize> = (0..3).map(|i| usize::from(i == n)).collect();
            assert_eq!(got, wanted, "datagram {n}");
        }
        send(9);
        let got: usize = group.iter().map(|s| s.receive(&mut ReceiveBatch::new()).unwrap()).sum();
        assert_eq!(got, 1, "a number that is nobody's leaves the choice to the kernel");
        assert!(group[0].steer_group(&[Instruction::modulo(0)]).is_err(), "a program that makes no sense");
    }
}

#[test]
fn busy_polling_is_asked_of_the_kernel_as_far_as_it_allows() {
    let address = "127.0.0.1:0".parse().unwrap();
    let asked = |us| {
        let options = SocketOptions { busy_poll: Duration::from_micros(us), ..SocketOptions::default() };
        let socket = bind(address, &options);
        sys::option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BUSY_POLL).unwrap()
    };
    let usual = asked(0);
    // Without the privilege, or without the feature, it stays as it was.
    assert!([usual, 70].contains(&asked(70)));
    if rustix::process::geteuid().is_root() {
        assert_eq!(asked(70), 70);
    }
}
