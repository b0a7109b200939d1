//! Requests, tunnels and datagrams between two of our own ends, over real sockets on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

mod world;

use http::{Method, Request, Response, StatusCode};
use mpquic::CloseReason;
use mpquic_h3::capsule::{self, Capsules};
use mpquic_h3::connect_ip::{self, Configuration, IpRange};
use mpquic_h3::{Error, Protocol, SendDatagramError, Server, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{World, in_time, pattern};

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://localhost{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("https://localhost{path}")).body(()).unwrap()
}

fn connect(authority: &str) -> Request<()> {
    Request::builder().method(Method::CONNECT).uri(authority).body(()).unwrap()
}

fn connect_ip() -> Request<()> {
    connect_ip::Scope::ANY.request("localhost").unwrap()
}

fn ok() -> Response<()> {
    Response::new(())
}

/// Answers every request with its own content.
fn echo(server: Server) {
    tokio::spawn(async move {
        while let Ok(Some(request)) = server.accept().await {
            tokio::spawn(async move {
                let (mut send, mut recv) = request.respond(ok()).await.unwrap();
                while let Some(chunk) = recv.chunk().await.unwrap() {
                    send.send(&chunk).await.unwrap();
                }
                send.finish().unwrap();
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_brings_head_and_body() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        let body = pattern(300_000);
        let sent = body.clone();
        let serving = tokio::spawn(async move {
            let request = server.accept().await.unwrap().unwrap();
            assert_eq!(request.head.method(), Method::GET);
            assert_eq!(request.head.uri(), "https://localhost/file?x=1");
            assert_eq!(request.head.headers()["accept"], "*/*");
            let answer = Response::builder().header("content-length", sent.len()).header("x-own", "yes");
            let (mut send, mut recv) = request.respond(answer.body(()).unwrap()).await.unwrap();
            assert_eq!(recv.chunk().await.unwrap(), None);
            send.send(&sent).await.unwrap();
            send.finish().unwrap();
            send.finished().await.unwrap();
            server
        });
        let mut head = get("/file?x=1");
        head.headers_mut().insert("accept", "*/*".parse().unwrap());
        let mut stream = client.request(head).await.unwrap();
        stream.body().finish().unwrap();
        let response = stream.response().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-own"], "yes");
        assert_eq!(stream.receiver().read_to_end(1 << 20).await.unwrap(), body);
        drop(serving.await.unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_of_a_megabyte_is_echoed() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        echo(server);
        let data = pattern(1_050_000);
        let mut head = post("/echo");
        head.headers_mut().insert("content-length", data.len().into());
        let mut stream = client.request(head).await.unwrap();
        let response = stream.response().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (mut send, mut recv) = stream.split();
        let sending = async {
            send.send(&data).await.unwrap();
            send.finish().unwrap();
        };
        let ((), echoed) = tokio::join!(sending, recv.read_to_end(2_000_000));
        assert_eq!(echoed.unwrap(), data);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_direction_of_a_tunnel_ends_for_itself() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        for client_first in [true, false] {
            let mut stream = client.request(connect("example.org:443")).await.unwrap();
            let request = server.accept().await.unwrap().unwrap();
            assert_eq!(request.head.method(), Method::CONNECT);
            assert_eq!(request.head.uri(), "example.org:443");
            assert!(request.head.extensions().get::<Protocol>().is_none());
            let far = request.respond(ok()).await.unwrap();
            assert_eq!(stream.response().await.unwrap().status(), StatusCode::OK);
            let near = stream.split();
            let ((mut first_out, mut second_in), (mut second_out, mut first_in)) =
                if client_first { (near, far) } else { (far, near) };
            first_out.write_all(b"last words").await.unwrap();
            first_out.shutdown().await.unwrap();
            let mut heard = Vec::new();
            AsyncReadExt::read_to_end(&mut first_in, &mut heard).await.unwrap();
            assert_eq!(heard, b"last words");
            // The other direction goes on.
            let data = pattern(500_000);
            let sending = async {
                second_out.write_all(&data).await.unwrap();
                second_out.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            let ((), read) = tokio::join!(sending, AsyncReadExt::read_to_end(&mut second_in, &mut heard));
            read.unwrap();
            assert_eq!(heard, data);
            assert!(first_out.send(b"x").await.is_err());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_arrives_with_its_code_in_either_direction() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        let mut stream = client.request(connect("example.org:443")).await.unwrap();
        let request = server.accept().await.unwrap().unwrap();
        let (mut far_send, mut far_recv) = request.respond(ok()).await.unwrap();
        stream.response().await.unwrap();
        let (mut near_send, mut near_recv) = stream.split();
        far_send.reset(code::CONNECT_ERROR);
        assert_eq!(near_recv.chunk().await, Err(Error::Reset(code::CONNECT_ERROR)));
        near_send.reset(0x4242);
        assert_eq!(far_recv.chunk().await, Err(Error::Reset(0x4242)));
        // Stopping reaches the writer.
        let mut stream = client.request(post("/")).await.unwrap();
        let request = server.accept().await.unwrap().unwrap();
        request.reject(code::REQUEST_REJECTED);
        assert_eq!(stream.response().await.unwrap_err(), Error::GoingAway);
        let stopped = loop {
            if let Err(error) = stream.body().send(&[0; 4096]).await {
                break error;
            }
        };
        assert_eq!(stopped, Error::Stopped(code::REQUEST_REJECTED));
        drop(server);
        assert!(matches!(near_recv.chunk().await, Err(Error::Reset(code::CONNECT_ERROR))));
        drop((far_send, far_recv));
        assert!(
            matches!(client.request(get("/")).await, Err(Error::Closed(_))) || client_closed(&client).await
        );
    })
    .await;
}

async fn client_closed(client: &mpquic_h3::Client) -> bool {
    client.connection().closed().await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_travel_both_ways_with_their_context() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        let mut stream = client.request(connect_ip()).await.unwrap();
        let near = stream.datagrams();
        // It may overtake the request's head.
        near.send(0, b"early").unwrap();
        let request = server.accept().await.unwrap().unwrap();
        let Protocol(protocol) = request.head.extensions().get::<Protocol>().unwrap();
        assert_eq!(
            (protocol.as_str(), request.head.uri().path()),
            ("connect-ip", "/.well-known/masque/ip/*/*/")
        );
        assert_eq!(request.head.headers()["capsule-protocol"], "?1");
        let far = request.datagrams();
        let (far_send, _far_recv) = request.respond(ok()).await.unwrap();
        assert_eq!(stream.response().await.unwrap().status(), StatusCode::OK);
        assert_eq!(far.recv().await.unwrap(), (0, b"early"[..].into()));
        server.peer_settings().await.unwrap();
        far.send(7, &pattern(900)).unwrap();
        assert_eq!(near.recv().await.unwrap(), (7, pattern(900).into()));
        far.send(1 << 40, b"").unwrap();
        assert_eq!(near.recv().await.unwrap(), (1 << 40, b""[..].into()));
        assert!(near.try_recv().is_none());
        let max = near.max_payload(0).unwrap();
        assert_eq!(near.send(0, &pattern(max + 1)), Err(SendDatagramError::TooLarge));
        near.send(0, &pattern(max)).unwrap();
        assert_eq!(far.recv().await.unwrap().1.len(), max);
        // The end of the stream ends its datagrams.
        drop(far_send);
        assert!(matches!(stream.receiver().chunk().await, Err(Error::Reset(code::REQUEST_CANCELLED))));
        assert!(near.recv().await.is_none());
        drop(stream);
        assert_eq!(near.send(0, b"late"), Err(SendDatagramError::Closed));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_at_once_are_all_answered() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        echo(server);
        let requests: Vec<_> = (0..200usize)
            .map(|i| {
                let client = client.clone();
                tokio::spawn(async move {
                    let data = pattern(i * 100);
                    let mut stream = client.request(post("/echo")).await.unwrap();
                    stream.body().send(&data).await.unwrap();
                    stream.body().finish().unwrap();
                    stream.response().await.unwrap();
                    assert_eq!(stream.receiver().read_to_end(1 << 20).await.unwrap(), data);
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capsules_travel_on_a_standing_connect() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        let mut stream = client.request(connect_ip()).await.unwrap();
        let request = server.accept().await.unwrap().unwrap();
        let (mut far_send, far_recv) = request.respond(ok()).await.unwrap();
        stream.response().await.unwrap();
        let (mut near_send, near_recv) = stream.split();
        let mut far = Capsules::new(far_recv, connect_ip::LIMITS);
        let mut near = Capsules::new(near_recv, connect_ip::LIMITS);
        let routes = Configuration::RouteAdvertisement(vec![IpRange {
            start: "0.0.0.0".parse().unwrap(),
            end: "255.255.255.255".parse().unwrap(),
            protocol: 0,
        }]);
        let mut bytes = Vec::new();
        capsule::write(&mut bytes, 0x7777, &pattern(100_000));
        routes.encode(&mut bytes).unwrap();
        Configuration::AddressAssign(vec![]).encode(&mut bytes).unwrap();
        // In pieces that have nothing to do with where capsules begin.
        for piece in bytes.chunks(30_001) {
            far_send.send(piece).await.unwrap();
        }
        far_send.finish().unwrap();
        let first = near.next().await.unwrap().unwrap();
        assert_eq!(Configuration::decode(&first), Ok(Some(routes)));
        assert_eq!(near.next().await.unwrap().unwrap().kind, connect_ip::ADDRESS_ASSIGN);
        assert_eq!(near.next().await.unwrap(), None);
        // Half a capsule is malformed.
        near_send.send(&[0x01, 0x07, 0x01]).await.unwrap();
        near_send.finish().unwrap();
        let error = far.next().await.unwrap_err();
        assert!(matches!(error, Error::Malformed(fault) if fault.code == code::MESSAGE_ERROR), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_finished_arrives_although_everything_was_dropped() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        let mut stream = client.request(get("/")).await.unwrap();
        stream.body().finish().unwrap();
        let request = server.accept().await.unwrap().unwrap();
        let data = pattern(200_000);
        let (mut send, recv) = request.respond(ok()).await.unwrap();
        send.send(&data).await.unwrap();
        send.finish().unwrap();
        drop((send, recv, server));
        stream.response().await.unwrap();
        assert_eq!(stream.receiver().read_to_end(1 << 20).await.unwrap(), data);
        // Then the connection ends without blame.
        let over = client.connection().closed().await;
        assert!(matches!(over, CloseReason::PeerApplication { code: code::NO_ERROR, .. }), "{over}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_a_data_frame_of_at_most_64_kib() {
    in_time(async {
        let world = World::new();
        let (near, far) = world.connect().await;
        let client = mpquic_h3::Client::start(near).await.unwrap();
        let mut stream = client.request(connect("example.org:443")).await.unwrap();
        let (_send, mut recv) = far.accept_bi().await.unwrap();
        let data = pattern(100_000);
        stream.body().write_all(&data[..5]).await.unwrap();
        stream.body().write_all(&[]).await.unwrap();
        stream.body().write_all(&data).await.unwrap();
        stream.body().finish().unwrap();
        let bytes = recv.read_to_end(1 << 20).await.unwrap();
        let headers = 2 + usize::from(bytes[1]);
        let expected = [
            &[0, 5][..],
            &data[..5],
            &[0, 0x80, 1, 0, 0],
            &data[..65_536],
            &[0, 0x80, 0, 0x86, 0xa0],
            &data[65_536..],
        ];
        assert!(bytes[headers..] == expected.concat());
        // More than is held back at once, and a reader that is slow to come.
        let mut stream = client.request(connect("example.org:443")).await.unwrap();
        let (mut send, mut recv) = far.accept_bi().await.unwrap();
        let data = pattern(3_000_000);
        let writing = async {
            stream.body().send(&data).await.unwrap();
            stream.body().finish().unwrap();
        };
        let reading = async {
            tokio::time::sleep(core::time::Duration::from_millis(20)).await;
            recv.read_to_end(4 << 20).await.unwrap()
        };
        let ((), bytes) = tokio::join!(writing, reading);
        // Sent back behind a response's head (index 25 of the static table: status 200), it is the same content.
        let headers = 2 + usize::from(bytes[1]);
        let back = [&[0x01, 0x03, 0x00, 0x00, 0xc0 | 25], &bytes[headers..]].concat();
        let answering = async {
            send.write_all(&back).await.unwrap();
            send.finish().unwrap();
        };
        let receiving = async {
            stream.response().await.unwrap();
            stream.receiver().read_to_end(4 << 20).await.unwrap()
        };
        let ((), content) = tokio::join!(answering, receiving);
        assert!(content == data);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_gets_a_length_and_no_content() {
    in_time(async {
        let world = World::new();
        let (client, server) = world.pair().await;
        let head = Request::head("https://localhost/").body(()).unwrap();
        let mut stream = client.request(head).await.unwrap();
        let mut request = server.accept().await.unwrap().unwrap();
        let hint = Response::builder().status(103).header("link", "</x>").body(()).unwrap();
        request.inform(hint).await.unwrap();
        let answer = Response::builder().header("content-length", 5000).body(()).unwrap();
        let (mut send, _recv) = request.respond(answer).await.unwrap();
        send.finish().unwrap();
        assert_eq!(stream.response().await.unwrap().headers()["content-length"], "5000");
        assert_eq!(stream.receiver().chunk().await, Ok(None));
    })
    .await;
}
