use super::{Outgoing, Packets, Tun};
use crate::host::error::Kind;
use crate::host::sandbox::{Namespace, shell};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const MTU: u16 = 1400;
/// What goes through a tunnel in a test, bytes.
const AMOUNT: usize = 16 << 20;

/// Batches of packets on their way to the other tunnel's end.
type Wire = mpsc::Sender<Vec<Vec<u8>>>;

/// Carries packets between the device and the other end until told to stop; tells the largest batch.
fn carry(
    namespace: &Namespace,
    address: &'static [&'static str],
    offload: bool,
    (out, mut inward): (Wire, mpsc::Receiver<Vec<Vec<u8>>>),
    stop: Arc<AtomicBool>,
) -> crate::host::sandbox::Answer<usize> {
    let (opened, is_open) = std::sync::mpsc::channel();
    let largest = Arc::new(AtomicUsize::new(0));
    let answer = namespace.start(move |runtime| {
        runtime.block_on(async {
            let addresses: Vec<_> = address.iter().map(|text| text.parse().unwrap()).collect();
            let tun = Tun::open_with("qb0", MTU, &addresses, offload).await.unwrap();
            assert_eq!(tun.has_offload(), offload);
            opened.send(()).unwrap();
            let (mut packets, mut outgoing) = (Packets::new(), Outgoing::new());
            while !stop.load(Ordering::Relaxed) {
                tokio::select! {
                    received = tun.recv_batch(&mut packets) => {
                        let count = received.unwrap();
                        assert_eq!(count, packets.len());
                        assert!(packets.iter().all(|packet| packet.len() <= usize::from(MTU)));
                        largest.fetch_max(count, Ordering::Relaxed);
                        out.send(packets.iter().map(<[u8]>::to_vec).collect()).await.unwrap();
                    }
                    Some(batch) = inward.recv() => {
                        for packet in batch {
                            assert!(outgoing.push(&packet));
                        }
                        tun.send_batch(&mut outgoing).await.unwrap();
                        assert!(outgoing.is_empty());
                    }
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
            assert_eq!(packets.broken(), 0);
            largest.load(Ordering::Relaxed)
        })
    });
    is_open.recv().unwrap();
    answer
}

/// Runs a program on another thread of the namespace that this is called from.
fn beside<T: Send + 'static>(
    namespace: &Namespace,
    job: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    // A new thread inherits the namespace of the one that makes it.
    namespace.run(|_| std::thread::spawn(job))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn through_tunnel(offload: bool) {
    let (Some(near), Some(far)) = (Namespace::new(), Namespace::new()) else { return };
    let server = |address: &'static str| {
        beside(&far, move || {
            // Bound before the address exists; that is what a wildcard is for.
            let listener = TcpListener::bind(address).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut got = vec![0; AMOUNT];
            stream.read_exact(&mut got).unwrap();
            stream.write_all(&got).unwrap();
        })
    };
    let servers = [server("0.0.0.0:7000"), server("[::]:7001")];
    let client = |address: &'static str| {
        beside(&near, move || {
            let address: SocketAddr = address.parse().unwrap();
            let mut stream = loop {
                // The tunnel comes up while this tries.
                match TcpStream::connect_timeout(&address, PATIENCE) {
                    Ok(stream) => break stream,
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let sent = pattern(AMOUNT);
            let mut half = stream.try_clone().unwrap();
            let copy = sent.clone();
            let writer = std::thread::spawn(move || half.write_all(&copy).unwrap());
            let mut got = vec![0; AMOUNT];
            stream.read_exact(&mut got).unwrap();
            writer.join().unwrap();
            assert!(got == sent, "what came back differs");
        })
    };
    let clients = [client("10.9.0.2:7000"), client("[fd09::2]:7001")];
    let stop = Arc::new(AtomicBool::new(false));
    let (to_far, from_near) = mpsc::channel(64);
    let (to_near, from_far) = mpsc::channel(64);
    let near_end = carry(&near, &["10.9.0.1/24", "fd09::1/64"], offload, (to_far, from_far), stop.clone());
    let far_end = carry(&far, &["10.9.0.2/24", "fd09::2/64"], offload, (to_near, from_near), stop.clone());
    let clients = clients.map(std::thread::JoinHandle::join);
    let servers = servers.map(std::thread::JoinHandle::join);
    stop.store(true, Ordering::Relaxed);
    let largest = near_end.wait().max(far_end.wait());
    for result in clients.into_iter().chain(servers) {
        result.unwrap();
    }
    println!("largest batch with offload {offload}: {largest}");
    assert!(largest > 1, "packets came one by one");
}

#[test]
fn tcp_flows_through_super_packets_of_both_families() {
    through_tunnel(true);
}

#[test]
fn tcp_flows_on_a_kernel_without_offload_too() {
    through_tunnel(false);
}

#[test]
fn the_device_can_get_other_addresses() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|runtime| {
        runtime.block_on(async {
            let hosts = |all: [&str; 2]| all.map(|ip| ip.parse().unwrap());
            let tun = Tun::open("qb-test.0", MTU, &hosts(["10.9.0.1/32", "fd09::1/128"])).await.unwrap();
            tun.readdress(&hosts(["10.9.0.7/32", "fd09::1/128"])).await.unwrap();
            let shown = shell("ip addr show qb-test.0");
            let has = |text: &str| shown.contains(text);
            assert!(has("10.9.0.7/32") && has("fd09::1/128") && !has("10.9.0.1/32"), "{shown}");
        });
    });
}

#[test]
fn the_device_is_what_was_asked_for_and_quiet() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|runtime| {
        runtime.block_on(async {
            shell("echo 0 > /proc/sys/net/ipv6/conf/default/addr_gen_mode");
            let addresses = ["10.9.0.1/24".parse().unwrap(), "fd09::1/64".parse().unwrap()];
            let tun = Tun::open("qb-test.0", MTU, &addresses).await.unwrap();
            let shown = shell("ip addr show qb-test.0");
            assert!(
                shown.contains("mtu 1400") && shown.contains("10.9.0.1/24") && shown.contains("fd09::1/64"),
                "{shown}"
            );
            assert!(shown.starts_with(&format!("{}: ", tun.index())), "{shown}");
            assert!(!shown.contains("fe80") && !shown.contains("tentative"), "{shown}");
            assert!(shell("ip -d link show qb-test.0").contains("gso_max_segs 128"));
            tun.set_mtu(1500).unwrap();
            assert!(shell("ip link show qb-test.0").contains("mtu 1500"));
            assert_eq!(tun.set_mtu(1200).unwrap_err().kind, Kind::Invalid);

            let mut packets = Packets::new();
            assert!(
                timeout(Duration::from_millis(300), tun.recv_batch(&mut packets)).await.is_err(),
                "{packets:?}"
            );
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(&[7; 1472], "10.9.0.2:7000").unwrap();
            timeout(PATIENCE, tun.recv_batch(&mut packets)).await.unwrap().unwrap();
            assert_eq!(packets.iter().map(<[u8]>::len).collect::<Vec<_>>(), [1500]);

            assert_eq!(Tun::open("qb-test.0", MTU, &[]).await.unwrap_err().kind, Kind::InUse);
            assert_eq!(Tun::open("a/b", MTU, &[]).await.unwrap_err().kind, Kind::Invalid);
            drop(tun);
            assert!(!shell("ip link").contains("qb-test"));
        });
    });
}

#[test]
fn a_packet_that_fits_since_the_mtu_grew_reaches_whoever_waits() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|runtime| {
        runtime.block_on(async {
            let tun = Tun::open("qb-test.0", 1280, &["10.9.0.1/24".parse().unwrap()]).await.unwrap();
            let mut packets = Packets::new();
            let larger = async {
                // The reader waits by now, with buffers for what was the MTU.
                tokio::time::sleep(Duration::from_millis(50)).await;
                tun.set_mtu(MTU).unwrap();
                let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
                socket.send_to(&[7; MTU as usize - 28], "10.9.0.2:9").unwrap();
            };
            let arrived = async {
                loop {
                    tun.recv_batch(&mut packets).await.unwrap();
                    if packets.iter().any(|packet| packet.len() == usize::from(MTU)) {
                        return;
                    }
                }
            };
            let both = async { tokio::join!(larger, arrived) };
            timeout(PATIENCE, both).await.expect("the packet does not get lost");
            assert_eq!(packets.broken(), 0);
        });
    });
}

#[test]
fn a_device_that_is_deleted_under_us_is_an_error_not_a_hang() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|runtime| {
        runtime.block_on(async {
            let tun = Tun::open("qb0", MTU, &["10.9.0.1/24".parse().unwrap()]).await.unwrap();
            shell("ip link del qb0");
            let mut packets = Packets::new();
            assert!(timeout(PATIENCE, tun.recv_batch(&mut packets)).await.unwrap().is_err());
            let mut outgoing = Outgoing::new();
            assert!(outgoing.push(&[0x45; 40]));
            assert!(timeout(PATIENCE, tun.send_batch(&mut outgoing)).await.unwrap().is_err());
        });
    });
}

#[test]
fn after_a_refused_super_packet_packets_go_one_by_one() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|runtime| {
        runtime.block_on(async {
            let tun = Tun::open("qb0", MTU, &["10.9.0.1/24".parse().unwrap()]).await.unwrap();
            // The kernel refuses an IP version that `push` would not have let in.
            let mut outgoing = Outgoing::new();
            assert!(outgoing.push(&[0x45; 40]));
            outgoing.buffers[0].0[super::HEADROOM] = 0x15;
            tun.send_batch(&mut outgoing).await.unwrap();
            assert!(!tun.joins.load(Ordering::Relaxed));

            let socket = UdpSocket::bind("10.9.0.1:7000").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            // Header of a UDP packet from 10.9.0.2 without a UDP checksum, which IPv4 allows.
            let mut packet =
                vec![0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17, 0x26, 0xb8, 10, 9, 0, 2, 10, 9, 0, 1];
            packet.extend_from_slice(&[0x9c, 0x40, 0x1b, 0x58, 0, 13, 0, 0]);
            packet.extend_from_slice(b"hello");
            assert!(outgoing.push(&packet));
            tun.send_batch(&mut outgoing).await.unwrap();
            let mut got = [0; 16];
            assert_eq!(socket.recv(&mut got).unwrap(), 5);
        });
    });
}

/// RFC 1071, of an even number of bytes.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

/// A TCP segment from 10.9.0.2 to 10.9.0.1 with an even number of bytes of content.
fn segment(sequence: u32, content: &[u8]) -> Vec<u8> {
    let len = (40 + content.len()) as u16;
    let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1];
    ip[2..4].copy_from_slice(&len.to_be_bytes());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum);
    let mut tcp = [0x9c, 0x40, 0x1b, 0x58, 0, 0, 0, 0, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    let pseudo = [10, 9, 0, 2, 10, 9, 0, 1, 0, 6, ((len - 20) >> 8) as u8, (len - 20) as u8];
    let sum = checksum(&[&pseudo, &tcp, content]);
    tcp[16..18].copy_from_slice(&sum);
    [&ip[..], &tcp, content].concat()
}

/// Packets and bytes that the kernel received from a device of this namespace.
fn received(device: &str) -> [u64; 2] {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{device}:"))).unwrap();
    let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap());
    let [bytes, packets] = [numbers.next().unwrap(), numbers.next().unwrap()];
    [packets, bytes]
}

#[test]
fn segments_of_a_flow_reach_the_kernel_as_one() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|runtime| {
        runtime.block_on(async {
            let tun = Tun::open("qb0", MTU, &["10.9.0.1/24".parse().unwrap()]).await.unwrap();
            let mut outgoing = Outgoing::new();
            for round in 1..=2 {
                let before = received("qb0");
                for i in 0..40 {
                    assert!(outgoing.push(&segment(i * 1000, &pattern(1000))));
                }
                tun.send_batch(&mut outgoing).await.unwrap();
                let after = received("qb0");
                let moved = [after[0] - before[0], after[1] - before[1]];
                assert_eq!(moved, [1, 40 + 40 * 1000], "round {round}");
            }
        });
    });
}

#[test]
fn only_ip_packets_go_into_a_batch_and_only_so_many() {
    let mut outgoing = Outgoing::new();
    for bad in [&[][..], &[0x45; 19], &[0x60; 39], &[0x00; 60], &[0xf5; 60], &[0x45; 65_536]] {
        assert!(!outgoing.push(bad), "{}", bad.len());
    }
    assert!(outgoing.is_empty());
    while !outgoing.is_full() {
        assert!(outgoing.push(&[0x60; 40]));
    }
    assert!(!outgoing.push(&[0x60; 40]));
    assert_eq!(outgoing.len(), super::BATCH);
    outgoing.clear();
    assert!(outgoing.push(&[0x45; 20]));
}

#[test]
fn without_permission_the_error_says_what_is_needed() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: is root");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(Tun::open("qb-denied", MTU, &[])).unwrap_err();
    // A container may have no device at all.
    assert!(matches!(error.kind, Kind::Permission | Kind::Missing), "{error}");
    assert!(error.to_string().contains("CAP_NET_ADMIN") || error.to_string().contains("--device"), "{error}");
}
