//! The program by which the kernel finds a datagram's shard: [`Steering::shard_of`] in classic BPF.
//!
//! Only saves the way over a wrong shard: the engine judges every datagram again, since one train that the kernel put
//! together may hold datagrams of several connections.

use mpquic_net::Instruction as I;
use mpquic_proto::Steering;

/// Places of the scratch memory.
const TAIL: u32 = 0;
const FIRST: u32 = 1;

/// Ends with the number of the shard; with 0 for what is cut or names none.
#[must_use]
pub fn program(steering: &Steering) -> Vec<I> {
    let [k0, k1, k2, k3] = steering.keys();
    let at = |n: usize| u32::try_from(n).unwrap_or(0);
    let head = [
        // RFC 8999 §5: the high bit of the first byte tells the header, and that where the ID is.
        I::load_byte_at(0),
        I::jump_if_set(0x80, 2, 0),
        I::set_index(at(Steering::SHORT_AT)),
        I::skip(4),
        I::load_byte_at(at(Steering::LONG_LEN_AT)),
        I::jump_if_at_least(at(Steering::CID_LEN), 1, 0),
        I::give(0),
        I::set_index(at(Steering::LONG_AT)),
    ];
    let mask = [
        I::load_word(4),
        I::store(TAIL),
        I::load_byte(0),
        I::store(FIRST),
        I::load_word(0),
        I::and(0x00ff_ffff),
        I::xor(k0),
        I::multiply(k1),
        I::copy_to_index(),
        I::shift_right(15),
        I::xor_index(),
        I::load_index(TAIL),
        I::xor_index(),
        I::multiply(k2),
        I::copy_to_index(),
        I::shift_right(13),
        I::xor_index(),
        I::multiply(k3),
        I::shift_right(24),
    ];
    let tail = [
        I::load_index(FIRST),
        I::xor_index(),
        I::modulo(u32::from(steering.shards())),
        I::give_accumulator(),
    ];
    [&head[..], &mask, &tail].concat()
}

#[cfg(test)]
mod tests {
    use super::program;
    use mpquic_base::{Ecn, Rng};
    use mpquic_net::{Batch, ReceiveBatch, Socket, SocketOptions};
    use mpquic_proto::{SHARDS_MAX, Steering};

    /// Sends `datagram` to the group and says which socket got it.
    fn taken_by(group: &[Socket], sender: &Socket, datagram: &[u8]) -> u16 {
        let (local, peer) = (sender.local_addr().ip(), group[0].local_addr());
        let segment = u16::try_from(datagram.len()).unwrap();
        sender.send(&Batch { bytes: datagram, segment, local, peer, ecn: Ecn::NotEct }).unwrap();
        let mut batch = ReceiveBatch::new();
        let got = group.iter().position(|socket| socket.receive(&mut batch).unwrap() == 1);
        u16::try_from(got.expect("loopback delivers within the call")).unwrap()
    }

    fn short_or_long(rng: &mut Rng) -> Vec<u8> {
        let mut datagram = vec![0; 1 + usize::try_from(rng.below(60)).unwrap()];
        rng.fill(&mut datagram);
        if datagram.len() > 5 && rng.chance(0.8) {
            datagram[5] = [0, 3, 7, 8, 9, 20][usize::try_from(rng.below(6)).unwrap()];
        }
        datagram
    }

    #[test]
    fn the_kernel_and_we_agree_on_every_datagrams_shard() {
        let options = SocketOptions::default();
        let any = "127.0.0.1:0".parse().unwrap();
        let sender = Socket::bind(any, &options).unwrap();
        for (seed, shards) in [(1, 2), (2, 3), (3, 4), (4, SHARDS_MAX)] {
            let mut rng = Rng::from_number(seed);
            let steering = Steering::new(shards, &mut rng);
            let group = Socket::bind_group(any, &options, usize::from(shards)).unwrap();
            if let Err(error) = group[0].steer_group(&program(&steering)) {
                println!("skipped: the kernel takes no steering program ({error})");
                return;
            }
            let mut seen = vec![false; usize::from(shards)];
            for step in 0..300 {
                let cid = steering.cid(step % shards, &mut rng);
                let ours = [&[0x40][..], cid.as_slice(), &[9; 30]].concat();
                for datagram in [ours, short_or_long(&mut rng)] {
                    let shard = taken_by(&group, &sender, &datagram);
                    assert_eq!(shard, steering.shard_of(&datagram), "seed {seed} step {step}: {datagram:?}");
                    seen[usize::from(shard)] = true;
                }
            }
            assert!(seen.iter().all(|s| *s), "every socket had its share");
        }
    }
}
