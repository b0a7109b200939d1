use super::{AskError, Request, Response, Role, Socket, State, Status, ask};
use crate::scratch::Scratch;
use core::time::Duration;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Runtime;

fn handler(request: Request) -> Response {
    match request {
        Request::Status => Response::Status(Box::new(Status::new(Role::Server, State::Serving))),
        Request::Reload => Response::Done { message: "read again".to_owned() },
        Request::Stop => Response::Failed { why: "not now".to_owned() },
    }
}

/// A daemon on a runtime of its own; it stops when the value is dropped.
struct Daemon {
    _runtime: Runtime,
    path: PathBuf,
}

impl Daemon {
    fn new(scratch: &Scratch) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let path = scratch.path("c.sock");
        let socket = runtime.block_on(async { Socket::bind(&path) }).unwrap();
        runtime.spawn(socket.serve(handler));
        Self { _runtime: runtime, path }
    }
}

fn bind(path: &Path) -> Result<Socket, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Socket::bind(path) }).map_err(|error| error.to_string())
}

#[test]
fn every_request_gets_its_answer() {
    let scratch = Scratch::new();
    let daemon = Daemon::new(&scratch);
    for request in [Request::Status, Request::Reload, Request::Stop] {
        assert_eq!(ask(&daemon.path, request), Ok(handler(request)));
    }
    assert_eq!(fs::metadata(&daemon.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_caller_may_ask_again_and_nonsense_is_answered_in_words() {
    let scratch = Scratch::new();
    let daemon = Daemon::new(&scratch);
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"{\"request\":\"reload\"}\n{\"request\":\"dance\"}\nhello\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0], "{\"response\":\"done\",\"message\":\"read again\"}");
    assert!(lines[1].contains("\"failed\"") && lines[1].contains("dance"), "{text}");
    assert!(lines[2].contains("this is no request"), "{text}");
}

#[test]
fn a_request_without_end_is_cut_off() {
    let scratch = Scratch::new();
    let daemon = Daemon::new(&scratch);
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The daemon hangs up in the middle: the rest may not be taken.
    stream.write_all(&vec![b'x'; 100_000]).ok();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok();
    assert!(text.len() < 1000, "one short answer at most");
    assert_eq!(ask(&daemon.path, Request::Reload), Ok(handler(Request::Reload)), "others are served");
}

#[test]
fn a_whole_request_without_its_line_end_is_not_carried_out() {
    let scratch = Scratch::new();
    let path = scratch.path("c.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let socket = runtime.block_on(async { Socket::bind(&path) }).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    runtime.spawn(socket.serve(move |request| {
        counter.fetch_add(1, Ordering::SeqCst);
        handler(request)
    }));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"{\"request\":\"stop\"}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), calls.load(Ordering::SeqCst)), ("", 0));
}

#[test]
fn silent_callers_do_not_keep_others_out_for_long() {
    let scratch = Scratch::new();
    let daemon = Daemon::new(&scratch);
    let silent: Vec<UnixStream> = (0..7).map(|_| UnixStream::connect(&daemon.path).unwrap()).collect();
    assert_eq!(ask(&daemon.path, Request::Reload), Ok(handler(Request::Reload)));
    drop(silent);
}

#[test]
fn the_file_goes_with_the_daemon_and_nobody_answers_then() {
    let scratch = Scratch::new();
    let daemon = Daemon::new(&scratch);
    let path = daemon.path.clone();
    drop(daemon);
    assert!(!path.exists());
    assert_eq!(ask(&path, Request::Status), Err(AskError::NobodyThere));
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let scratch = Scratch::new();
    let path = scratch.path("c.sock");
    // A listener of the standard library leaves its file behind, as a crash does.
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(ask(&path, Request::Status), Err(AskError::NobodyThere));
    let living = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(error.contains("another quicbond answers there"), "{error}");
    assert!(path.exists());
    drop(living);
    assert!(!path.exists());
}

#[test]
fn somebody_elses_file_is_neither_replaced_nor_removed() {
    let scratch = Scratch::new();
    let path = scratch.path("c.sock");
    fs::write(&path, "precious").unwrap();
    assert!(bind(&path).unwrap_err().contains("no socket"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    let socket = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(socket);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn the_folder_is_made_for_the_owner_only_and_an_open_one_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("run").join("c.sock");
    drop(bind(&path).unwrap());
    assert_eq!(fs::metadata(scratch.path("run")).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(scratch.path("run"), Permissions::from_mode(0o777)).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(error.contains("other users can write to its folder"), "{error}");
}

#[test]
fn a_stranger_gets_no_answer() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let scratch = Scratch::new();
    let daemon = Daemon::new(&scratch);
    // Open every door but the one under test.
    fs::set_permissions(scratch.folder(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&daemon.path, Permissions::from_mode(0o666)).unwrap();
    let script = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect('{}')\n\
         s.sendall(b'{{\"request\":\"status\"}}\\n'); print(len(s.recv(10)))",
        daemon.path.display()
    );
    let mut command = std::process::Command::new("python3");
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    let Ok(output) = command.args(["-c", &script]).output() else {
        println!("skipped: needs python3");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        out.trim() == "0" || err.contains("Connection reset") || err.contains("Broken pipe"),
        "{out}{err}"
    );
}

#[test]
fn a_daemon_that_says_nothing_is_given_up() {
    let scratch = Scratch::new();
    let path = scratch.path("c.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    assert_eq!(ask(&path, Request::Status), Err(AskError::Silent));
}

#[test]
fn being_gone_is_the_answer_to_a_stop() {
    let scratch = Scratch::new();
    let path = scratch.path("c.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut line = [0; 64];
            assert!(listener.accept().unwrap().0.read(&mut line).unwrap() > 0);
        }
    });
    assert!(matches!(ask(&path, Request::Stop), Ok(Response::Done { .. })));
    assert!(matches!(ask(&path, Request::Status), Err(AskError::Broken(_))));
    daemon.join().unwrap();
}

#[test]
fn the_status_of_another_version_is_understood() {
    let text = "{\"response\":\"status\",\"role\":\"client\",\"version\":\"9.9\",\"later\":{},\
                \"links\":[{\"name\":\"eth0\",\"colour\":1}]}";
    let Response::Status(status) = serde_json::from_str(text).unwrap() else { panic!("no status") };
    assert_eq!(
        (status.role, status.version.as_str(), status.links[0].name.as_str()),
        (Role::Client, "9.9", "eth0")
    );
    let whole = Response::Status(status);
    assert_eq!(serde_json::from_str::<Response>(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
}
