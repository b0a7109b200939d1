use super::*;
use std::net::Ipv4Addr;
use tokio::time::Instant;

fn to(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn packets(sizes_and_ports: &[(usize, u16)]) -> Vec<Packet> {
    let time = Instant::now().into_std();
    let info = |port| PacketInfo { src: to(1), dst: to(port), time };
    sizes_and_ports.iter().map(|&(size, port)| (vec![port as u8; size], info(port))).collect()
}

#[test]
fn a_train_is_of_one_size_but_for_its_last_packet() {
    assert_eq!(train(&packets(&[(1452, 7), (1452, 7), (900, 7), (1452, 7)])), 3);
    assert_eq!(train(&packets(&[(900, 7), (900, 7)])), 2);
    assert_eq!(train(&packets(&[(900, 7), (1452, 7)])), 1);
    assert_eq!(train(&packets(&[(900, 7)])), 1);
    assert_eq!(train(&[]), 0);
}

#[test]
fn a_train_has_one_address_and_fits_a_datagram() {
    assert_eq!(train(&packets(&[(900, 7), (900, 8)])), 1);
    assert_eq!(train(&packets(&[(900, 7), (300, 8)])), 1);
    assert_eq!(train(&packets(&[(1452, 7); 100])), SEGMENTS);
    let mut long = packets(&[(1452, 7); SEGMENTS]);
    long.extend(packets(&[(20, 7)]));
    assert_eq!(train(&long), SEGMENTS);
}

#[tokio::test]
async fn a_batch_arrives_packet_by_packet() {
    let wire = Wire::bind(to(0)).unwrap();
    let receiver = UdpSocket::bind(to(0)).await.unwrap();
    let port = receiver.local_addr().unwrap().port();
    let sizes = [1200, 1200, 1200, 40, 1452, 1452];
    let batch = packets(&sizes.map(|size| (size, port)));
    let mut sent = 0;
    while sent < batch.len() {
        sent += wire.on_packets_send(&batch[sent..]).unwrap();
        if wire.is_full() {
            wire.writable().await.unwrap();
        }
    }
    for size in sizes {
        let mut buffer = [0; 2000];
        assert_eq!(receiver.recv(&mut buffer).await.unwrap(), size);
    }
}
