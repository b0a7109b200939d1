use super::ClientRouting;
use crate::host::error::{Error, Kind};
use crate::host::forwarding::Forwarding;
use crate::host::journal::Journal;
use crate::host::redirect::{RedirectListeners, bind_redirect_listeners, original_destination};
use crate::host::sandbox::{Folder, Namespace, assert_same, settle, shell, snapshot};
use crate::host::tun::{Packets, Tun};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

fn routing() -> ClientRouting {
    ClientRouting {
        tun: "qb0".into(),
        mark: 0x5142,
        table: 51_842,
        priority: 5000,
        tcp_port: Some(5555),
        v6: true,
        lan: vec!["lan0".into()],
    }
}

/// A client with a link to the Internet and a LAN with a host in it; `None` where that cannot be made.
fn router() -> Option<(Namespace, Namespace, Namespace)> {
    let (client, internet, host) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
    client.connect("wan0", &internet, "far0");
    client.connect("lan0", &host, "host0");
    internet.run(|_| {
        shell("ip addr add 203.0.113.1/24 dev far0; ip -6 addr add 2001:db8:1::1/64 dev far0 nodad; ip link set far0 up");
    });
    client.run(|_| {
        shell(
            "ip addr add 203.0.113.2/24 dev wan0; ip -6 addr add 2001:db8:1::2/64 dev wan0 nodad
             ip addr add 192.168.77.1/24 dev lan0; ip -6 addr add fd77::1/64 dev lan0 nodad
             ip link set wan0 up; ip link set lan0 up
             ip route add default via 203.0.113.1; ip -6 route add default via 2001:db8:1::1
             echo 1 > /proc/sys/net/ipv4/conf/wan0/rp_filter",
        );
    });
    host.run(|_| {
        shell(
            "ip addr add 192.168.77.2/24 dev host0; ip -6 addr add fd77::2/64 dev host0 nodad; ip link set host0 up
             ip route add default via 192.168.77.1; ip -6 route add default via fd77::1",
        );
    });
    client.run(|_| settle());
    Some((client, internet, host))
}

async fn tun() -> Tun {
    Tun::open("qb0", 1400, &["10.66.0.2/24".parse().unwrap(), "fd66::2/64".parse().unwrap()]).await.unwrap()
}

#[test]
fn the_script_spares_marked_packets_and_guards_the_port() {
    let script = routing().script(&Forwarding::default());
    let redirect = script.find("redirect to :5555").unwrap();
    assert!(script.find("meta mark 0x5142 return").unwrap() < redirect, "{script}");
    assert!(script.contains("tcp dport 5555 ct status & dnat == 0 drop"), "{script}");
    assert!(script.contains("iifname { \"lan0\" } fib daddr oifname \"qb0\" redirect to :5555"), "{script}");
    assert!(script.starts_with("create table inet quicbond_qb0\n"), "{script}");
}

#[test]
fn without_a_port_and_a_lan_nothing_is_redirected_and_nothing_forwarded() {
    let routing = ClientRouting { tcp_port: None, lan: Vec::new(), ..routing() };
    let script = routing.script(&Forwarding::default());
    assert!(!script.contains("redirect"), "{script}");
    assert!(!script.contains("lan0"), "{script}");
    assert!(!script.contains("drop"), "{script}");
}

#[test]
fn senseless_routing_is_refused_before_anything_is_touched() {
    let good = routing();
    assert_eq!(good.check(), Ok(()));
    for bad in [
        ClientRouting { mark: 0, ..good.clone() },
        ClientRouting { priority: 0, ..good.clone() },
        ClientRouting { priority: 32_766, ..good.clone() },
        ClientRouting { tun: "q\"; flush ruleset; \"".into(), ..good.clone() },
        ClientRouting { lan: vec!["qb0".into()], ..good.clone() },
        ClientRouting { lan: vec!["lan*".into()], ..good.clone() },
    ] {
        assert!(matches!(bad.check(), Err(Error { kind: Kind::Invalid, .. })), "{bad:?}");
    }
}

/// Accepts one connection per address that `connect` is given; tells where each wanted to go and what it said.
async fn redirected(listeners: &RedirectListeners, v6: bool) -> (SocketAddr, String) {
    let listener = if v6 { listeners.v6.as_ref().unwrap() } else { &listeners.v4 };
    let listener = tokio::net::TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    let (stream, _) =
        timeout(PATIENCE, listener.accept()).await.expect("no redirected connection came").unwrap();
    let wanted = original_destination(&stream).unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = [0; 5];
    stream.read_exact(&mut said).unwrap();
    stream.write_all(b"there").unwrap();
    (wanted, String::from_utf8_lossy(&said).into_owned())
}

/// Says hello to an address and expects the answer.
fn greet(address: &str) {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"there");
}

#[test]
fn tcp_of_the_client_and_of_its_lan_is_redirected_and_the_way_back_restores_everything() {
    let Some((client, _internet, host)) = router() else { return };
    let folder = Folder::new();
    let path = folder.0.join("state/client.journal");
    let host = std::sync::Arc::new(host);
    client.run(move |runtime| {
        runtime.block_on(async {
            let listeners = bind_redirect_listeners().unwrap();
            let routing = ClientRouting { tcp_port: Some(listeners.port), ..routing() };
            let tun = tun().await;
            let before = snapshot();
            let mut journal = Journal::open(&path).await.unwrap();
            routing.apply(&mut journal).await.unwrap();

            for address in ["198.51.100.7:443", "[2001:db8:beef::7]:8443"] {
                let greeting = std::thread::spawn(move || greet(address));
                let (wanted, said) = redirected(&listeners, address.starts_with('[')).await;
                assert_eq!((wanted.to_string().as_str(), said.as_str()), (address, "hello"));
                greeting.join().unwrap();
                let greeting = host.start(move |_| greet(address));
                let (wanted, _) = redirected(&listeners, address.starts_with('[')).await;
                assert_eq!(wanted.to_string(), address);
                greeting.wait();
            }

            lan_udp_leaves_with_the_tunnels_address(&tun, &host).await;
            the_port_is_closed_but_for_redirected_connections(listeners.port, &host);
            let spared =
                shell("ip route get 198.51.100.7 mark 0x5142; ip -6 route get 2001:db8:beef::7 mark 0x5142");
            assert_eq!(spared.matches("dev wan0").count(), 2, "{spared}");
            let local = shell(
                "ip route get 203.0.113.77; ip route get 198.51.100.7; ip -6 route get 2001:db8:beef::7",
            );
            assert_eq!(
                (local.matches("dev wan0").count(), local.matches("dev qb0").count()),
                (1, 2),
                "{local}"
            );
            let switch =
                shell("cat /proc/sys/net/ipv4/conf/wan0/rp_filter /proc/sys/net/ipv4/conf/lan0/forwarding");
            assert_eq!(switch.split_whitespace().collect::<Vec<_>>(), ["2", "1"]);

            journal.undo_all().await.unwrap();
            assert_same(&before, &snapshot(), "after undoing");
            assert!(!path.exists());
        });
    });
}

async fn lan_udp_leaves_with_the_tunnels_address(tun: &Tun, host: &Namespace) {
    host.run(|_| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(b"question", "198.51.100.9:5353").unwrap();
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.send_to(b"question", "[2001:db8:beef::9]:5353").unwrap();
    });
    let mut sources = Vec::new();
    let mut packets = Packets::new();
    while sources.len() < 2 {
        timeout(PATIENCE, tun.recv_batch(&mut packets)).await.expect("no packet of the LAN came").unwrap();
        for packet in packets.iter().filter(|packet| packet.ends_with(b"question")) {
            sources.push(if packet[0] >> 4 == 4 { packet[12..16].to_vec() } else { packet[8..24].to_vec() });
        }
    }
    let v6: std::net::Ipv6Addr = "fd66::2".parse().unwrap();
    assert_eq!(sources, [vec![10, 66, 0, 2], v6.octets().to_vec()]);
}

fn the_port_is_closed_but_for_redirected_connections(port: u16, host: &Namespace) {
    for address in [format!("192.168.77.1:{port}"), format!("[fd77::1]:{port}")] {
        let short = Duration::from_millis(300);
        let reached = host.run(move |_| TcpStream::connect_timeout(&address.parse().unwrap(), short).is_ok());
        assert!(!reached, "the LAN reaches the port directly");
    }
}

#[test]
fn what_a_killed_client_left_is_taken_back_at_the_next_start() {
    let Some((client, _internet, _host)) = router() else { return };
    let folder = Folder::new();
    let path = folder.0.join("client.journal");
    client.run(move |runtime| {
        runtime.block_on(async {
            let before = snapshot();
            // With the tunnel's interface gone too, as it is when its process is dead.
            let tun = tun().await;
            let mut journal = Journal::open(&path).await.unwrap();
            routing().apply(&mut journal).await.unwrap();
            let changes = journal.len();
            assert!(changes > 8, "{changes}");
            drop(journal);
            drop(tun);
            assert!(shell("ip rule").contains("5001"));
            assert_eq!(Journal::recover(&path).await.unwrap(), changes);
            assert_same(&before, &snapshot(), "after recovering");
            assert_eq!(Journal::recover(&path).await.unwrap(), 0);
        });
    });
}

#[test]
fn what_others_made_is_neither_taken_over_nor_touched() {
    let Some((client, _internet, _host)) = router() else { return };
    let folder = Folder::new();
    let path = folder.0.join("client.journal");
    client.run(move |runtime| {
        runtime.block_on(async {
            let _tun = tun().await;
            let in_the_way = [
                ("ip rule add priority 5001 lookup 77", "ip rule del priority 5001", "priority 5001"),
                ("ip -6 rule add priority 5000 lookup 77", "ip -6 rule del priority 5000", "priority 5000"),
                (
                    "ip route add 192.0.2.0/24 dev wan0 table 51842",
                    "ip route del 192.0.2.0/24 dev wan0 table 51842",
                    "table 51842",
                ),
                ("nft add table inet quicbond_qb0", "nft delete table inet quicbond_qb0", "quicbond_qb0"),
            ];
            for (make, remove, said) in in_the_way {
                shell(make);
                let before = snapshot();
                let mut journal = Journal::open(&path).await.unwrap();
                let error = routing().apply(&mut journal).await.unwrap_err();
                assert_eq!(error.kind, Kind::InUse, "{make}");
                assert!(error.to_string().contains(said), "{error}");
                assert_eq!(journal.len(), 0);
                assert_same(&before, &snapshot(), make);
                journal.undo_all().await.unwrap();
                assert_same(&before, &snapshot(), make);
                shell(remove);
            }
            let error = Tun::open("wan0", 1400, &[]).await.unwrap_err();
            assert_eq!(error.kind, Kind::InUse);
        });
    });
}

/// A datagram from one to the other must not arrive.
fn around(from: &Namespace, to: &Namespace, address: &'static str) {
    let heard = to.hear(address, Duration::from_millis(300));
    from.run(move |_| {
        let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        UdpSocket::bind(any).unwrap().send_to(b"around", address).unwrap();
    });
    assert_eq!(heard.wait(), None, "{address} was reached around the tunnel");
}

#[test]
fn forwarding_for_the_tunnel_opens_no_way_around_it() {
    let Some((client, internet, host)) = router() else { return };
    let folder = Folder::new();
    let path = folder.0.join("client.journal");
    internet.run(|_| {
        shell("ip route add 192.168.77.0/24 via 203.0.113.2; ip -6 route add fd77::/64 via 2001:db8:1::2");
    });
    let client = std::sync::Arc::new(client);
    let held = client.run(move |runtime| {
        runtime.block_on(async {
            let tun = tun().await;
            let mut journal = Journal::open(&path).await.unwrap();
            routing().apply(&mut journal).await.unwrap();
            (tun, journal)
        })
    });
    // The link's network is a route of table main, so this would not go through the tunnel.
    around(&host, &internet, "203.0.113.1:7000");
    around(&host, &internet, "[2001:db8:1::1]:7000");
    around(&internet, &host, "192.168.77.2:7000");
    around(&internet, &host, "[fd77::2]:7000");
    client.run(move |runtime| runtime.block_on(held.1.undo_all()).unwrap());
    drop(held.0);
}

#[test]
fn forwarded_tcp_is_told_a_segment_size_that_fits_the_tunnel() {
    let Some((client, _internet, host)) = router() else { return };
    let folder = Folder::new();
    let path = folder.0.join("client.journal");
    client.run(move |runtime| {
        runtime.block_on(async {
            let tun = tun().await;
            let mut journal = Journal::open(&path).await.unwrap();
            ClientRouting { tcp_port: None, ..routing() }.apply(&mut journal).await.unwrap();
            let connecting = host.start(|_| {
                let short = Duration::from_millis(300);
                assert!(TcpStream::connect_timeout(&"198.51.100.7:443".parse().unwrap(), short).is_err());
            });
            let mut packets = Packets::new();
            timeout(PATIENCE, tun.recv_batch(&mut packets))
                .await
                .expect("no packet of the LAN came")
                .unwrap();
            let packet = packets.iter().next().unwrap().to_vec();
            assert_eq!((packet[9], &packet[12..16]), (6, &[10, 66, 0, 2][..]), "{packet:?}");
            // The first option of Linux's SYN is the segment size: 1400 less two headers.
            assert_eq!(packet[40..44], [2, 4, (1360 >> 8) as u8, (1360 & 0xff) as u8], "{packet:?}");
            connecting.wait();
            journal.undo_all().await.unwrap();
        });
    });
}

#[test]
fn without_permission_nothing_is_changed_and_the_error_says_what_is_needed() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: is root");
        return;
    }
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut journal = Journal::open(&folder.0.join("journal")).await.unwrap();
        let error = ClientRouting { lan: Vec::new(), ..routing() }.apply(&mut journal).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Permission | Kind::Missing), "{error}");
        assert_eq!(journal.len(), 0);
        journal.undo_all().await.unwrap();
        let error = Journal::open(std::path::Path::new("/proc/quicbond/journal")).await.unwrap_err();
        assert!(error.to_string().contains("/proc/quicbond/journal"), "{error}");
    });
}
