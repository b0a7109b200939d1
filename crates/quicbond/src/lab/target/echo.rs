//! RFC 862: what comes goes back.

use tokio::net::{TcpListener, UdpSocket};

const LARGEST_DATAGRAM: usize = 65_535;

pub(super) async fn serve_tcp(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            stream.set_nodelay(true).ok();
            let (mut read, mut write) = stream.split();
            // A client that goes away is how this ends.
            tokio::io::copy(&mut read, &mut write).await.ok();
        });
    }
}

pub(super) async fn serve_udp(socket: UdpSocket) {
    let mut datagram = vec![0; LARGEST_DATAGRAM];
    loop {
        // Errors are ICMP's answers to earlier datagrams.
        if let Ok((n, from)) = socket.recv_from(&mut datagram).await {
            socket.send_to(&datagram[..n], from).await.ok();
        }
    }
}
