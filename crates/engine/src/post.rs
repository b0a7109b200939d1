//! Datagrams that came to the wrong shard, on their way to the right one.
//!
//! Owns one bounded box per shard. What does not fit is dropped and counted, as it would be by a full socket; nothing
//! waits. Used only if an endpoint has several shards, and rarely if the kernel steers.

use core::sync::atomic::{AtomicBool, Ordering};
use mpquic_base::{Ecn, FourTuple};
use mpquic_net::Waker;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes that may wait for one shard: as much as its sockets' receive buffers ask for.
const BOX_BYTES_MAX: usize = 4 << 20;
/// Datagrams that may: small ones cost more than their bytes.
const BOX_LETTERS_MAX: usize = 8192;

/// One shard's side of the post.
#[derive(Clone, Debug)]
pub struct Post {
    shard: u16,
    boxes: Arc<[Letterbox]>,
}

#[derive(Debug, Default)]
struct Letterbox {
    mail: Mutex<Mail>,
    /// Something is inside: saves the lock when not.
    flag: AtomicBool,
    waker: OnceLock<Waker>,
}

/// What lies in a box, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    bytes: Vec<u8>,
    letters: Vec<Letter>,
}

#[derive(Clone, Copy, Debug)]
struct Letter {
    tuple: FourTuple,
    ecn: Ecn,
    len: usize,
}

impl Post {
    /// The sides of so many shards, in their order.
    #[must_use]
    pub fn among(shards: u16) -> Vec<Self> {
        let boxes: Arc<[Letterbox]> = (0..shards).map(|_| Letterbox::default()).collect();
        (0..shards).map(|shard| Self { shard, boxes: Arc::clone(&boxes) }).collect()
    }

    /// How this shard is woken for its mail. Until then it finds it at its next turn.
    pub fn set_waker(&self, waker: Waker) {
        self.own().waker.get_or_init(|| waker);
    }

    /// Returns false if the box of `shard` is full, or there is no such shard.
    pub(crate) fn send(&self, shard: u16, tuple: FourTuple, ecn: Ecn, datagram: &[u8]) -> bool {
        let Some(to) = self.boxes.get(usize::from(shard)) else { return false };
        let mut mail = to.mail();
        if mail.letters.len() >= BOX_LETTERS_MAX || mail.bytes.len() + datagram.len() > BOX_BYTES_MAX {
            return false;
        }
        mail.bytes.extend_from_slice(datagram);
        mail.letters.push(Letter { tuple, ecn, len: datagram.len() });
        to.flag.store(true, Ordering::Release);
        drop(mail);
        if let Some(waker) = to.waker.get() {
            waker.wake();
        }
        true
    }

    /// Empties this shard's box into `mail`, which has to be empty.
    pub(crate) fn collect(&self, mail: &mut Mail) {
        let own = self.own();
        if own.flag.load(Ordering::Acquire) {
            let mut inside = own.mail();
            own.flag.store(false, Ordering::Relaxed);
            core::mem::swap(&mut *inside, mail);
        }
    }

    fn own(&self) -> &Letterbox {
        &self.boxes[usize::from(self.shard)]
    }
}

impl Letterbox {
    /// A letter is put in whole or not at all, so a lock that a panic left behind is as good as any.
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mail {
    /// Hands out every letter and keeps the allocation.
    pub(crate) fn read(&mut self, mut on: impl FnMut(FourTuple, Ecn, &mut [u8])) {
        let mut rest = &mut self.bytes[..];
        for letter in self.letters.drain(..) {
            let (datagram, after) = rest.split_at_mut(letter.len);
            on(letter.tuple, letter.ecn, datagram);
            rest = after;
        }
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{BOX_BYTES_MAX, BOX_LETTERS_MAX, Mail, Post};
    use mpquic_base::{Ecn, FourTuple};

    fn tuple() -> FourTuple {
        FourTuple { local: "192.0.2.1:1".parse().unwrap(), peer: "192.0.2.2:2".parse().unwrap() }
    }

    fn read(post: &Post, mail: &mut Mail) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        post.collect(mail);
        mail.read(|_, _, datagram| all.push(datagram.to_vec()));
        all
    }

    #[test]
    fn letters_arrive_once_in_order_and_only_where_they_were_meant_to() {
        let (posts, mut mail) = (Post::among(3), Mail::default());
        for round in 0..3u8 {
            for n in 0..5u8 {
                assert!(posts[0].send(2, tuple(), Ecn::Ce, &vec![round; usize::from(n)]));
            }
            assert!(read(&posts[1], &mut mail).is_empty());
            let got = read(&posts[2], &mut mail);
            assert_eq!(got, (0..5).map(|n| vec![round; n]).collect::<Vec<_>>());
            assert!(read(&posts[2], &mut mail).is_empty());
        }
        assert!(!posts[0].send(3, tuple(), Ecn::NotEct, &[1]), "nobody there");
    }

    #[test]
    fn a_box_that_nobody_empties_holds_a_bounded_amount() {
        let posts = Post::among(2);
        let large = vec![0; 60_000];
        let taken = (0..1000).filter(|_| posts[0].send(1, tuple(), Ecn::NotEct, &large)).count();
        assert_eq!(taken, BOX_BYTES_MAX / large.len());
        assert_eq!(read(&posts[1], &mut Mail::default()).len(), taken);
        let taken = (0..100_000).filter(|_| posts[0].send(1, tuple(), Ecn::NotEct, &[1])).count();
        assert_eq!(taken, BOX_LETTERS_MAX);
    }
}
