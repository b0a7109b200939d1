//! Closing answers ever more rarely, draining is silent, and both end.

use super::{Close, CloseFrame};
use crate::event::CloseReason;
use mpquic_base::{Duration, Time};
use mpquic_wire::{Code, Frame};

const NOW: Time = Time::from_millis(50);
const THREE_PTOS: Duration = Duration::from_millis(300);
const END: Time = Time::from_millis(350);

fn application() -> CloseFrame {
    CloseFrame::Application { code: 7, reason: b"secret".to_vec() }
}

fn closing() -> Close {
    let mut close = Close::Open;
    close.start(NOW, application(), THREE_PTOS);
    close
}

#[test]
fn an_open_connection_says_nothing_and_never_ends_by_itself() {
    let mut close = Close::Open;
    close.on_packet();
    assert!(close.take_due().is_none());
    assert_eq!(close.deadline(), None);
    close.expire(Time::NEVER);
    assert!(close.is_open() && !close.is_done());
}

#[test]
fn a_close_is_said_at_once_and_once() {
    let mut close = closing();
    assert!(!close.is_open() && !close.is_done());
    assert!(matches!(close.take_due(), Some(CloseFrame::Application { code: 7, .. })));
    assert!(close.take_due().is_none());
}

#[test]
fn a_talkative_peer_is_answered_after_1_2_4_8_packets_and_so_on() {
    let mut close = closing();
    assert!(close.take_due().is_some());
    let answered: Vec<u32> = (1..=100)
        .filter(|_| {
            close.on_packet();
            close.take_due().is_some()
        })
        .collect();
    assert_eq!(answered, [1, 3, 7, 15, 31, 63]);
}

#[test]
fn answers_that_could_not_leave_do_not_pile_up() {
    let mut close = closing();
    for _ in 0..100 {
        close.on_packet();
    }
    assert!(close.take_due().is_some());
    assert!(close.take_due().is_none());
}

#[test]
fn draining_says_nothing_whatever_arrives() {
    let mut close = Close::Open;
    close.drain(NOW, THREE_PTOS);
    for _ in 0..100 {
        close.on_packet();
        assert!(close.take_due().is_none());
    }
    assert!(!close.is_open() && !close.is_done());
}

#[test]
fn a_close_that_waits_to_be_said_is_dropped_when_the_peer_closes_too() {
    let mut close = closing();
    close.drain(NOW + THREE_PTOS / 2, THREE_PTOS);
    assert!(close.take_due().is_none());
    assert_eq!(close.deadline(), Some(END), "the peer's close does not prolong the end");
    close.drain(NOW + THREE_PTOS / 2, THREE_PTOS);
    assert_eq!(close.deadline(), Some(END), "nor does its repetition");
}

#[test]
fn closing_and_draining_both_end_after_three_ptos() {
    let mut draining = Close::Open;
    draining.drain(NOW, THREE_PTOS);
    for mut close in [closing(), draining] {
        assert_eq!(close.deadline(), Some(END));
        close.expire(END - Duration::from_nanos(1));
        assert!(!close.is_done());
        close.expire(END);
        assert!(close.is_done() && !close.is_open());
        assert_eq!(close.deadline(), None);
        close.on_packet();
        assert!(close.take_due().is_none());
        close.drain(END, THREE_PTOS);
        assert!(close.is_done(), "an end is final");
    }
}

#[test]
fn before_the_handshake_is_done_an_application_close_tells_neither_code_nor_reason() {
    let close = application();
    let Frame::ConnectionClose { code, frame_type, reason } = close.frame(false) else {
        panic!("no close frame");
    };
    assert_eq!((code, frame_type, reason), (Code::APPLICATION_ERROR.0, Some(0), &b""[..]));
    let Frame::ConnectionClose { code, frame_type, reason } = close.frame(true) else {
        panic!("no close frame");
    };
    assert_eq!((code, frame_type, reason), (7, None, &b"secret"[..]));
    assert!(matches!(close.reason(), CloseReason::Local(7)));
}

#[test]
fn a_violation_is_told_alike_before_and_after_the_handshake() {
    let close = CloseFrame::Transport { code: Code::PROTOCOL_VIOLATION, why: "a rule" };
    for one_rtt in [false, true] {
        let Frame::ConnectionClose { code, frame_type, reason } = close.frame(one_rtt) else {
            panic!("no close frame");
        };
        assert_eq!((code, frame_type, reason), (Code::PROTOCOL_VIOLATION.0, Some(0), &b"a rule"[..]));
    }
    assert!(matches!(
        close.reason(),
        CloseReason::Violation { code: Code::PROTOCOL_VIOLATION, why: "a rule" }
    ));
}

#[test]
fn what_is_owed_below_1_rtt_is_said_once_and_no_more_when_the_peer_has_closed() {
    let mut close = closing();
    assert!(close.take_below().is_none());
    close.owe_below();
    assert!(close.take_below().is_some());
    assert!(close.take_below().is_none());
    close.owe_below();
    close.drain(NOW, THREE_PTOS);
    assert!(close.take_below().is_none());
}
