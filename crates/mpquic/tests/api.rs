//! The public API over real sockets on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

use mpquic::{
    Bytes, ClientConfig, CloseReason, ConnectError, Connection, Endpoint, Error, Identity, PathEvent, PathId,
    Pin, ReadError, ServerConfig, TransportConfig, WriteError,
};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    server: Endpoint,
    client: Endpoint,
    config: ClientConfig,
}

impl World {
    fn new() -> Self {
        Self::with(TransportConfig::default())
    }

    fn with(transport: TransportConfig) -> Self {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pin = Pin::Certificate(identity.fingerprint());
        let server = ServerConfig::new(identity, ALPN).unwrap().transport(transport.clone());
        Self {
            server: Endpoint::server(server, &[any()]).unwrap(),
            client: Endpoint::client(&[any(), any()]).unwrap(),
            config: ClientConfig::pinned(&[pin], ALPN).unwrap().transport(transport),
        }
    }

    fn peer(&self) -> SocketAddr {
        self.server.local_addrs()[0]
    }

    async fn dial(&self) -> Result<Connection, ConnectError> {
        self.client.connect(&self.config, "localhost", self.client.local_addrs()[0], self.peer()).await
    }

    /// Both ends of a connection.
    async fn connect(&self) -> (Connection, Connection) {
        let (near, far) = tokio::join!(self.dial(), self.server.accept());
        (near.unwrap(), far.unwrap())
    }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251).to_le_bytes()[0]).collect()
}

/// Sends everything back on the stream it came by.
fn echo(connection: Connection) {
    tokio::spawn(async move {
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            tokio::spawn(async move {
                tokio::io::copy(&mut recv, &mut send).await.unwrap();
                send.finish().unwrap();
                send.finished().await.unwrap();
            });
        }
    });
}

async fn echoed(connection: &Connection, data: &[u8]) -> Vec<u8> {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let (sent, received) = tokio::join!(
        async {
            send.write_all(data).await?;
            send.finish()
        },
        recv.read_to_end(data.len())
    );
    sent.unwrap();
    received.unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Tells when a future can go on.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.send(()).ok();
    }
}

/// Waits until the answer for `future` is there, and gives up without looking at it.
fn give_up_when_answered<T>(future: impl Future<Output = T> + Send) {
    let (ring, rung) = channel();
    let waker = Waker::from(Arc::new(Bell(ring)));
    let mut future = Box::pin(future);
    if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        rung.recv_timeout(PATIENCE).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_come_back_unchanged() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    assert_eq!((near.alpn(), far.alpn()), (Some(&b"test"[..]), Some(&b"test"[..])));
    assert_eq!(near.peer_address(), Some(world.peer()));
    assert!(near.peer_certificate().is_some() && far.peer_certificate().is_none());
    let (mut here, mut there) = ([0; 32], [0; 32]);
    near.export_keying_material(&mut here, b"label", b"").await.unwrap();
    far.export_keying_material(&mut there, b"label", b"").await.unwrap();
    assert!(here == there && here != [0; 32]);
    echo(far);
    let data = pattern(10_000_000);
    assert!(in_time(echoed(&near, &data)).await == data);
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert!(near.stats().counters.datagrams_sent > 6000);
    assert!(near.paths()[0].bytes_sent > 10_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_at_once_do_not_mix() {
    let transport = TransportConfig { max_streams_bidi: 30, ..TransportConfig::default() };
    let world = World::with(transport);
    let (near, far) = in_time(world.connect()).await;
    echo(far);
    let mut tasks = Vec::new();
    for n in 0..100 {
        let near = near.clone();
        tasks.push(tokio::spawn(async move {
            let data: Vec<u8> = pattern(20_000 + n).iter().map(|b| b ^ n.to_le_bytes()[0]).collect();
            assert!(echoed(&near, &data).await == data, "stream {n}");
        }));
    }
    for task in tasks {
        in_time(task).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_uses_two_paths_and_survives_the_end_of_one() {
    // In turn: over the loopback interface one path alone could carry all, and the quickest-first scheduler let it.
    let mut transport = TransportConfig::default();
    transport
        .set_scheduler(mpquic::policy::sched::ALL.iter().find(|entry| entry.name == "roundrobin").unwrap());
    let world = World::with(transport);
    let (near, far) = in_time(world.connect()).await;
    let path = in_time(near.open_path(world.client.local_addrs()[1], world.peer(), false)).await.unwrap();
    assert_eq!(path, PathId(1));
    assert_eq!(near.paths().len(), 2);
    let data = pattern(30_000_000);
    let expected = data.clone();
    let reader = tokio::spawn(async move {
        let mut recv = far.accept_uni().await.unwrap();
        let all = recv.read_to_end(expected.len()).await.unwrap();
        assert!(all == expected);
        far
    });
    let mut send = near.open_uni().await.unwrap();
    let (first, rest) = data.split_at(15_000_000);
    send.write_all(first).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let carried: Vec<u64> = near.paths().iter().map(|p| p.bytes_sent).collect();
    assert!(carried.iter().all(|bytes| *bytes > 500_000), "both paths carry the stream: {carried:?}");
    near.abandon_path(PathId(0)).await.unwrap();
    send.write_all(rest).await.unwrap();
    send.finish().unwrap();
    in_time(send.finished()).await.unwrap();
    let far = in_time(reader).await.unwrap();
    assert_eq!(near.abandon_path(path).await, Err(Error::Refused(mpquic::Refused::LastPath)));
    let (mut opened, mut abandoned) = (false, false);
    while !opened || !abandoned {
        match in_time(near.path_event()).await.unwrap() {
            PathEvent::Opened(id) => opened |= id == path,
            PathEvent::Abandoned { path, .. } => abandoned |= path == PathId(0),
            _ => {}
        }
    }
    drop(far);
}

#[tokio::test]
async fn another_server_than_the_pinned_one_is_refused_in_those_words() {
    let world = World::new();
    let other = Identity::self_signed(&["localhost"]).unwrap();
    let pin = Pin::Certificate(other.fingerprint());
    let config = ClientConfig::pinned(&[pin], ALPN).unwrap();
    let local = world.client.local_addrs()[0];
    let error = in_time(world.client.connect(&config, "localhost", local, world.peer())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Untrusted { pinned: true, .. }), "{error:?}");
    assert!(error.to_string().contains("not the pinned one"), "{error}");
}

#[tokio::test]
async fn without_a_common_protocol_the_client_is_told_so() {
    let world = World::new();
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let config = ClientConfig::pinned(&[Pin::Certificate(identity.fingerprint())], &[b"other"]).unwrap();
    let local = world.client.local_addrs()[0];
    let error = in_time(world.client.connect(&config, "localhost", local, world.peer())).await.unwrap_err();
    assert_eq!(error, ConnectError::NoCommonProtocol);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_given_up_within_the_handshake_timeout() {
    let transport =
        TransportConfig { handshake_timeout: Duration::from_secs(1), ..TransportConfig::default() };
    let world = World::with(transport);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = nobody.local_addr().unwrap();
    let local = world.client.local_addrs()[0];
    let connecting = world.client.connect(&world.config, "localhost", local, peer);
    let error = timeout(Duration::from_secs(3), connecting).await.unwrap().unwrap_err();
    assert_eq!(error, ConnectError::NoAnswer);
}

#[tokio::test]
async fn an_address_without_a_socket_is_refused() {
    let world = World::new();
    let elsewhere = "127.0.0.9:9".parse().unwrap();
    let error = world.client.connect(&world.config, "localhost", elsewhere, world.peer()).await.unwrap_err();
    assert_eq!(error, ConnectError::NoSuchAddress(elsewhere));
}

#[tokio::test]
async fn a_close_tells_the_peer_its_code_and_reason() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    let waiting = tokio::spawn({
        let far = far.clone();
        async move { far.accept_bi().await.unwrap_err() }
    });
    near.close(42, b"enough");
    let reason = CloseReason::PeerApplication { code: 42, reason: b"enough".to_vec() };
    assert_eq!(in_time(far.closed()).await, reason);
    assert_eq!(in_time(near.closed()).await, CloseReason::Local(42));
    assert_eq!(in_time(waiting).await.unwrap(), Error::Closed(reason.clone()));
    assert_eq!(in_time(far.open_uni()).await.unwrap_err(), Error::Closed(reason));
    assert_eq!(far.path_event().await, None);
}

#[tokio::test]
async fn dropped_streams_reset_and_stop() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    let (mut send, recv) = near.open_bi().await.unwrap();
    send.write_all(b"half a message").await.unwrap();
    let (mut back, mut there) = in_time(far.accept_bi()).await.unwrap();
    let mut some = [0; 4];
    in_time(there.read(&mut some)).await.unwrap();
    drop((send, recv));
    assert_eq!(in_time(there.read_to_end(100)).await, Err(ReadError::Reset(0)));
    let stopped = async {
        loop {
            if let Err(error) = back.write_all(b"unwanted").await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!(in_time(stopped).await, WriteError::Stopped(0));
}

#[tokio::test]
async fn a_stream_whose_opener_gave_up_is_reset_and_stopped() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    give_up_when_answered(near.open_bi());
    let (mut back, mut there) = in_time(far.accept_bi()).await.unwrap();
    assert_eq!(in_time(there.read_to_end(100)).await, Err(ReadError::Reset(0)));
    assert_eq!(in_time(back.finished()).await, Err(WriteError::Stopped(0)));
    drop(near);
    in_time(far.closed()).await;
}

#[tokio::test]
async fn a_connection_whose_caller_gave_up_is_closed() {
    let world = World::new();
    give_up_when_answered(world.dial());
    let near = in_time(world.dial()).await.unwrap();
    let mut send = near.open_uni().await.unwrap();
    send.write_all(b"the second").await.unwrap();
    // The first one may end before the server's handshake does; if it is accepted, it is about to be closed.
    let closed = CloseReason::PeerApplication { code: 0, reason: Vec::new() };
    loop {
        let far = in_time(world.server.accept()).await.unwrap();
        match in_time(far.accept_uni()).await {
            Ok(_) => break,
            Err(error) => assert_eq!(error, Error::Closed(closed.clone())),
        }
    }
}

#[tokio::test]
async fn what_was_finished_is_delivered_although_every_handle_is_dropped() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    let data = pattern(3_000_000);
    let mut send = near.open_uni().await.unwrap();
    let reader = tokio::spawn(async move {
        let mut recv = far.accept_uni().await.unwrap();
        (recv.read_to_end(3_000_000).await, far.closed().await)
    });
    send.write_all(&data).await.unwrap();
    send.finish().unwrap();
    drop((send, near));
    let (read, closed) = in_time(reader).await.unwrap();
    assert!(read.unwrap() == data);
    assert_eq!(closed, CloseReason::PeerApplication { code: 0, reason: Vec::new() });
}

#[tokio::test]
async fn a_reader_that_pauses_holds_the_writer_back() {
    let transport = TransportConfig {
        initial_stream_window: 100_000,
        stream_window_max: 100_000,
        initial_connection_window: 150_000,
        connection_window_max: 150_000,
        send_buffer_max: 200_000,
        ..TransportConfig::default()
    };
    let world = World::with(transport);
    let (near, far) = in_time(world.connect()).await;
    let mut send = near.open_uni().await.unwrap();
    let chunk = vec![7; 10_000];
    let mut written = 0;
    while timeout(Duration::from_millis(500), send.write_all(&chunk)).await.is_ok() {
        written += chunk.len();
        // Two mailboxes per end, the windows and the send buffer.
        assert!(written < 1_600_000, "the writer is not held back");
    }
    assert!(written > 300_000);
    let mut recv = in_time(far.accept_uni()).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut total = 0;
        let mut out = vec![0; 5000];
        while let Some(n) = recv.read(&mut out).await.unwrap() {
            assert!(out[..n].iter().all(|b| *b == 7));
            total += n;
        }
        total
    });
    for _ in 0..100 {
        in_time(send.write_all(&chunk)).await.unwrap();
    }
    send.finish().unwrap();
    let total = in_time(reading).await.unwrap();
    // The write that was given up may have been taken in part.
    assert!((written + 1_000_000..=written + 1_010_000).contains(&total), "{total}");
}

#[tokio::test]
async fn datagrams_go_both_ways_and_too_large_ones_nowhere() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    for (from, to) in [(&near, &far), (&far, &near)] {
        from.send_datagram(b"hello").unwrap();
        assert_eq!(in_time(to.read_datagram()).await.unwrap(), b"hello");
        let max = from.max_datagram_size().unwrap();
        assert!(max > 1000);
        let refused = Err(Error::Refused(mpquic::Refused::DatagramSize));
        assert_eq!(from.send_datagram(&vec![0; 60_000]), refused);
    }
}

#[tokio::test]
async fn batches_of_datagrams_wait_for_room_instead_of_being_dropped() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    let (mut all, mut next, mut largest) = (Vec::new(), 0, 0);
    while all.len() < 5_000 {
        // No more on their way than the reader has room for: loopback loses none of them.
        if next < 5_000 && next < all.len() + 500 {
            in_time(near.datagram_writable()).await.unwrap();
            let batch = (next..5_000.min(next + 100)).map(|i| i.to_be_bytes().repeat(60));
            next += near.send_datagrams(batch).unwrap();
        } else {
            largest = in_time(far.read_datagrams(&mut all, 300)).await.unwrap().max(largest);
        }
    }
    assert!(all.iter().enumerate().all(|(i, d)| *d == i.to_be_bytes().repeat(60)));
    assert!(largest > 1 && largest <= 300, "{largest} at once");
    let taken = near.send_datagrams(std::iter::repeat_with(|| vec![1; 20]).take(5000)).unwrap();
    assert!((1..=1024).contains(&taken), "{taken} taken at once");
    in_time(near.datagram_writable()).await.unwrap();
    near.close(0, b"");
    in_time(near.closed()).await;
    assert!(matches!(near.send_datagrams([vec![1]]), Err(Error::Closed(_))));
    assert!(matches!(in_time(near.datagram_writable()).await, Err(Error::Closed(_))));
}

#[tokio::test]
async fn chunks_and_copied_writes_keep_their_order_through_a_stream() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    let mut send = near.open_uni().await.unwrap();
    let data = pattern(3_000_000);
    let expected = data.clone();
    tokio::spawn(async move {
        let (mut rest, mut step) = (Bytes::from(data), 1);
        while !rest.is_empty() {
            let piece = rest.split_to(step.min(rest.len()));
            if step % 2 == 0 {
                send.write_all(&piece).await.unwrap();
            } else {
                send.write_chunk(piece).await.unwrap();
            }
            step = step * 3 % 300_007;
        }
        send.finish().unwrap();
    });
    let mut recv = in_time(far.accept_uni()).await.unwrap();
    let (mut all, mut small) = (Vec::new(), [0; 1000]);
    assert!(in_time(recv.read_chunk(0)).await.unwrap().is_some_and(|none| none.is_empty()));
    while let Some(chunk) = in_time(recv.read_chunk(50_000)).await.unwrap() {
        assert!(!chunk.is_empty() && chunk.len() <= 50_000);
        all.extend_from_slice(&chunk);
        let n = in_time(recv.read(&mut small)).await.unwrap().unwrap_or(0);
        all.extend_from_slice(&small[..n]);
    }
    assert!(all == expected, "the bytes arrive unchanged");
}

#[tokio::test]
async fn a_shutdown_ends_accepting_and_tells_the_peer() {
    let world = World::new();
    let (near, _far) = in_time(world.connect()).await;
    let accepting = tokio::spawn({
        let server = world.server.clone();
        async move { server.accept().await.is_none() }
    });
    in_time(world.server.shutdown()).await;
    assert!(in_time(accepting).await.unwrap());
    let reason = in_time(near.closed()).await;
    assert_eq!(reason, CloseReason::PeerApplication { code: 0, reason: Vec::new() });
    world.client.shutdown().await;
    assert_eq!(world.dial().await.unwrap_err(), ConnectError::EndpointGone);
}

#[tokio::test]
async fn streams_work_through_tokios_traits() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    echo(far);
    let (mut send, mut recv) = near.open_bi().await.unwrap();
    AsyncWriteExt::write_all(&mut send, b"over traits").await.unwrap();
    send.flush().await.unwrap();
    send.shutdown().await.unwrap();
    let mut text = String::new();
    in_time(recv.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "over traits");
}

#[tokio::test]
async fn a_socket_on_all_addresses_serves_both_ends() {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let pin = Pin::PublicKey(identity.public_key_fingerprint().unwrap());
    let wild = "0.0.0.0:0".parse().unwrap();
    let server = Endpoint::server(ServerConfig::new(identity, ALPN).unwrap(), &[wild]).unwrap();
    let client = Endpoint::client(&[wild]).unwrap();
    let config = ClientConfig::pinned(&[pin], ALPN).unwrap();
    let peer = SocketAddr::new("127.0.0.1".parse().unwrap(), server.local_addrs()[0].port());
    let connecting = client.connect(&config, "localhost", client.local_addrs()[0], peer);
    let (near, far) = in_time(async { tokio::join!(connecting, server.accept()) }).await;
    echo(far.unwrap());
    assert_eq!(in_time(echoed(&near.unwrap(), b"wild")).await, b"wild");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_taken_together_or_not_at_all_and_read_where_they_lie() {
    let world = World::new();
    let (near, far) = in_time(world.connect()).await;
    in_time(async {
        let mut send = near.open_uni().await.unwrap();
        let room = poll_fn(|cx| send.poll_room(cx, usize::MAX)).await.unwrap();
        let data = pattern(room - 2);
        assert!(!send.write_parts(&[b"abc", &data]).unwrap());
        assert!(send.write_parts(&[b"ab", &data]).unwrap());
        // It is collected as a whole, and then there is room again.
        assert_eq!(poll_fn(|cx| send.poll_room(cx, room)).await.unwrap(), room);
        send.finish().unwrap();
        assert_eq!(send.write_parts(&[b"x"]), Err(WriteError::Finished));
        let mut recv = far.accept_uni().await.unwrap();
        let mut read = Vec::new();
        while let Some(n) = poll_fn(|cx| {
            let seen = ready!(recv.poll_peek(cx)).unwrap();
            Poll::Ready(seen.map(|bytes| {
                read.extend_from_slice(&bytes[..bytes.len().min(1000)]);
                bytes.len().min(1000)
            }))
        })
        .await
        {
            recv.consume(n);
        }
        assert!(read == [b"ab", &data[..]].concat());
        far.send_datagram_parts(&[b"a", b"", b"bc"]).unwrap();
        assert_eq!(near.read_datagram().await.unwrap(), b"abc");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_part_of_a_stream_outlives_its_reset() {
    let world = World::new();
    let (near, far) = world.connect().await;
    assert!(near.can_reset_at() && far.can_reset_at());
    let mut send = near.open_uni().await.unwrap();
    // More than the mailbox holds, so that part of it waits for the reader when the reset is said.
    let data = vec![7; 600_000];
    let writing = async {
        send.write_all(&data).await.unwrap();
        send.reset_at(42, 500_000);
        assert_eq!(send.write(b"more").await, Err(WriteError::Finished));
        send.finished().await
    };
    let reading = async {
        let mut recv = far.accept_uni().await.unwrap();
        let (mut got, mut buffer) = (0, vec![0; 10_000]);
        loop {
            match recv.read(&mut buffer).await {
                Ok(Some(n)) => got += n,
                end => return (got, end),
            }
        }
    };
    let (written, (got, end)) = timeout(PATIENCE, async { tokio::join!(writing, reading) }).await.unwrap();
    assert_eq!((written, end), (Ok(()), Err(ReadError::Reset(42))));
    assert!(got >= 500_000, "{got}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reliable_part_arrives_although_every_handle_is_gone() {
    let world = World::new();
    let (near, far) = world.connect().await;
    let mut send = near.open_uni().await.unwrap();
    send.write_all(b"head and body").await.unwrap();
    send.reset_at(3, 4);
    drop(send);
    drop(near);
    let mut recv = timeout(PATIENCE, far.accept_uni()).await.unwrap().unwrap();
    let mut head = [0; 4];
    recv.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"head");
}
