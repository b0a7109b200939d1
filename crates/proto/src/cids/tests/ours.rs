//! The IDs that we issue.

use super::*;
use std::collections::BTreeSet;

#[test]
fn every_path_gets_its_own_sequence_numbers_from_zero() {
    let (mut cids, mut rng) = (multipath(8), Rng::from_number(1));
    for path in [ZERO, ONE, PathId(2)] {
        cids.issue(path, &mut rng);
    }
    let packet = packet(&mut cids, ROOMY);
    let issued: Vec<_> = packet.new.iter().map(|new| (new.path.0, new.seq)).collect();
    // Sequence 0 of path 0 is the handshake's and needs no frame.
    assert_eq!(issued, [(0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    assert!(packet.multipath.iter().all(|multipath| *multipath));
    assert_eq!(cids.next_local_seq(ZERO), 2);
    assert_eq!(cids.next_local_seq(PathId(2)), 2);
    assert_eq!(cids.next_local_seq(PathId(3)), 0);
    assert!(cids.has_local(PathId(2)) && !cids.has_local(PathId(3)));
}

#[test]
fn a_path_id_that_nobody_uses_gets_one_id_and_the_spare_one_with_its_use() {
    let (mut cids, mut rng) = (multipath(8), Rng::from_number(1));
    cids.issue(ZERO, &mut rng);
    (1..4).for_each(|path| cids.offer(PathId(path), &mut rng));
    let ids = |packet: Packet| packet.new.iter().map(|new| (new.path.0, new.seq)).collect::<Vec<_>>();
    assert_eq!(ids(packet(&mut cids, ROOMY)), [(0, 1), (1, 0), (2, 0), (3, 0)]);
    cids.issue(PathId(2), &mut rng);
    assert_eq!(ids(packet(&mut cids, ROOMY)), [(2, 1)]);
    // One that was given up is replaced, in use or not.
    cids.on_retire_cid(PathId(3), 0, None, &mut rng).unwrap();
    cids.on_retire_cid(PathId(2), 0, None, &mut rng).unwrap();
    (0..4).for_each(|path| cids.offer(PathId(path), &mut rng));
    assert_eq!(ids(packet(&mut cids, ROOMY)), [(3, 1), (2, 2)]);
}

#[test]
fn without_multipath_the_frames_are_the_plain_ones() {
    let mut cids = Cids::new(cid(0xaa), cid(0));
    cids.on_parameters(false, 8);
    cids.issue(ZERO, &mut Rng::from_number(1));
    cids.on_new_cid(&new_cid(ZERO, 1, 1, 1)).unwrap();
    assert_eq!(packet(&mut cids, ROOMY).multipath, [false, false]);
}

#[test]
fn the_peer_never_holds_more_ids_of_a_path_than_it_allows() {
    for limit in 1..=8 {
        let (mut cids, mut rng) = (multipath(limit), Rng::from_number(limit));
        for _ in 0..3 {
            cids.issue(ZERO, &mut rng);
            cids.issue(ONE, &mut rng);
        }
        let new = packet(&mut cids, ROOMY).new;
        let of = |path| new.iter().filter(|new| new.path == path).count() as u64;
        assert!(of(ZERO) < limit, "one of {limit} is the handshake's");
        assert!((1..=limit).contains(&of(ONE)), "{} of {limit}", of(ONE));
    }
}

#[test]
fn a_retired_id_is_replaced_under_a_new_sequence_number_and_leads_nowhere() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(2));
    cids.issue(ONE, &mut rng);
    let first = packet(&mut cids, ROOMY).new;
    changes(&mut cids);
    cids.on_retire_cid(ONE, 0, Some(1), &mut rng).unwrap();
    let second = packet(&mut cids, ROOMY).new;
    assert_eq!(second.len(), 1);
    assert_eq!((second[0].path, second[0].seq), (ONE, 2));
    assert_eq!(
        changes(&mut cids),
        [RouteChange::Remove(first[0].cid), RouteChange::Add { cid: second[0].cid, path: ONE, seq: 2 }]
    );
    // The frame repeated: nothing to retire, nothing to replace.
    cids.on_retire_cid(ONE, 0, Some(1), &mut rng).unwrap();
    assert!(!cids.wants() && changes(&mut cids).is_empty());
}

#[test]
fn no_id_sequence_number_or_reset_token_is_issued_twice() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(3));
    let (mut seen_cids, mut seen_seqs, mut seen_tokens) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    cids.issue(ZERO, &mut rng);
    cids.issue(ONE, &mut rng);
    for round in 0..50 {
        for new in packet(&mut cids, ROOMY).new {
            assert!(seen_cids.insert(new.cid), "{new:?}");
            assert!(seen_seqs.insert((new.path, new.seq)), "{new:?}");
            assert!(seen_tokens.insert(new.reset_token), "{new:?}");
        }
        cids.on_retire_cid(ZERO, round, None, &mut rng).unwrap();
        cids.on_retire_cid(ONE, round, None, &mut rng).unwrap();
    }
    assert_eq!(seen_cids.len(), 1 + 2 + 49 * 2);
}

#[test]
fn the_id_that_carried_the_frame_cannot_be_retired_by_it() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(4));
    cids.issue(ONE, &mut rng);
    assert_refused(cids.on_retire_cid(ONE, 1, Some(1), &mut rng), Code::PROTOCOL_VIOLATION);
    // The same number on another path is another ID.
    cids.on_retire_cid(ONE, 1, None, &mut rng).unwrap();
}

#[test]
fn an_id_that_was_never_issued_cannot_be_retired() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(5));
    cids.issue(ZERO, &mut rng);
    assert_refused(cids.on_retire_cid(ZERO, 2, None, &mut rng), Code::PROTOCOL_VIOLATION);
    assert_refused(cids.on_retire_cid(ONE, 0, None, &mut rng), Code::PROTOCOL_VIOLATION);
    cids.on_retire_cid(ZERO, 1, None, &mut rng).unwrap();
}

#[test]
fn a_lost_announcement_is_made_again_with_the_same_content() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(6));
    cids.issue(ONE, &mut rng);
    let first = packet(&mut cids, ROOMY);
    assert_eq!(first.tokens, [Token::NewCid { path: ONE, seq: 0 }, Token::NewCid { path: ONE, seq: 1 }]);
    assert!(!cids.wants(), "an announcement in flight is not repeated");
    assert!(packet(&mut cids, ROOMY).new.is_empty());
    cids.new_lost(ONE, 1);
    assert!(cids.wants());
    assert_eq!(packet(&mut cids, ROOMY).new, first.new[1..]);
}

#[test]
fn a_lost_announcement_of_an_id_that_is_gone_is_not_made_again() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(7));
    cids.issue(ONE, &mut rng);
    packet(&mut cids, ROOMY);
    cids.on_retire_cid(ONE, 0, None, &mut rng).unwrap();
    packet(&mut cids, ROOMY);
    cids.new_lost(ONE, 0);
    assert!(!cids.wants());
    cids.forget_local(ONE);
    cids.new_lost(ONE, 1);
    assert!(!cids.wants());
}

#[test]
fn announcements_that_do_not_fit_wait_for_the_next_packet() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(8));
    (0..4).for_each(|path| cids.issue(PathId(path), &mut rng));
    let mut issued = Vec::new();
    while cids.wants() {
        let packet = packet(&mut cids, 40);
        assert_eq!(packet.new.len(), 1, "one frame of about 30 bytes fits into 40");
        issued.extend(packet.new.iter().map(|new| (new.path.0, new.seq)));
    }
    assert_eq!(issued, [(0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]);
}

#[test]
fn a_forgotten_path_loses_its_routes_and_no_other() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(9));
    cids.issue(ZERO, &mut rng);
    cids.issue(ONE, &mut rng);
    let new = packet(&mut cids, ROOMY).new;
    let of_one = new.iter().filter(|new| new.path == ONE).map(|new| RouteChange::Remove(new.cid));
    changes(&mut cids);
    cids.forget_local(ONE);
    assert_eq!(changes(&mut cids), of_one.collect::<Vec<_>>());
    assert!(cids.has_local(ZERO) && !cids.has_local(ONE));
}

#[test]
fn every_route_that_was_added_is_removed_at_the_end() {
    let (mut cids, mut rng) = (multipath(2), Rng::from_number(10));
    cids.issue(ZERO, &mut rng);
    cids.issue(ONE, &mut rng);
    cids.on_retire_cid(ONE, 0, None, &mut rng).unwrap();
    cids.remove_all();
    let mut routes = BTreeSet::new();
    let all = changes(&mut cids);
    assert_eq!(all[0], RouteChange::Add { cid: cid(0xaa), path: ZERO, seq: 0 });
    for change in all {
        match change {
            RouteChange::Add { cid, .. } => assert!(routes.insert(cid)),
            RouteChange::Remove(cid) => assert!(routes.remove(&cid)),
        }
    }
    assert!(routes.is_empty(), "{routes:?}");
}
