//! Key updates of both ends, late packets and forgeries, with keys that anybody can see through.

use super::{NEXT_AFTER, OneRttKeys};
use crate::crypto::{DirectionKeys, Forged, HeaderKey, LevelKeys, NextPhase, PacketKey, PhaseKeys};
use mpquic_base::{Duration, PathId, Time};
use mpquic_wire::Code;

const PATH: PathId = PathId(0);
const KEEP: Duration = Duration::from_millis(300);
const SEAL_LIMIT: u64 = 80;
const FORGERY_LIMIT: u64 = 5;

/// The tag is one byte: which end sealed, and in which generation of keys.
#[derive(Clone, Copy)]
struct Tag(u8);

const OURS: u8 = 0x40;
const PEERS: u8 = 0x80;

impl PacketKey for Tag {
    fn seal(&self, _: PathId, _: u64, _: &[u8], payload: &mut [u8]) {
        *payload.last_mut().unwrap() = self.0;
    }
    fn open(&self, _: PathId, _: u64, _: &[u8], payload: &mut [u8]) -> Result<usize, Forged> {
        if payload.last() == Some(&self.0) { Ok(payload.len() - 1) } else { Err(Forged) }
    }
    fn tag_len(&self) -> usize {
        1
    }
    fn confidentiality_limit(&self) -> u64 {
        SEAL_LIMIT
    }
    fn integrity_limit(&self) -> u64 {
        FORGERY_LIMIT
    }
}

/// Header protection is none of this test's business.
struct Bare;

impl HeaderKey for Bare {
    fn sample_len(&self) -> usize {
        0
    }
    fn protect(&self, _: &[u8], _: &mut u8, _: &mut [u8]) {}
    fn unprotect(&self, _: &[u8], _: &mut u8, _: &mut [u8]) {}
}

struct Generations(u8);

impl NextPhase for Generations {
    fn next(&mut self) -> PhaseKeys {
        self.0 += 1;
        PhaseKeys { local: Box::new(Tag(OURS + self.0)), peer: Box::new(Tag(PEERS + self.0)) }
    }
}

fn keys() -> OneRttKeys {
    let side = |end| DirectionKeys { header: Box::new(Bare), packet: Box::new(Tag(end)) };
    OneRttKeys::new(LevelKeys { local: side(OURS), peer: side(PEERS) }, Box::new(Generations(0)))
}

const fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// The peer's packet of a generation of keys arrives; the phase bit follows from it.
fn open(keys: &mut OneRttKeys, now: Time, generation: u8) -> Result<usize, Forged> {
    let phase = generation % 2 == 1;
    keys.open(now, || KEEP, (PATH, 0, phase), &[], &mut [0, 0, 0, PEERS + generation])
}

/// The generation that our next packet is sealed with.
fn sealing(keys: &mut OneRttKeys) -> u8 {
    let mut payload = [0; 4];
    keys.seal(PATH, 0, &[], &mut payload, &[]);
    payload[3] - OURS
}

#[test]
fn packets_of_the_current_phase_open_and_move_nothing() {
    let mut keys = keys();
    assert_eq!(keys.tag_len(), 1);
    assert_eq!(open(&mut keys, at(0), 0), Ok(3));
    assert!(!keys.phase());
    assert_eq!(sealing(&mut keys), 0);
}

#[test]
fn the_next_keys_are_derived_after_some_packets_were_sealed_and_never_twice() {
    let mut keys = keys();
    for _ in 1..NEXT_AFTER {
        assert_eq!(sealing(&mut keys), 0);
        assert!(keys.next.is_none());
    }
    assert_eq!(sealing(&mut keys), 0);
    assert!(keys.next.is_some());
    // A forgery finds them and leaves them.
    assert_eq!(keys.open(at(0), || KEEP, (PATH, 0, true), &[], &mut [0; 4]), Err(Forged));
    keys.update();
    assert_eq!(sealing(&mut keys), 1);
}

#[test]
fn keys_that_a_forgery_had_derived_are_those_of_the_next_update() {
    let mut keys = keys();
    assert_eq!(keys.open(at(0), || KEEP, (PATH, 0, true), &[], &mut [0; 4]), Err(Forged));
    assert!(keys.next.is_some());
    assert_eq!(open(&mut keys, at(1), 1), Ok(3));
    assert_eq!(sealing(&mut keys), 1);
}

#[test]
fn a_peer_that_updates_its_key_is_followed_in_both_directions() {
    let mut keys = keys();
    let mut now = at(0);
    for generation in 1..6 {
        now += KEEP;
        assert_eq!(open(&mut keys, now, generation), Ok(3), "generation {generation}");
        assert_eq!(keys.phase(), generation % 2 == 1);
        assert_eq!(sealing(&mut keys), generation);
    }
}

#[test]
fn late_packets_under_the_old_key_open_until_the_time_given_and_then_no_more() {
    let mut keys = keys();
    assert_eq!(open(&mut keys, at(1000), 1), Ok(3));
    assert_eq!(open(&mut keys, at(1100), 1), Ok(3), "does not prolong the old key's life");
    assert_eq!(open(&mut keys, at(1000) + KEEP - Duration::from_nanos(1), 0), Ok(3));
    assert!(keys.phase(), "a late packet does not move us back");
    assert_eq!(open(&mut keys, at(1000) + KEEP, 0), Err(Forged));
    assert!(keys.phase());
    assert_eq!(open(&mut keys, at(1000) + KEEP, 1), Ok(3));
}

#[test]
fn a_forged_phase_bit_does_not_update_the_keys() {
    let mut keys = keys();
    assert_eq!(keys.open(at(0), || KEEP, (PATH, 0, true), &[], &mut [0, 0, 0, PEERS]), Err(Forged));
    assert!(!keys.phase());
    assert_eq!(sealing(&mut keys), 0);
    assert_eq!(open(&mut keys, at(1), 0), Ok(3));
}

#[test]
fn a_second_update_while_the_old_key_lives_does_not_open() {
    let mut keys = keys();
    assert_eq!(open(&mut keys, at(0), 1), Ok(3));
    assert_eq!(open(&mut keys, at(100), 2), Err(Forged));
    assert_eq!(sealing(&mut keys), 1);
    assert_eq!(open(&mut keys, at(300), 2), Ok(3), "the old key is gone: now it is the next one");
    assert_eq!(sealing(&mut keys), 2);
}

#[test]
fn after_our_own_update_the_old_key_stays_until_the_peer_has_followed_and_a_while_longer() {
    let mut keys = keys();
    keys.update();
    assert!(keys.phase());
    assert_eq!(sealing(&mut keys), 1);
    // Our first packets of the new phase may be lost, for as long as a link is down.
    assert_eq!(open(&mut keys, at(60_000), 0), Ok(3));
    assert_eq!(open(&mut keys, at(60_100), 1), Ok(3));
    assert_eq!(open(&mut keys, at(60_399), 0), Ok(3));
    assert_eq!(open(&mut keys, at(60_400), 0), Err(Forged));
    assert_eq!(open(&mut keys, at(60_500), 2), Ok(3), "and then the peer may update");
}

#[test]
fn a_forgery_in_the_new_phase_does_not_start_the_old_keys_end() {
    let mut keys = keys();
    keys.update();
    assert_eq!(keys.open(at(0), || KEEP, (PATH, 0, true), &[], &mut [0, 0, 0, 0]), Err(Forged));
    assert_eq!(open(&mut keys, at(10_000), 0), Ok(3));
}

#[test]
fn an_update_is_due_at_seven_eighths_of_the_limit_and_only_once_the_phase_is_acknowledged() {
    let mut keys = keys();
    for _ in 0..SEAL_LIMIT / 8 * 7 - 1 {
        sealing(&mut keys);
    }
    keys.on_ack();
    assert!(!keys.wants_update(at(0), u64::MAX));
    sealing(&mut keys);
    assert!(keys.wants_update(at(0), u64::MAX) && !keys.is_exhausted());
    keys.update();
    for _ in 0..SEAL_LIMIT - 1 {
        sealing(&mut keys);
    }
    assert!(!keys.wants_update(at(0), u64::MAX), "nothing of the new phase was acknowledged yet");
    assert!(!keys.is_exhausted());
    sealing(&mut keys);
    assert!(keys.is_exhausted());
    keys.on_ack();
    assert!(keys.wants_update(at(0), u64::MAX));
}

#[test]
fn forgeries_under_every_key_count_towards_one_limit() {
    let mut keys = keys();
    let garbage = |keys: &mut OneRttKeys, phase| {
        assert_eq!(keys.open(at(0), || KEEP, (PATH, 0, phase), &[], &mut [0; 4]), Err(Forged));
    };
    garbage(&mut keys, false);
    garbage(&mut keys, true);
    assert_eq!(open(&mut keys, at(0), 1), Ok(3));
    garbage(&mut keys, true);
    garbage(&mut keys, false);
    garbage(&mut keys, false);
    assert!(keys.check_forgeries().is_ok(), "at the limit, not beyond it");
    assert_eq!(open(&mut keys, at(0), 1), Ok(3));
    assert!(keys.check_forgeries().is_ok(), "an honest packet does not count");
    garbage(&mut keys, true);
    assert_eq!(keys.check_forgeries().map_err(|v| v.code), Err(Code::AEAD_LIMIT_REACHED));
}

#[test]
fn an_early_update_waits_for_its_number_of_packets_and_for_the_old_key_to_end() {
    let mut keys = keys();
    keys.on_ack();
    assert!(!keys.wants_update(at(0), 2));
    for _ in 0..2 {
        keys.seal(PATH, 0, &[], &mut [0; 4], &[]);
    }
    assert!(keys.wants_update(at(0), 2));
    keys.update();
    keys.on_ack();
    for _ in 0..2 {
        keys.seal(PATH, 0, &[], &mut [0; 4], &[]);
    }
    assert!(!keys.wants_update(at(0), 2), "the peer has not followed yet");
    open(&mut keys, at(5), 1).unwrap();
    assert!(!keys.wants_update(at(5), 2), "packets under the old key may still come");
    assert!(!keys.wants_update(at(5) + KEEP, 2), "the peer may keep it for longer");
    assert!(keys.wants_update(at(5) + KEEP * 3, 2));
}

#[test]
fn an_old_key_under_a_higher_number_than_the_new_one_is_a_key_update_error() {
    let mut keys = keys();
    keys.update();
    let opened = |keys: &mut OneRttKeys, pn, generation: u8| {
        let mut packet = [0, 0, 0, PEERS + generation];
        keys.open(at(0), || KEEP, (PATH, pn, generation % 2 == 1), &[], &mut packet)
    };
    opened(&mut keys, 10, 1).unwrap();
    opened(&mut keys, 9, 0).unwrap();
    assert!(keys.check_order().is_ok(), "late, but in order");
    assert_eq!(opened(&mut keys, 11, 0), Err(Forged));
    assert_eq!(keys.check_order().unwrap_err().code, Code::KEY_UPDATE_ERROR);
}

#[test]
fn a_peer_that_updates_again_early_is_followed_where_the_numbers_tell() {
    let mut keys = keys();
    let opened = |keys: &mut OneRttKeys, pn, generation: u8| {
        let mut packet = [0, 0, 0, PEERS + generation];
        keys.open(at(0), || KEEP, (PATH, pn, generation % 2 == 1), &[], &mut packet)
    };
    opened(&mut keys, 10, 1).unwrap();
    opened(&mut keys, 20, 2).unwrap();
    assert_eq!((keys.phase(), keys.updates), (false, 2));
    opened(&mut keys, 19, 1).unwrap();
    assert!(keys.check_order().is_ok());
}
