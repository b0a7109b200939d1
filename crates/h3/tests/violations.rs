//! Peers that break the rules: each is told with the RFC's code, and the connection or the stream ends.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

mod world;

use http::{Method, Request, Response};
use mpquic::{CloseReason, Connection, ReadError, RecvStream, SendStream, WriteError};
use mpquic_h3::{Client, Error, Server, code, connect_ip};
use world::bytes::{GET, HELLO, POST, frame, headers};
use world::{World, in_time};

/// Our server, and a client that writes bytes.
async fn against_server() -> (World, Connection, Server) {
    let world = World::new();
    let (near, far) = world.connect().await;
    let server = Server::start(far).await.unwrap();
    (world, near, server)
}

/// Our client, and a server that writes bytes.
async fn against_client() -> (World, Client, Connection) {
    let world = World::new();
    let (near, far) = world.connect().await;
    let client = Client::start(near).await.unwrap();
    (world, client, far)
}

async fn write_uni(connection: &Connection, bytes: &[u8]) -> SendStream {
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn write_request(connection: &Connection, bytes: &[u8], finish: bool) -> (SendStream, RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    // Our end may have had enough, and said so, before the last byte.
    if send.write_all(bytes).await.is_ok() && finish {
        send.finish().ok();
    }
    (send, recv)
}

/// The code with which our end closed the connection.
async fn closed_with(connection: &Connection) -> u64 {
    match connection.closed().await {
        CloseReason::PeerApplication { code, .. } => code,
        other => panic!("closed otherwise: {other}"),
    }
}

/// Reads requests to their end as an application would, and keeps quiet about what goes wrong.
fn serve(server: Server) {
    tokio::spawn(async move {
        while let Ok(Some(request)) = server.accept().await {
            let (mut send, mut recv) = request.respond(Response::new(())).await.unwrap();
            tokio::spawn(async move {
                while let Ok(Some(_)) = recv.chunk().await {}
                send.finish().ok();
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_way_streams_of_a_client_are_judged_by_the_rfc() {
    let control = |rest: &[u8]| [HELLO, rest].concat();
    let settings = |payload: &[u8]| [&[0x00], &frame(0x04, payload)[..]].concat();
    let cases = [
        ("data before settings", vec![0x00, 0x00, 0x00], code::MISSING_SETTINGS),
        ("goaway before settings", vec![0x00, 0x07, 0x01, 0x00], code::MISSING_SETTINGS),
        ("second settings", control(&[0x04, 0x00]), code::FRAME_UNEXPECTED),
        ("a setting twice", settings(&[0x06, 1, 0x06, 1]), code::SETTINGS_ERROR),
        ("an unknown setting twice", settings(&[0x3a, 1, 0x3a, 1]), code::SETTINGS_ERROR),
        ("setting 0x02 of HTTP/2", settings(&[0x02, 0]), code::SETTINGS_ERROR),
        ("setting 0x05 of HTTP/2", settings(&[0x05, 0]), code::SETTINGS_ERROR),
        ("datagrams twofold", settings(&[0x33, 2]), code::SETTINGS_ERROR),
        ("connect twofold", settings(&[0x08, 2]), code::SETTINGS_ERROR),
        ("half a setting", settings(&[0x06]), code::FRAME_ERROR),
        ("endless settings", settings(&[0; 5000]), code::EXCESSIVE_LOAD),
        ("PRIORITY", control(&[0x02, 0x00]), code::FRAME_UNEXPECTED),
        ("PING", control(&[0x06, 0x00]), code::FRAME_UNEXPECTED),
        ("WINDOW_UPDATE", control(&[0x08, 0x00]), code::FRAME_UNEXPECTED),
        ("CONTINUATION", control(&[0x09, 0x00]), code::FRAME_UNEXPECTED),
        ("DATA on control", control(&[0x00, 0x00]), code::FRAME_UNEXPECTED),
        ("HEADERS on control", control(&[0x01, 0x00]), code::FRAME_UNEXPECTED),
        ("PUSH_PROMISE on control", control(&[0x05, 0x00]), code::FRAME_UNEXPECTED),
        ("a growing goaway", control(&[0x07, 1, 1, 0x07, 1, 2]), code::ID_ERROR),
        ("a shrinking push limit", control(&[0x0d, 1, 2, 0x0d, 1, 1]), code::ID_ERROR),
        ("a cancelled push", control(&[0x03, 1, 0]), code::ID_ERROR),
        ("two numbers in a goaway", control(&[0x07, 2, 0, 0]), code::FRAME_ERROR),
        ("no number in a goaway", control(&[0x07, 0]), code::FRAME_ERROR),
        ("a long goaway", control(&[0x07, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]), code::FRAME_ERROR),
        ("a push stream", vec![0x01, 0x00], code::STREAM_CREATION_ERROR),
        ("table capacity 1", vec![0x02, 0x21], code::QPACK_ENCODER_STREAM_ERROR),
        ("an insert", vec![0x02, 0xc0, 0x00], code::QPACK_ENCODER_STREAM_ERROR),
        ("a duplicate", vec![0x02, 0x00], code::QPACK_ENCODER_STREAM_ERROR),
        ("a section acknowledgment", vec![0x03, 0x80], code::QPACK_DECODER_STREAM_ERROR),
        ("an insert count increment", vec![0x03, 0x01], code::QPACK_DECODER_STREAM_ERROR),
    ];
    for (what, bytes, code) in cases {
        in_time(async {
            let (_world, client, server) = against_server().await;
            let _stream = write_uni(&client, &bytes).await;
            assert_eq!(closed_with(&client).await, code, "{what}");
            let seen = server.accept().await;
            assert!(matches!(seen, Err(Error::Violation(fault)) if fault.code == code), "{what}: {seen:?}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_means_nothing_on_one_way_streams_is_ignored() {
    in_time(async {
        let (_world, client, server) = against_server().await;
        let settings = [&[0x00], &frame(0x04, &[0x3a, 5, 0x21, 7])[..]].concat();
        let unknown = frame(0x21, &[7; 70_000]);
        let _control =
            write_uni(&client, &[&settings[..], &unknown, &[0x0d, 1, 5, 0x07, 1, 3]].concat()).await;
        let _encoder = write_uni(&client, &[0x02, 0x20]).await;
        let _decoder = write_uni(&client, &[0x03, 0x44, 0x7f, 0x10]).await;
        let mut stray = write_uni(&client, &[0x21, 1, 2, 3]).await;
        let stopped = loop {
            if let Err(error) = stray.write(&[0; 100]).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(stopped, WriteError::Stopped(code::STREAM_CREATION_ERROR));
        // A stream that ends before it says what it is.
        write_uni(&client, &[0x40]).await.finish().unwrap();
        let _request = write_request(&client, &headers(GET), true).await;
        assert_eq!(server.accept().await.unwrap().unwrap().head.uri(), "https://localhost/");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn critical_streams_exist_once_and_never_end() {
    for kind in [0x00, 0x02, 0x03] {
        let bytes: &[u8] = if kind == 0 { HELLO } else { &[kind] };
        in_time(async {
            let (_world, client, _server) = against_server().await;
            let _first = write_uni(&client, bytes).await;
            let _second = write_uni(&client, bytes).await;
            assert_eq!(closed_with(&client).await, code::STREAM_CREATION_ERROR, "{kind}");

            let (_world, client, _server) = against_server().await;
            write_uni(&client, bytes).await.finish().unwrap();
            assert_eq!(closed_with(&client).await, code::CLOSED_CRITICAL_STREAM, "{kind} finished");

            let (_world, client, _server) = against_server().await;
            let mut stream = write_uni(&client, bytes).await;
            // The type has to arrive before the reset overtakes it.
            tokio::time::sleep(core::time::Duration::from_millis(50)).await;
            stream.reset(0);
            assert_eq!(closed_with(&client).await, code::CLOSED_CRITICAL_STREAM, "{kind} reset");

            let (_world, client, _server) = against_server().await;
            loop {
                let mut ours = client.accept_uni().await.unwrap();
                let mut first = [0];
                ours.read(&mut first).await.unwrap();
                if first == [kind] {
                    ours.stop(0);
                    break;
                }
                // Dropping it would stop it.
                core::mem::forget(ours);
            }
            assert_eq!(closed_with(&client).await, code::CLOSED_CRITICAL_STREAM, "{kind} stopped");
        })
        .await;
    }
    in_time(async {
        let (_world, client, _server) = against_server().await;
        write_uni(&client, &[0x00, 0x04, 0x05, 0x06]).await.finish().unwrap();
        assert_eq!(closed_with(&client).await, code::CLOSED_CRITICAL_STREAM, "within a frame");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_streams_that_break_framing_end_the_connection() {
    let after = |head: &[(&str, &str)], rest: &[u8]| [&headers(head)[..], rest].concat();
    let connect: &[(&str, &str)] = &[(":method", "CONNECT"), (":authority", "example.org:443")];
    let trailers = headers(&[("x", "y")]);
    let cases = [
        ("data first", frame(0x00, b"x"), code::FRAME_UNEXPECTED),
        ("settings", frame(0x04, b""), code::FRAME_UNEXPECTED),
        ("goaway", frame(0x07, b"\0"), code::FRAME_UNEXPECTED),
        ("cancel push", frame(0x03, b"\0"), code::FRAME_UNEXPECTED),
        ("max push id", frame(0x0d, b"\0"), code::FRAME_UNEXPECTED),
        ("push promise", frame(0x05, b"\0\0\0"), code::FRAME_UNEXPECTED),
        ("PRIORITY", frame(0x02, b""), code::FRAME_UNEXPECTED),
        ("PING", frame(0x06, b""), code::FRAME_UNEXPECTED),
        ("WINDOW_UPDATE", frame(0x08, b""), code::FRAME_UNEXPECTED),
        ("CONTINUATION", frame(0x09, b""), code::FRAME_UNEXPECTED),
        ("half a frame", vec![0x01, 0x10, 0x00], code::FRAME_ERROR),
        ("half a frame's head", vec![0x01], code::FRAME_ERROR),
        ("half a data frame", after(POST, &[0x00, 0x05, 1]), code::FRAME_ERROR),
        ("a dynamic entry", frame(0x01, &[0x03, 0x81, 0x10]), code::QPACK_DECOMPRESSION_FAILED),
        ("half a field", frame(0x01, &[0, 0, 0x51, 0x0b, 0x2f]), code::QPACK_DECOMPRESSION_FAILED),
        ("data after trailers", after(POST, &[&trailers[..], &[0, 1, 1]].concat()), code::FRAME_UNEXPECTED),
        ("trailers twice", after(POST, &[&trailers[..], &trailers].concat()), code::FRAME_UNEXPECTED),
        ("trailers in a tunnel", after(connect, &trailers), code::FRAME_UNEXPECTED),
    ];
    for (what, bytes, code) in cases {
        in_time(async {
            let (_world, client, server) = against_server().await;
            serve(server);
            let _streams = write_request(&client, &bytes, true).await;
            assert_eq!(closed_with(&client).await, code, "{what}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_end_their_stream_only() {
    in_time(async {
        let (_world, client, server) = against_server().await;
        serve(server);
        let upper = headers(&[GET, &[("Accept", "x")]].concat());
        let cases = [
            ("nothing", vec![], code::REQUEST_INCOMPLETE),
            ("unknown frames only", frame(0x21, b"xyz"), code::REQUEST_INCOMPLETE),
            ("no path", headers(&GET[..3]), code::MESSAGE_ERROR),
            ("upper case", upper, code::MESSAGE_ERROR),
            ("connection", headers(&[GET, &[("connection", "close")]].concat()), code::MESSAGE_ERROR),
        ];
        for (what, bytes, code) in cases {
            let (_send, mut recv) = write_request(&client, &bytes, true).await;
            assert_eq!(recv.read(&mut [0; 100]).await, Err(ReadError::Reset(code)), "{what}");
        }
        // The connection goes on, and unknown frames do no harm.
        let bytes = [&frame(0x21, &[9; 100_000])[..], &headers(GET), &frame(0x40 - 1, b"")].concat();
        let (_send, mut recv) = write_request(&client, &bytes, true).await;
        assert!(recv.read(&mut [0; 100]).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_and_its_announced_length_agree() {
    in_time(async {
        let (_world, client, server) = against_server().await;
        let announced = headers(&[POST, &[("content-length", "4")]].concat());
        let bad_trailers = headers(&[(":path", "/")]);
        let cases = [
            ("equal", [&announced[..], &frame(0, b"ab"), &frame(0, b"cd")].concat(), true),
            ("less", [&announced[..], &frame(0, b"abc")].concat(), false),
            ("more", [&announced[..], &frame(0, b"abc"), &frame(0, b"de")].concat(), false),
            ("trailers", [&announced[..], &frame(0, b"abcd"), &headers(&[("a", "b")])].concat(), true),
            ("pseudo trailers", [&announced[..], &frame(0, b"abcd"), &bad_trailers].concat(), false),
        ];
        for (what, bytes, fine) in cases {
            let (_send, _recv) = write_request(&client, &bytes, true).await;
            let mut request = server.accept().await.unwrap().unwrap();
            match request.receiver().read_to_end(100).await {
                Ok(all) => assert!(fine && all == b"abcd", "{what}"),
                Err(Error::Malformed(fault)) => assert!(!fine && fault.code == code::MESSAGE_ERROR, "{what}"),
                Err(other) => panic!("{what}: {other}"),
            }
            if what == "trailers" {
                assert_eq!(request.receiver().trailers().unwrap()["a"], "b");
            }
        }
        // While the client still sends, it is told to stop.
        let bytes = [&announced[..], &frame(0, b"abcde")].concat();
        let (mut send, _recv) = write_request(&client, &bytes, false).await;
        let mut request = server.accept().await.unwrap().unwrap();
        assert!(request.receiver().chunk().await.is_err());
        let stopped = loop {
            if let Err(error) = send.write(&[0; 100]).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(stopped, WriteError::Stopped(code::MESSAGE_ERROR));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_above_the_limit_is_answered_with_431() {
    in_time(async {
        let (_world, client, server) = against_server().await;
        serve(server);
        let long = "x".repeat(70_000);
        let wide: Vec<(&str, &str)> = vec![("a", "b"); 2000];
        for bytes in [headers(&[GET, &[("long", &long)]].concat()), headers(&[GET, &wide].concat())] {
            let (_send, mut recv) = write_request(&client, &bytes, true).await;
            let answer = recv.read_to_end(1000).await.unwrap();
            // One HEADERS frame: the static table's name of entry 24, and a value.
            assert_eq!(answer, b"\x01\x08\x00\x00\x5f\x09\x03431");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_that_name_no_stream_end_the_connection() {
    let too_large = 0xd000_0000_0000_0000_u64.to_be_bytes();
    for datagram in [&[0x40][..], &too_large] {
        in_time(async {
            let (_world, client, _server) = against_server().await;
            client.send_datagram(datagram).unwrap();
            assert_eq!(closed_with(&client).await, code::DATAGRAM_ERROR, "{datagram:?}");
        })
        .await;
    }
    in_time(async {
        let (_world, client, server) = against_server().await;
        // Without a context id, and for streams that never come: dropped, within bounds.
        client.send_datagram(&[0]).unwrap();
        for stream in 1..100u8 {
            client.send_datagram(&[0x40, stream, 0, 1]).unwrap();
        }
        let _request = write_request(&client, &headers(GET), true).await;
        server.accept().await.unwrap().unwrap();
        while server.stray_datagrams() < 1 + 99 - 64 {
            tokio::time::sleep(core::time::Duration::from_millis(5)).await;
        }
        assert_eq!(server.stray_datagrams(), 1 + 99 - 64);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_judged_by_the_rfc() {
    let control = |rest: &[u8]| [HELLO, rest].concat();
    let cases = [
        ("a push", vec![0x01, 0x00], code::ID_ERROR),
        ("a push limit", control(&[0x0d, 1, 0]), code::FRAME_UNEXPECTED),
        ("goaway for no request", control(&[0x07, 1, 1]), code::ID_ERROR),
        ("a growing goaway", control(&[0x07, 1, 4, 0x07, 1, 8]), code::ID_ERROR),
        ("a cancelled push", control(&[0x03, 1, 0]), code::ID_ERROR),
    ];
    for (what, bytes, code) in cases {
        in_time(async {
            let (_world, client, server) = against_client().await;
            let _stream = write_uni(&server, &bytes).await;
            assert_eq!(closed_with(&server).await, code, "{what}");
            drop(client);
        })
        .await;
    }
    in_time(async {
        let (_world, _client, server) = against_client().await;
        let _streams = write_request(&server, &headers(GET), true).await;
        assert_eq!(closed_with(&server).await, code::STREAM_CREATION_ERROR);

        let (_world, client, server) = against_client().await;
        let mut stream = client.request(request(Method::GET)).await.unwrap();
        let (mut send, _recv) = server.accept_bi().await.unwrap();
        send.write_all(&frame(0x05, &[0, 0, 0])).await.unwrap();
        let error = stream.response().await.unwrap_err();
        assert!(matches!(error, Error::Violation(fault) if fault.code == code::ID_ERROR), "{error}");
        assert_eq!(closed_with(&server).await, code::ID_ERROR);
        assert_eq!(client.peer_settings().await, Err(error));
    })
    .await;
}

fn request(method: Method) -> Request<()> {
    Request::builder().method(method).uri("https://localhost/").body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_are_taken_apart_or_refused() {
    let status = |status| headers(&[(":status", status)]);
    let length = headers(&[(":status", "200"), ("content-length", "5")]);
    let cases = [
        ("two interim ones", Method::GET, [status("103"), status("100"), status("204")].concat(), Ok(204)),
        ("none", Method::GET, vec![], Err(code::MESSAGE_ERROR)),
        ("interim only", Method::GET, status("103"), Err(code::MESSAGE_ERROR)),
        ("101", Method::GET, status("101"), Err(code::MESSAGE_ERROR)),
        ("no status", Method::GET, headers(&[("a", "b")]), Err(code::MESSAGE_ERROR)),
        (
            "a method",
            Method::GET,
            headers(&[(":status", "200"), (":method", "GET")]),
            Err(code::MESSAGE_ERROR),
        ),
        ("too many interim ones", Method::GET, status("103").repeat(40), Err(code::EXCESSIVE_LOAD)),
        ("length without content", Method::HEAD, length.clone(), Ok(200)),
        ("content after HEAD", Method::HEAD, [&length[..], &frame(0, b"12345")].concat(), Ok(599)),
    ];
    for (what, method, bytes, verdict) in cases {
        in_time(async {
            let (_world, client, server) = against_client().await;
            let mut stream = client.request(request(method)).await.unwrap();
            let (mut send, _recv) = server.accept_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
            match (stream.response().await, verdict) {
                (Ok(response), Ok(599)) => {
                    assert_eq!(response.status(), 200, "{what}");
                    assert!(matches!(stream.receiver().chunk().await, Err(Error::Malformed(_))), "{what}");
                }
                (Ok(response), Ok(status)) => {
                    assert_eq!(response.status(), status, "{what}");
                    assert_eq!(stream.receiver().chunk().await, Ok(None), "{what}");
                }
                (Err(Error::Malformed(fault) | Error::Violation(fault)), Err(code)) => {
                    assert_eq!(fault.code, code, "{what}");
                }
                (other, _) => panic!("{what}: {other:?}"),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_asks_for_nothing_that_the_server_did_not_offer() {
    in_time(async {
        let (_world, client, server) = against_client().await;
        // A limit of 200 bytes, no extended CONNECT, no datagrams; then it goes away.
        let mut control = write_uni(&server, &[0x00, 0x04, 0x03, 0x06, 0x40, 200]).await;
        let settings = client.peer_settings().await.unwrap();
        assert_eq!((settings.max_field_section_size, settings.extended_connect), (200, false));
        let tunnel = connect_ip::Scope::ANY.request("localhost").unwrap();
        assert!(matches!(client.request(tunnel).await, Err(Error::Unsupported(_))));
        let mut large = request(Method::GET);
        large.headers_mut().insert("x", "y".repeat(200).parse().unwrap());
        assert!(matches!(client.request(large).await, Err(Error::TooLarge)));
        let stream = client.request(request(Method::GET)).await.unwrap();
        assert_eq!(stream.datagrams().max_payload(0), None);
        assert!(stream.datagrams().send(0, b"x").is_err());
        control.write_all(&[0x07, 1, 4]).await.unwrap();
        while client.request(request(Method::GET)).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(client.request(request(Method::GET)).await, Err(Error::GoingAway)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_away_finishes_what_began_and_refuses_the_rest() {
    in_time(async {
        let world = World::new();
        let (near, far) = world.connect().await;
        let server = Server::start(far).await.unwrap();
        let _control = write_uni(&near, HELLO).await;
        let (_send, mut recv) = write_request(&near, &headers(GET), true).await;
        let first = server.accept().await.unwrap().unwrap();
        server.goaway();
        let (_late_send, mut late) = write_request(&near, &headers(GET), true).await;
        assert_eq!(late.read(&mut [0; 10]).await, Err(ReadError::Reset(code::REQUEST_REJECTED)));
        let over = tokio::spawn(async move { server.accept().await.unwrap().is_none() });
        let (mut send, _) = first.respond(Response::new(())).await.unwrap();
        send.send(b"done").await.unwrap();
        send.finish().unwrap();
        drop(send);
        let answer = recv.read_to_end(1000).await.unwrap();
        assert!(answer.ends_with(b"done"));
        assert!(over.await.unwrap());
        assert_eq!(closed_with(&near).await, code::NO_ERROR);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_for_a_request_that_gives_it_no_meaning_ends_the_request_alone() {
    for early in [false, true] {
        in_time(async {
            let (_world, client, server) = against_server().await;
            let datagram = [0, 0, 7];
            if early {
                client.send_datagram(&datagram).unwrap();
            }
            let (mut send, mut recv) = write_request(&client, &headers(GET), false).await;
            if !early {
                let mut request = server.accept().await.unwrap().unwrap();
                client.send_datagram(&datagram).unwrap();
                assert_eq!(request.receiver().chunk().await, Err(Error::Finished));
                assert!(request.datagrams().send(0, b"back").is_err());
            }
            let told = recv.read(&mut [0; 10]).await;
            assert_eq!(told, Err(ReadError::Reset(code::DATAGRAM_ERROR)), "early: {early}");
            let stopped = loop {
                if let Err(error) = send.write(b"x").await {
                    break error;
                }
                tokio::time::sleep(core::time::Duration::from_millis(5)).await;
            };
            assert_eq!(stopped, WriteError::Stopped(code::DATAGRAM_ERROR));
            // Others are served.
            let _second = write_request(&client, &headers(GET), true).await;
            while server.accept().await.unwrap().unwrap().id().0 != 4 {}
        })
        .await;
    }
}
