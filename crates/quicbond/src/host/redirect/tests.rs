use super::{bind_redirect_listeners, original_destination};
use std::io;
use std::net::TcpStream;

#[test]
fn both_families_listen_on_one_port() {
    let listeners = bind_redirect_listeners().unwrap();
    assert_ne!(listeners.port, 0);
    assert_eq!(listeners.v4.local_addr().unwrap().port(), listeners.port);
    if let Some(v6) = &listeners.v6 {
        assert_eq!(v6.local_addr().unwrap().port(), listeners.port);
    }
}

#[test]
fn a_connection_to_the_listener_itself_has_no_original_destination() {
    let listeners = bind_redirect_listeners().unwrap();
    listeners.v4.set_nonblocking(false).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", listeners.port)).unwrap();
    let (accepted, _) = listeners.v4.accept().unwrap();
    let error = original_destination(&accepted).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    drop(stream);
}
