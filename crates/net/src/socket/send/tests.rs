use super::{Batch, Kernel, Stopped, send_out};
use mpquic_base::Ecn;
use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;

/// A kernel that follows a script: an error number, or how many datagrams a call may take.
#[derive(Default)]
struct Script {
    answers: VecDeque<Result<usize, i32>>,
    whole: Vec<usize>,
    each: Vec<usize>,
    out: Vec<u8>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<usize, i32>>) -> Self {
        Self { answers: answers.into_iter().collect(), ..Self::default() }
    }

    fn answer(&mut self) -> io::Result<usize> {
        self.answers.pop_front().unwrap_or(Ok(usize::MAX)).map_err(io::Error::from_raw_os_error)
    }
}

impl Kernel for Script {
    fn send_whole(&mut self, bytes: &[u8], _segment: u16) -> io::Result<()> {
        self.whole.push(bytes.len());
        self.answer()?;
        self.out.extend(bytes);
        Ok(())
    }

    fn send_each(&mut self, bytes: &[u8], segment: u16) -> io::Result<usize> {
        self.each.push(bytes.len());
        let may = self.answer()?;
        let took = bytes.chunks(segment.into()).take(may.min(64)).inspect(|d| self.out.extend(*d)).count();
        Ok(took)
    }
}

fn send(bytes: &[u8], segment: u16, gso: &mut bool, script: &mut Script) -> Result<(), Stopped> {
    let local = Ipv4Addr::UNSPECIFIED.into();
    let peer = "127.0.0.1:1".parse().unwrap();
    send_out(&Batch { bytes, segment, local, peer, ecn: Ecn::NotEct }, gso, script)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_full_socket_keeps_the_whole_batch_with_gso() {
    let bytes = pattern(10 * 1200 + 7);
    let mut script = Script::new([Err(libc::EAGAIN)]);
    let stopped = send(&bytes, 1200, &mut true, &mut script).unwrap_err();
    assert!(stopped.is_blocked());
    assert_eq!((stopped.sent, script.out.len(), script.each.len()), (0, 0, 0));
}

#[test]
fn without_gso_a_full_socket_says_how_many_left_and_the_rest_continues_from_there() {
    let bytes = pattern(10 * 1200 + 7);
    let mut script = Script::new([Ok(3), Ok(1), Err(libc::EAGAIN)]);
    let mut gso = false;
    let stopped = send(&bytes, 1200, &mut gso, &mut script).unwrap_err();
    assert!(stopped.is_blocked());
    assert_eq!(stopped.sent, 4);
    send(&bytes[stopped.sent * 1200..], 1200, &mut gso, &mut script).unwrap();
    assert_eq!(script.out, bytes);
}

#[test]
fn a_route_that_cannot_segment_loses_nothing_and_is_remembered() {
    for refusal in [libc::EIO, libc::EINVAL] {
        let bytes = pattern(5 * 1000 + 10);
        let mut script = Script::new([Err(refusal), Ok(2)]);
        let mut gso = true;
        send(&bytes, 1000, &mut gso, &mut script).unwrap();
        assert_eq!(script.out, bytes);
        assert!(!gso);
        send(&bytes, 1000, &mut gso, &mut script).unwrap();
        assert_eq!(script.whole.len(), 1, "no second try with segmentation");
    }
}

#[test]
fn gso_is_not_blamed_for_what_fails_without_it_too() {
    let bytes = pattern(5000);
    for also in [libc::EMSGSIZE, libc::EINVAL, libc::EAGAIN] {
        let mut gso = true;
        let mut script = Script::new([Err(libc::EINVAL), Err(also)]);
        let stopped = send(&bytes, 1000, &mut gso, &mut script).unwrap_err();
        assert_eq!((stopped.sent, stopped.cause.raw_os_error()), (0, Some(also)));
        assert!(gso);
    }
}

#[test]
fn a_single_datagram_is_never_tried_twice_over_segmentation() {
    let mut gso = true;
    let mut script = Script::new([Err(libc::EINVAL)]);
    assert!(send(&pattern(1200), 1200, &mut gso, &mut script).is_err());
    assert_eq!((script.whole.len(), script.each.len(), gso), (1, 0, true));
}

#[test]
fn a_batch_beyond_the_limits_of_one_call_takes_several() {
    let bytes = pattern(65_536);
    let mut script = Script::default();
    send(&bytes, 1200, &mut true, &mut script).unwrap();
    assert_eq!(script.whole, [54 * 1200, 736]);
    let mut script = Script::default();
    send(&bytes[..10_000], 100, &mut true, &mut script).unwrap();
    assert_eq!(script.whole, [6400, 3600]);
    assert_eq!(script.out, bytes[..10_000]);
}

#[test]
fn a_segment_of_zero_or_an_empty_batch_ends() {
    let mut script = Script::default();
    send(&[], 1200, &mut true, &mut script).unwrap();
    assert!(script.whole.is_empty());
    send(&pattern(130), 0, &mut true, &mut script).unwrap();
    assert_eq!(script.out, pattern(130));
}

#[test]
fn signals_and_old_icmp_answers_do_not_stop_a_batch_but_not_for_ever() {
    let bytes = pattern(3000);
    let mut script = Script::new([Err(libc::EINTR), Err(libc::ECONNREFUSED)]);
    send(&bytes, 1000, &mut true, &mut script).unwrap();
    assert_eq!(script.out, bytes);
    let mut script = Script::new([Err(libc::ECONNREFUSED); 20]);
    let stopped = send(&bytes, 1000, &mut true, &mut script).unwrap_err();
    assert!(!stopped.is_blocked());
}
