//! The IDs that the peer issues to us.

use super::*;

#[test]
fn the_limit_counts_per_path() {
    let mut cids = multipath(2);
    for path in 0..8u8 {
        for seq in u64::from(path == 0)..PEER_CIDS_PER_PATH {
            let byte = 1 + path * 8 + u8::try_from(seq).unwrap();
            cids.on_new_cid(&new_cid(PathId(u32::from(path)), seq, 0, byte)).unwrap();
        }
    }
    let one_more = new_cid(PathId(3), PEER_CIDS_PER_PATH, 0, 0xf0);
    assert_refused(cids.on_new_cid(&one_more), Code::CONNECTION_ID_LIMIT_ERROR);
}

#[test]
fn ids_are_retired_before_they_are_counted() {
    let mut cids = multipath(2);
    for seq in 0..PEER_CIDS_PER_PATH {
        cids.on_new_cid(&new_cid(ONE, seq, 0, 1 + u8::try_from(seq).unwrap())).unwrap();
    }
    cids.on_new_cid(&new_cid(ONE, PEER_CIDS_PER_PATH, 1, 0x20)).unwrap();
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ONE, 0)]);
}

#[test]
fn retire_prior_to_touches_only_its_own_path() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ONE, 0, 0, 1)).unwrap();
    cids.on_new_cid(&new_cid(PathId(2), 0, 0, 2)).unwrap();
    assert!(cids.activate(ONE) && cids.activate(PathId(2)));
    cids.on_new_cid(&new_cid(ONE, 1, 1, 3)).unwrap();
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ONE, 0)]);
    assert_eq!(cids.peer_cid(ZERO), Some(cid(0)));
    assert_eq!(cids.peer_cid(PathId(2)), Some(cid(2)));
}

#[test]
fn the_replacement_of_the_only_id_is_put_to_use_at_once() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ZERO, 1, 1, 1)).unwrap();
    assert_eq!(cids.peer_cid(ZERO), Some(cid(1)));
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ZERO, 0)]);
    assert!(cids.is_reset_token(&token(1)));
}

#[test]
fn retiring_the_id_in_use_moves_on_to_the_lowest_that_is_left() {
    let mut cids = multipath(2);
    for seq in 1..=2 {
        cids.on_new_cid(&new_cid(ZERO, seq, 0, u8::try_from(seq).unwrap())).unwrap();
    }
    cids.on_new_cid(&new_cid(ZERO, 3, 2, 3)).unwrap();
    assert_eq!(cids.peer_cid(ZERO), Some(cid(2)));
    let mut retired = packet(&mut cids, ROOMY).retired;
    retired.sort_unstable();
    assert_eq!(retired, [(ZERO, 0), (ZERO, 1)]);
}

#[test]
fn replacing_the_ids_of_an_unused_path_does_not_open_it() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ONE, 0, 0, 1)).unwrap();
    cids.on_new_cid(&new_cid(ONE, 1, 1, 2)).unwrap();
    assert_eq!(cids.peer_cid(ONE), None);
    assert!(!cids.is_reset_token(&token(2)));
    assert!(cids.activate(ONE));
    assert_eq!(cids.peer_cid(ONE), Some(cid(2)));
}

#[test]
fn one_sequence_number_for_two_ids_is_refused() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ONE, 1, 0, 1)).unwrap();
    assert_refused(cids.on_new_cid(&new_cid(ONE, 1, 0, 2)), Code::PROTOCOL_VIOLATION);
}

#[test]
fn one_id_under_two_sequence_numbers_is_refused() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ONE, 1, 0, 1)).unwrap();
    assert_refused(cids.on_new_cid(&new_cid(ONE, 2, 0, 1)), Code::PROTOCOL_VIOLATION);
}

#[test]
fn one_id_with_two_reset_tokens_is_refused() {
    let mut cids = multipath(2);
    let first = new_cid(ONE, 1, 0, 1);
    cids.on_new_cid(&first).unwrap();
    let other = NewConnectionId { reset_token: token(9), ..first };
    assert_refused(cids.on_new_cid(&other), Code::PROTOCOL_VIOLATION);
}

#[test]
fn one_id_for_two_paths_is_refused() {
    for (path, byte) in [(PathId(2), 1), (ONE, 0)] {
        let mut cids = multipath(2);
        cids.on_new_cid(&new_cid(ONE, 0, 0, 1)).unwrap();
        assert_refused(cids.on_new_cid(&new_cid(path, 1, 0, byte)), Code::PROTOCOL_VIOLATION);
    }
}

#[test]
fn a_repeated_announcement_is_harmless() {
    let mut cids = multipath(2);
    for _ in 0..20 {
        for seq in 0..PEER_CIDS_PER_PATH {
            cids.on_new_cid(&new_cid(ONE, seq, 0, 1 + u8::try_from(seq).unwrap())).unwrap();
        }
    }
    assert!(!cids.wants());
    assert_eq!(cids.next_peer_seq(ONE), PEER_CIDS_PER_PATH);
}

#[test]
fn a_late_announcement_below_retire_prior_to_is_retired_at_once() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ONE, 5, 5, 5)).unwrap();
    assert!(!cids.wants());
    cids.on_new_cid(&new_cid(ONE, 3, 0, 3)).unwrap();
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ONE, 3)]);
    assert!(cids.activate(ONE));
    assert_eq!(cids.peer_cid(ONE), Some(cid(5)), "the late one is never used");
    // Its retirement is in flight: the repeated announcement asks for nothing.
    cids.on_new_cid(&new_cid(ONE, 3, 0, 3)).unwrap();
    assert!(!cids.wants());
}

#[test]
fn announcements_repeated_after_their_ids_were_given_up_bring_nothing_back() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ZERO, 1, 0, 1)).unwrap();
    for byte in 2..40 {
        let seq = u64::from(byte);
        cids.on_new_cid(&new_cid(ZERO, seq, 0, byte)).unwrap();
        cids.rotate(ZERO);
        for (path, seq) in packet(&mut cids, ROOMY).retired {
            cids.retire_acked(path, seq);
        }
        // A copy that took the slow road.
        cids.on_new_cid(&new_cid(ZERO, seq - 2, 0, byte - 2)).unwrap();
        assert_eq!(cids.peer_cid(ZERO), Some(cid(byte - 1)));
    }
}

#[test]
fn an_id_that_comes_too_late_to_be_used_makes_room_for_another() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ZERO, 2, 0, 2)).unwrap();
    cids.rotate(ZERO);
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ZERO, 0)]);
    cids.on_new_cid(&new_cid(ZERO, 1, 0, 1)).unwrap();
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ZERO, 1)]);
    assert_eq!(cids.peer_cid(ZERO), Some(cid(2)));
}

#[test]
fn retirements_that_the_peer_never_acknowledges_end_the_connection() {
    let mut cids = multipath(2);
    let mut unacknowledged = 0;
    let refused = (1..=100u8).find_map(|byte| {
        let seq = u64::from(byte);
        let result = cids.on_new_cid(&new_cid(ZERO, seq, seq, byte));
        unacknowledged += packet(&mut cids, ROOMY).retired.len();
        result.err()
    });
    assert_eq!(refused.unwrap().code, Code::CONNECTION_ID_LIMIT_ERROR);
    assert_eq!(unacknowledged, RETIREMENTS_MAX + 1);
    // RFC 9000 §5.1.2: at least twice the limit must be allowed to pile up.
    assert!(RETIREMENTS_MAX as u64 >= 2 * PEER_CIDS_PER_PATH);
}

#[test]
fn retirements_that_are_acknowledged_can_go_on_for_ever() {
    let mut cids = multipath(2);
    for byte in 1..=200u8 {
        let seq = u64::from(byte);
        cids.on_new_cid(&new_cid(ZERO, seq, seq, byte)).unwrap();
        let retired = packet(&mut cids, ROOMY).retired;
        assert_eq!(retired, [(ZERO, seq - 1)]);
        cids.retire_acked(ZERO, seq - 1);
    }
}

#[test]
fn a_lost_retirement_is_sent_again_and_an_acknowledged_one_is_not() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ZERO, 1, 1, 1)).unwrap();
    assert_eq!(packet(&mut cids, ROOMY).tokens, [Token::RetireCid { path: ZERO, seq: 0 }]);
    assert!(!cids.wants());
    cids.retire_lost(ZERO, 0);
    assert!(cids.wants());
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ZERO, 0)]);
    cids.retire_acked(ZERO, 0);
    cids.retire_lost(ZERO, 0);
    assert!(!cids.wants());
}

#[test]
fn a_new_address_gets_a_new_id_if_there_is_a_spare_one() {
    let mut cids = multipath(2);
    cids.rotate(ZERO);
    assert_eq!(cids.peer_cid(ZERO), Some(cid(0)), "no spare: the old one stays");
    assert!(!cids.wants());
    cids.on_new_cid(&new_cid(ZERO, 1, 0, 1)).unwrap();
    cids.rotate(ZERO);
    assert_eq!(cids.peer_cid(ZERO), Some(cid(1)));
    assert_eq!(packet(&mut cids, ROOMY).retired, [(ZERO, 0)]);
}

#[test]
fn a_path_without_ids_cannot_be_put_to_use() {
    let mut cids = multipath(2);
    assert!(!cids.has_peer(ONE) && !cids.activate(ONE));
    assert_eq!(cids.next_peer_seq(ONE), 0);
    cids.on_new_cid(&new_cid(ONE, 0, 0, 1)).unwrap();
    assert!(cids.has_peer(ONE));
    assert_eq!(cids.peer_cid(ONE), None, "issued is not in use");
    assert!(cids.activate(ONE));
    assert_eq!(cids.peer_cid(ONE), Some(cid(1)));
    assert_eq!(cids.next_peer_seq(ONE), 1);
}

#[test]
fn an_abandoned_path_retires_its_ids_without_a_frame() {
    let mut cids = multipath(2);
    cids.on_new_cid(&new_cid(ONE, 0, 0, 1)).unwrap();
    cids.on_new_cid(&new_cid(ONE, 1, 0, 2)).unwrap();
    cids.activate(ONE);
    cids.rotate(ONE);
    packet(&mut cids, ROOMY);
    assert!(cids.is_reset_token(&token(2)));
    cids.abandon_peer(ONE);
    cids.retire_lost(ONE, 0);
    assert!(!cids.wants());
    assert_eq!(cids.peer_cid(ONE), None);
    assert!(!cids.is_reset_token(&token(2)));
    assert_eq!(cids.peer_cid(ZERO), Some(cid(0)));
}

#[test]
fn reset_tokens_count_only_for_the_ids_in_use() {
    let mut cids = multipath(2);
    assert!(!cids.is_reset_token(&token(0)), "the first ID came without a token");
    cids.set_first_peer_token(token(7));
    cids.on_new_cid(&new_cid(ZERO, 1, 0, 1)).unwrap();
    cids.on_new_cid(&new_cid(ONE, 0, 0, 2)).unwrap();
    let known = |cids: &Cids| [7, 1, 2].map(|byte| cids.is_reset_token(&token(byte)));
    assert_eq!(known(&cids), [true, false, false]);
    cids.activate(ONE);
    assert_eq!(known(&cids), [true, false, true]);
    cids.rotate(ZERO);
    assert_eq!(known(&cids), [false, true, true]);
    for at in 0..16 {
        let mut nearly = token(1);
        nearly[at] ^= 0x80;
        assert!(!cids.is_reset_token(&nearly), "byte {at} differs");
    }
}

#[test]
fn the_client_adopts_the_id_that_the_server_chose() {
    let mut cids = multipath(2);
    cids.set_first_peer_cid(cid(9));
    assert_eq!(cids.peer_cid(ZERO), Some(cid(9)));
}
