use super::ServerRouting;
use crate::host::change::Change;
use crate::host::error::Kind;
use crate::host::forwarding::{Forwarding, SwitchV6};
use crate::host::journal::Journal;
use crate::host::sandbox::{Folder, Namespace, assert_same, settle, shell, snapshot};
use crate::host::tun::{Outgoing, Packets, Tun};
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

fn routing() -> ServerRouting {
    ServerRouting {
        tun: "qbs0".into(),
        v4_pool: "10.99.0.1/24".parse().unwrap(),
        v6_pool: Some("fd99::1/64".parse().unwrap()),
        nat: true,
        egress: Vec::new(),
        allow: vec!["192.168.50.7/32".parse().unwrap()],
        between_tenants: false,
    }
}

/// A server with a way to the Internet and one to its own private network.
fn server() -> Option<(Namespace, Arc<Namespace>, Arc<Namespace>)> {
    let (server, internet, office) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
    server.connect("eth0", &internet, "far0");
    server.connect("eth1", &office, "desk0");
    internet.run(|_| {
        shell(
            "ip addr add 203.0.113.1/24 dev far0; ip -6 addr add 2001:db8:1::1/64 dev far0 nodad; ip link set far0 up
             ip route add 192.168.50.0/24 via 203.0.113.2; ip route add 10.99.0.0/24 via 203.0.113.2",
        );
    });
    office.run(|_| {
        shell(
            "ip addr add 192.168.50.7/24 dev desk0; ip addr add 192.168.50.8/24 dev desk0; ip link set desk0 up
             ip route add default via 192.168.50.1",
        );
    });
    server.run(|_| {
        shell(
            "ip addr add 203.0.113.2/24 dev eth0; ip -6 addr add 2001:db8:1::2/64 dev eth0 nodad; ip link set eth0 up
             ip addr add 192.168.50.1/24 dev eth1; ip link set eth1 up
             ip route add default via 203.0.113.1; ip -6 route add default via 2001:db8:1::1",
        );
        settle();
    });
    Some((server, Arc::new(internet), Arc::new(office)))
}

async fn tun() -> Tun {
    Tun::open("qbs0", 1400, &["10.99.0.1/24".parse().unwrap(), "fd99::1/64".parse().unwrap()]).await.unwrap()
}

/// A UDP packet of a tenant, with right checksums.
fn udp(from: &str, to: &str, port: u16, text: &[u8]) -> Vec<u8> {
    let length = (8 + text.len()) as u16;
    let mut datagram = [40_000_u16.to_be_bytes(), port.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    datagram.extend_from_slice(text);
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let (mut header, addresses) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (20 + length).to_be_bytes();
            let start = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0];
            let addresses = [from.octets(), to.octets()].concat();
            let header = [start.to_vec(), addresses.clone()].concat();
            (header, addresses)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let total = length.to_be_bytes();
            let addresses = [from.octets(), to.octets()].concat();
            ([vec![0x60, 0, 0, 0, total[0], total[1], 17, 64], addresses.clone()].concat(), addresses)
        }
        _ => panic!("two families"),
    };
    if header.len() == 20 {
        let sum = checksum(&[&header]).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
    }
    let pseudo = [addresses, vec![0, 17, datagram[4], datagram[5]]].concat();
    let sum = checksum(&[&pseudo, &datagram]).to_be_bytes();
    datagram[6..8].copy_from_slice(&sum);
    [header, datagram].concat()
}

/// RFC 1071.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

async fn send(tun: &Tun, packet: &[u8]) {
    let mut outgoing = Outgoing::new();
    assert!(outgoing.push(packet));
    tun.send_batch(&mut outgoing).await.unwrap();
}

#[test]
fn the_script_opens_forwarding_for_the_tunnel_alone() {
    let forwarding = Forwarding { opened_v4: vec!["qbs0".into(), "eth0".into()], ..Forwarding::default() };
    let script = routing().script(&forwarding);
    assert!(script.contains("meta nfproto ipv4 iifname \"eth0\" oifname != \"qbs0\" ct state"), "{script}");
    assert!(script.contains("ip saddr 10.99.0.0/24 oifname != \"qbs0\" masquerade"), "{script}");
    assert!(script.contains("ip6 saddr != fd99::/64 drop"), "{script}");
    let allowed = script.find("ip daddr 192.168.50.7/32 accept").unwrap();
    assert!(allowed < script.find("ip daddr { 0.0.0.0/8").unwrap(), "{script}");
    let without_nat = ServerRouting { nat: false, v6_pool: None, ..routing() }.script(&forwarding);
    assert!(!without_nat.contains("masquerade"), "{without_nat}");
    assert!(without_nat.contains("meta nfproto ipv6 drop"), "{without_nat}");
}

#[test]
fn a_tenant_reaches_the_internet_and_its_answers_come_back() {
    let Some((server, internet, _office)) = server() else { return };
    let folder = Folder::new();
    let path = folder.0.join("server.journal");
    server.run(move |runtime| {
        runtime.block_on(async {
            let tun = tun().await;
            let before = snapshot();
            let mut journal = Journal::open(&path).await.unwrap();
            routing().apply(&mut journal).await.unwrap();
            for (from, to, bind, seen) in [
                ("10.99.0.5", "203.0.113.1", "203.0.113.1:7000", "203.0.113.2 question"),
                ("fd99::5", "2001:db8:1::1", "[2001:db8:1::1]:7000", "2001:db8:1::2 question"),
            ] {
                let answer = internet.hear(bind, PATIENCE);
                send(&tun, &udp(from, to, 7000, b"question")).await;
                assert_eq!(answer.wait().as_deref(), Some(seen));
                assert!(comes(&tun, b"answer", PATIENCE).await, "no answer for {from}");
            }
            journal.undo_all().await.unwrap();
            assert_same(&before, &snapshot(), "after undoing");

            let mut journal = Journal::open(&path).await.unwrap();
            routing().apply(&mut journal).await.unwrap();
            drop(journal);
            assert!(Journal::recover(&path).await.unwrap() > 0);
            assert_same(&before, &snapshot(), "after recovering");
        });
    });
}

/// Whether a packet that ends like this comes out of the tunnel's end here.
async fn comes(tun: &Tun, text: &[u8], wait: Duration) -> bool {
    let mut packets = Packets::new();
    let looking = async {
        loop {
            tun.recv_batch(&mut packets).await.unwrap();
            if packets.iter().any(|packet| packet.ends_with(text)) {
                return;
            }
        }
    };
    timeout(wait, looking).await.is_ok()
}

#[test]
fn a_tenant_reaches_nothing_but_the_internet() {
    let Some((server, internet, office)) = server() else { return };
    let folder = Folder::new();
    let path = folder.0.join("server.journal");
    server.run(move |runtime| {
        runtime.block_on(async {
            let tun = tun().await;
            let mut journal = Journal::open(&path).await.unwrap();
            let both = vec!["eth0".to_owned(), "eth1".to_owned()];
            ServerRouting { egress: both, ..routing() }.apply(&mut journal).await.unwrap();

            let allowed = office.hear("192.168.50.7:7000", PATIENCE);
            send(&tun, &udp("10.99.0.5", "192.168.50.7", 7000, b"allowed")).await;
            assert_eq!(allowed.wait().as_deref(), Some("192.168.50.1 allowed"));
            let private = office.hear("192.168.50.8:7000", SILENCE);
            send(&tun, &udp("10.99.0.5", "192.168.50.8", 7000, b"private")).await;
            assert_eq!(private.wait(), None);
            let forged = internet.hear("203.0.113.1:7000", SILENCE);
            send(&tun, &udp("10.98.0.5", "203.0.113.1", 7000, b"forged")).await;
            assert_eq!(forged.wait(), None);

            let own = UdpSocket::bind("0.0.0.0:7000").unwrap();
            own.set_read_timeout(Some(SILENCE)).unwrap();
            for address in ["203.0.113.2", "10.99.0.1", "192.168.50.1"] {
                send(&tun, &udp("10.99.0.5", address, 7000, b"server")).await;
            }
            assert!(own.recv(&mut [0; 64]).is_err(), "a tenant reached a service of the server");

            send(&tun, &udp("10.99.0.5", "10.99.0.6", 7000, b"neighbour")).await;
            assert!(!comes(&tun, b"neighbour", SILENCE).await, "a tenant reached another");
            journal.undo_all().await.unwrap();
        });
    });
}

#[test]
fn strangers_reach_neither_tenants_nor_the_networks_behind_the_server() {
    let Some((server, internet, office)) = server() else { return };
    let folder = Folder::new();
    let path = folder.0.join("server.journal");
    server.run(move |runtime| {
        runtime.block_on(async {
            let tun = tun().await;
            let mut journal = Journal::open(&path).await.unwrap();
            routing().apply(&mut journal).await.unwrap();
            let behind = office.hear("192.168.50.7:7000", SILENCE);
            let send_out = |to: &'static str, text: &'static [u8]| {
                internet.run(move |_| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(text, to).unwrap());
            };
            send_out("192.168.50.7:7000", b"stranger");
            assert_eq!(behind.wait(), None);
            send_out("10.99.0.5:7000", b"stranger");
            assert!(!comes(&tun, b"stranger", SILENCE).await, "a stranger reached a tenant");
            journal.undo_all().await.unwrap();
        });
    });
}

#[test]
fn an_older_kernels_ipv6_switch_is_set_for_all_and_restored_for_each() {
    let Some((server, _internet, _office)) = server() else { return };
    let folder = Folder::new();
    let path = folder.0.join("server.journal");
    server.run(move |runtime| {
        runtime.block_on(async {
            // One interface forwards already and has to do so afterwards.
            shell("echo 1 > /proc/sys/net/ipv6/conf/eth1/forwarding");
            let before = snapshot();
            let mut journal = Journal::open(&path).await.unwrap();
            let forwarding = Forwarding::between(&["eth0"], Some(SwitchV6::Everything)).unwrap();
            assert!(forwarding.opened_all_v6);
            let along = forwarding
                .changes
                .iter()
                .filter(|change| matches!(change, Change::SwitchAlong { .. }))
                .count();
            assert!(along >= 4, "default, eth0, eth1, lo: {along}");
            for change in forwarding.changes {
                journal.make(change).await.unwrap();
            }
            let now = shell("cd /proc/sys/net/ipv6/conf; cat all/forwarding eth0/forwarding eth0/accept_ra");
            assert_eq!(now.split_whitespace().collect::<Vec<_>>(), ["1", "1", "2"]);
            journal.undo_all().await.unwrap();
            assert_same(&before, &snapshot(), "after undoing");
        });
    });
}

#[test]
fn a_server_without_a_way_out_says_so() {
    let Some(server) = Namespace::new() else { return };
    let folder = Folder::new();
    let path = folder.0.join("server.journal");
    server.run(move |runtime| {
        runtime.block_on(async {
            let mut journal = Journal::open(&path).await.unwrap();
            let error = routing().apply(&mut journal).await.unwrap_err();
            assert_eq!(error.kind, Kind::Missing);
            journal.undo_all().await.unwrap();
        });
    });
}
