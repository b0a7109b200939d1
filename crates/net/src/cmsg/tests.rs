use super::{CONTROL_BYTES, Control, HEADER, Incoming, Messages, WORD};
use core::time::Duration;
use mpquic_base::{Ecn, Rng};
use std::net::{IpAddr, Ipv4Addr};

#[test]
fn the_framing_is_the_systems_own() {
    // SAFETY: both macros only compute with the size they are given.
    #[allow(unsafe_code, reason = "compares our framing with the C library's")]
    let (len, space) = unsafe { (libc::CMSG_LEN(12), libc::CMSG_SPACE(12)) };
    let control = Control::outgoing("192.0.2.1".parse().unwrap(), false, Ecn::NotEct);
    assert_eq!(control.as_slice().len(), space as usize);
    assert_eq!(control.as_slice()[..WORD], (len as usize).to_ne_bytes());
}

#[test]
fn source_mark_and_segment_read_back() {
    for (local, v6) in [("192.0.2.1", false), ("2001:db8::1", true)] {
        let local: IpAddr = local.parse().unwrap();
        let control = Control::outgoing(local, v6, Ecn::Ce).with_segment(1200);
        let incoming = Incoming::read(&control);
        assert_eq!((incoming.local, incoming.ecn, incoming.interface), (Some(local), Ecn::Ce, 0));
        let last = Messages(control.as_slice()).last().unwrap();
        assert_eq!(last, (libc::SOL_UDP, libc::UDP_SEGMENT, &1200u16.to_ne_bytes()[..]));
    }
}

#[test]
fn times_are_written_and_read_as_the_kernel_means_them() {
    let all =
        Control::outgoing("2001:db8::1".parse().unwrap(), true, Ecn::Ect0).with_departure(7_000_000_001);
    let full = all.with_segment(1200);
    assert!(full.as_slice().len() <= CONTROL_BYTES);
    let found = Messages(full.as_slice()).find(|(_, kind, _)| *kind == libc::SCM_TXTIME).unwrap();
    assert_eq!(found, (libc::SOL_SOCKET, libc::SCM_TXTIME, &7_000_000_001u64.to_ne_bytes()[..]));
    let mut control = Control::EMPTY;
    let stamp = [1_700_000_000i64.to_ne_bytes(), 250i64.to_ne_bytes()].concat();
    control.push(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS_NEW, &stamp);
    assert_eq!(Incoming::read(&control).at, Some(Duration::new(1_700_000_000, 250)));
    for (seconds, nanos) in [(-1i64, 0i64), (1, -1), (1, 1_000_000_000)] {
        let mut control = Control::EMPTY;
        let stamp = [seconds.to_ne_bytes(), nanos.to_ne_bytes()].concat();
        control.push(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS_NEW, &stamp);
        assert_eq!(Incoming::read(&control).at, None, "{seconds} {nanos}");
    }
}

#[test]
fn nothing_is_said_where_there_is_nothing_to_say() {
    let control = Control::outgoing(Ipv4Addr::UNSPECIFIED.into(), false, Ecn::NotEct);
    assert!(control.as_slice().is_empty());
    assert_eq!(Incoming::read(&control), Incoming::default());
}

#[test]
fn one_byte_and_four_byte_marks_are_both_understood() {
    let mut control = Control::EMPTY;
    control.push(libc::IPPROTO_IP, libc::IP_TOS, &[0xb9]);
    control.push(libc::SOL_UDP, libc::UDP_GRO, &1400i32.to_ne_bytes());
    let incoming = Incoming::read(&control);
    assert_eq!((incoming.ecn, incoming.segment), (Ecn::Ect1, 1400));
    let mut control = Control::EMPTY;
    control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &0xba_i32.to_ne_bytes());
    assert_eq!(Incoming::read(&control).ecn, Ecn::Ect0);
}

#[test]
fn lengths_that_lie_end_the_reading() {
    for len in [0, 1, HEADER - 1, 4000, usize::MAX] {
        let mut control = Control::outgoing("192.0.2.1".parse().unwrap(), false, Ecn::Ce);
        control.room()[..WORD].copy_from_slice(&len.to_ne_bytes());
        assert_eq!(Incoming::read(&control), Incoming::default(), "length {len}");
    }
    for seed in 0..2000 {
        let mut rng = Rng::from_number(seed);
        let mut control = Control::EMPTY;
        rng.fill(control.room());
        for at in (0..CONTROL_BYTES).step_by(HEADER) {
            if rng.chance(0.7) {
                let len = usize::try_from(rng.below(64)).unwrap();
                control.room()[at..at + WORD].copy_from_slice(&len.to_ne_bytes());
            }
        }
        control.set_len(usize::try_from(rng.below(200)).unwrap());
        let messages = Messages(control.as_slice()).count();
        assert!(messages <= CONTROL_BYTES / HEADER, "seed {seed}");
    }
}
