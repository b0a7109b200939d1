//! Bounds of what is remembered. Tokens under real protection are tested in `mpquic-sim`, where a sealing secret exists.

use super::{Purse, SERVERS_MAX, SPENT_MAX, Spent, TOKEN_MAX, TOKENS_PER_SERVER};

fn nonce(n: usize) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&(n as u64).to_be_bytes());
    nonce
}

#[test]
fn a_token_is_spent_once() {
    let mut spent = Spent::default();
    assert!(spent.spend(nonce(1)));
    assert!(!spent.spend(nonce(1)));
}

#[test]
fn spent_tokens_are_remembered_for_a_generation_and_in_bounded_memory() {
    let mut spent = Spent::default();
    for n in 0..10 * SPENT_MAX {
        assert!(spent.spend(nonce(n)));
        assert!(spent.young.len() + spent.old.len() <= 2 * SPENT_MAX);
    }
    assert!(!spent.spend(nonce(10 * SPENT_MAX - 1)));
    assert!(!spent.spend(nonce(9 * SPENT_MAX)));
}

#[test]
fn a_client_keeps_the_newest_tokens_of_a_bounded_number_of_servers() {
    let mut purse = Purse::default();
    for n in 0..SERVERS_MAX + 1 {
        for m in 0..TOKENS_PER_SERVER + 2 {
            purse.put(&n.to_string(), 1, vec![u8::try_from(m).unwrap(); 9]);
        }
    }
    assert_eq!(purse.take("0", 1), None, "the oldest server made room");
    let taken: Vec<_> = core::iter::from_fn(|| purse.take("1", 1)).map(|t| t[0]).collect();
    assert_eq!(taken, [5, 4, 3, 2]);
    assert!(purse.servers.len() <= SERVERS_MAX && purse.order.len() <= SERVERS_MAX);
}

#[test]
fn a_token_too_long_to_repeat_is_not_kept() {
    let mut purse = Purse::default();
    purse.put("a", 1, vec![1; TOKEN_MAX + 1]);
    purse.put("a", 1, Vec::new());
    assert_eq!(purse.take("a", 1), None);
    purse.put("a", 1, vec![1; TOKEN_MAX]);
    assert!(purse.take("a", 1).is_some());
}

#[test]
fn a_token_is_kept_for_its_own_version_of_quic() {
    let mut purse = Purse::default();
    purse.put("a", 1, vec![1; 9]);
    purse.put("a", 2, vec![2; 9]);
    purse.put("a", 1, vec![3; 9]);
    let all: Vec<_> = purse.tokens().map(|(name, version, token)| (name, version, token[0])).collect();
    assert_eq!(all, [("a", 1, 1), ("a", 2, 2), ("a", 1, 3)]);
    assert_eq!(purse.take("a", 2), Some(vec![2; 9]));
    assert_eq!(purse.take("a", 2), None);
    assert_eq!([purse.take("a", 1), purse.take("a", 1)].map(|t| t.unwrap()[0]), [3, 1]);
}
