use super::{BLOCK_BYTES, ReceiveBatch, SKIPS_MAX, Train, past_disturbances};
use crate::address::Name;
use crate::cmsg::Control;
use crate::sys::Arrival;
use mpquic_base::Ecn;
use std::io;

#[test]
fn a_train_is_cut_by_the_size_that_came_with_it() {
    let mut batch = ReceiveBatch::new();
    batch.trains[1] = Train { len: 2500, segment: 1200, ecn: Ecn::Ce, ..Train::EMPTY };
    batch.trains[2] = Train { len: 5, segment: 5, ..Train::EMPTY };
    batch.blocks[BLOCK_BYTES + 1200] = 42;
    let mut lengths = Vec::new();
    for (train, datagrams) in batch.trains() {
        lengths.extend(datagrams.map(|bytes| (bytes.len(), train.ecn)));
    }
    let expected = [(1200, Ecn::Ce), (1200, Ecn::Ce), (100, Ecn::Ce), (5, Ecn::NotEct)];
    assert_eq!(lengths, expected);
    batch.trains().flat_map(|(_, datagrams)| datagrams).for_each(|bytes| bytes[0] += 1);
    assert_eq!(batch.blocks[BLOCK_BYTES + 1200], 43, "mutable in place");
}

#[test]
fn a_cut_arrival_and_one_from_nowhere_are_not_delivered() {
    let bound = "127.0.0.1:9".parse().unwrap();
    let whole = Arrival { name: Name::new(bound), control: Control::EMPTY, len: 10, cut: false };
    assert_eq!(Train::new(&whole, bound).unwrap().datagrams(), 1);
    assert!(Train::new(&Arrival { cut: true, ..whole }, bound).is_none());
    assert!(Train::new(&Arrival { name: Name::EMPTY, ..whole }, bound).is_none());
    let empty = Train::new(&Arrival { len: 0, ..whole }, bound).unwrap();
    assert_eq!(empty.datagrams(), 0, "an empty datagram is nothing to route");
}

#[test]
fn icmp_reports_are_skipped_and_what_waits_behind_them_is_received() {
    let mut answers = [Err(libc::ECONNREFUSED), Err(libc::EINTR), Err(libc::EHOSTUNREACH), Ok(3)].into_iter();
    let received = past_disturbances(|| answers.next().unwrap().map_err(io::Error::from_raw_os_error));
    assert_eq!(received.unwrap(), 3);
}

#[test]
fn an_endless_row_of_reports_ends_the_call_and_a_broken_socket_is_an_error() {
    let mut calls = 0;
    let received = past_disturbances(|| {
        calls += 1;
        Err(io::Error::from_raw_os_error(libc::ECONNREFUSED))
    });
    assert_eq!((received.unwrap(), calls), (0, SKIPS_MAX));
    assert!(past_disturbances(|| Err(io::Error::from_raw_os_error(libc::EBADF))).is_err());
    let empty = past_disturbances(|| Err(io::Error::from_raw_os_error(libc::EAGAIN)));
    assert_eq!(empty.unwrap(), 0);
}
