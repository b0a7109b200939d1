//! A sender that has used up what its peer granted it (RFC 9000 §4.1).

use crate::rig::{Duo, client_address, ms};
use mpquic_base::{Dir, StreamId};
use mpquic_proto::{Admission, Read, TransportConfig};
use std::net::SocketAddr;

const WINDOW: u64 = 10_000;

/// A client that wants to send three times what `stream` and `connection` let it, has sent what it may, and knows that
/// it arrived.
fn blocked(stream: u64, connection: u64) -> (Duo, StreamId) {
    client_blocked(TransportConfig::default(), stream, connection)
}

fn client_blocked(client: TransportConfig, stream: u64, connection: u64) -> (Duo, StreamId) {
    let server = TransportConfig {
        initial_stream_window: stream,
        stream_window_max: stream,
        initial_connection_window: connection,
        connection_window_max: connection,
        ..TransportConfig::default()
    };
    let mut duo = Duo::unlike(client, server, Admission::default());
    duo.wait(ms(300));
    let id = duo.connection().open(Dir::Uni).unwrap();
    assert_eq!(duo.connection().write(id, &[7; 3 * WINDOW as usize]).unwrap(), 3 * WINDOW as usize);
    duo.wait(ms(100));
    assert_eq!(duo.server_connection().accept(Dir::Uni), Some(id));
    (duo, id)
}

fn read(duo: &mut Duo, id: StreamId) -> usize {
    let (mut read, mut buffer) = (0, [0; 4096]);
    while let Ok(Read::Data(n)) = duo.server_connection().read(id, &mut buffer) {
        read += n;
    }
    read
}

/// The client as its NAT shows it, after it has moved it.
fn outside() -> SocketAddr {
    SocketAddr::new(client_address().ip(), 7)
}

/// One round trip behind that NAT. What goes to where the client was is lost.
fn exchange(duo: &mut Duo) {
    let (mut up, mut down) = (duo.client_says(), duo.server_says());
    up.iter_mut().for_each(|p| p.tuple.local = outside());
    down.retain(|p| p.tuple.peer == outside());
    down.iter_mut().for_each(|p| p.tuple.peer = client_address());
    duo.tell_server(up);
    duo.tell_client(down);
}

#[test]
fn a_sender_without_credit_that_its_nat_has_moved_asks_and_is_found() {
    for (stream, connection) in [(WINDOW, 10 * WINDOW), (10 * WINDOW, WINDOW)] {
        let (mut duo, id) = blocked(stream, connection);
        let (begun, mut got) = (duo.now, 0);
        while got < 3 * WINDOW as usize {
            got += read(&mut duo, id);
            exchange(&mut duo);
            duo.wait_alone(ms(10));
            assert!(duo.now.since(begun) < ms(3000), "{got} arrived");
        }
    }
}

#[test]
fn a_sender_without_credit_keeps_its_connection_open_and_asks_more_and_more_rarely() {
    let (mut duo, id) = blocked(WINDOW, 10 * WINDOW);
    let asked = |duo: &mut Duo, span: u64| {
        let said = |duo: &Duo| duo.client.peek(duo.id).unwrap().counters().datagrams_sent;
        let before = said(duo);
        duo.wait(ms(span));
        said(duo) - before
    };
    let (first, later) = (asked(&mut duo, 2_000), asked(&mut duo, 120_000));
    assert!((2..12).contains(&first), "{first} in 2 s");
    assert!((12..30).contains(&later), "{later} in 120 s");
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
    // Credit came, and is used up again: whatever happens now is news.
    assert_eq!(read(&mut duo, id), WINDOW as usize);
    duo.wait(ms(100));
    let again = asked(&mut duo, 2_000);
    assert!((2..12).contains(&again), "{again} in 2 s");
}

#[test]
fn the_questions_of_a_sender_without_credit_come_before_a_short_idle_timeout() {
    let hasty = TransportConfig { max_idle_timeout: ms(4000), ..TransportConfig::default() };
    let (mut duo, _) = client_blocked(hasty, WINDOW, 10 * WINDOW);
    duo.wait(ms(120_000));
    assert_eq!((duo.client_ended(), duo.server_ended()), (None, None));
}

#[test]
fn a_question_for_credit_that_cannot_be_sent_yet_waits_without_a_clock() {
    let (mut duo, _) = blocked(WINDOW, 10 * WINDOW);
    while duo.connection().path_stats().any(|path| path.in_flight > 0) {
        duo.wait(ms(1));
    }
    for _ in 0..300 {
        duo.now += ms(50);
        let now = duo.now;
        duo.connection().expire(now);
        assert!(duo.connection().deadline().is_none_or(|at| at > now), "busy at {now:?}");
    }
    assert!(!duo.client_says().is_empty());
}
