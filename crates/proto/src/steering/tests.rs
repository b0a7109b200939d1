use super::{SHARDS_MAX, Steering};
use mpquic_base::{Cid, Rng};

fn short(cid: &Cid) -> Vec<u8> {
    [&[0x41][..], cid.as_slice(), &[7; 20]].concat()
}

fn long(cid: &Cid) -> Vec<u8> {
    let len = u8::try_from(cid.len()).unwrap();
    [&[0xc3, 0, 0, 0, 1, len][..], cid.as_slice(), &[7; 20]].concat()
}

#[test]
fn every_id_leads_back_to_its_shard_in_both_headers() {
    let mut rng = Rng::from_number(1);
    for shards in 1..=SHARDS_MAX {
        let steering = Steering::new(shards, &mut rng);
        for _ in 0..50 {
            for shard in 0..shards {
                let cid = steering.cid(shard, &mut rng);
                assert_eq!((steering.shard_of(&short(&cid)), steering.shard_of(&long(&cid))), (shard, shard));
            }
        }
    }
}

#[test]
fn the_first_packets_of_clients_spread_over_all_shards_and_every_copy_goes_to_the_same() {
    let mut rng = Rng::from_number(2);
    let steering = Steering::new(4, &mut rng);
    let mut seen = [0u32; 4];
    for len in [8, 14, 20] {
        for _ in 0..1000 {
            let mut bytes = vec![0; len];
            rng.fill(&mut bytes);
            let datagram = long(&Cid::new(&bytes).unwrap());
            let shard = steering.shard_of(&datagram);
            assert_eq!(shard, steering.shard_of(&datagram));
            seen[usize::from(shard)] += 1;
        }
    }
    assert!(seen.iter().all(|n| (600..900).contains(n)), "{seen:?} of 3000");
}

#[test]
fn what_is_cut_or_names_no_shard_is_the_first_ones() {
    let steering = Steering::new(8, &mut Rng::from_number(3));
    let cid = steering.cid(5, &mut Rng::from_number(4));
    let whole = short(&cid);
    for len in 0..=8 {
        assert_eq!(steering.shard_of(&whole[..len]), 0, "{len} bytes");
    }
    let whole = long(&cid);
    for len in 0..14 {
        assert_eq!(steering.shard_of(&whole[..len]), 0, "{len} bytes");
    }
    assert_eq!(steering.shard_of(&long(&Cid::new(&[1; 7]).unwrap())), 0);
}

/// RFC 9000 §5.1: no information by which an outsider could tell which IDs belong together.
#[test]
fn without_the_key_the_ids_of_one_shard_look_like_those_of_any() {
    let mut rng = Rng::from_number(5);
    let (ours, guess) = (Steering::new(4, &mut rng), Steering::new(4, &mut rng));
    // By the bytes as they are, and by another key's reading of them.
    let (mut plain, mut read) = ([0u32; 4], [0u32; 4]);
    for _ in 0..4000 {
        let cid = ours.cid(2, &mut rng);
        plain[usize::from(cid.as_slice()[0] % 4)] += 1;
        read[usize::from(guess.shard_of(&short(&cid)))] += 1;
    }
    // 1000 each, give or take five standard deviations.
    for counts in [plain, read] {
        assert!(counts.iter().all(|n| (860..1140).contains(n)), "{counts:?} of 4000");
    }
}
