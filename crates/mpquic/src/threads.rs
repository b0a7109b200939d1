//! How many threads serve an endpoint, and how they use their processors.

use mpquic_engine::Habits;
use std::time::Duration;

/// The threads behind an endpoint. The default, one that sleeps when there is nothing to do, suits clients and most
/// servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Protocol threads, 1 to 64. Each has its own socket on every address and its own connections, which stay with it
    /// for life. More than one pays when one processor cannot carry all connections together; one connection never uses
    /// more than one thread. The kernel hands each datagram to the right thread by its connection ID (a small program on
    /// the sockets); where it cannot, the threads pass datagrams on to each other, at the price of a copy.
    pub shards: u16,
    /// The processors, counted from 0, that the threads are tied to: thread `n` to the one at `n`, and on from the start
    /// when they run out. Empty leaves it to the system.
    pub processors: Vec<usize>,
    /// How long after its last packet a thread goes on looking for the next one without sleeping, and how long the kernel
    /// may look at the network card for it (`SO_BUSY_POLL`; more than the host's setting takes `CAP_NET_ADMIN`). Saves
    /// some microseconds per packet and keeps a processor busy.
    pub busy_poll: Duration,
    /// Whether the kernel is asked to hand datagrams to the right thread. Without, as on kernels that cannot, it picks by
    /// the addresses, and the threads pass on what was not theirs.
    pub kernel_steering: bool,
}

impl Default for Threads {
    fn default() -> Self {
        Self { shards: 1, processors: Vec::new(), busy_poll: Duration::ZERO, kernel_steering: true }
    }
}

impl Threads {
    pub(crate) fn habits(&self, shard: u16) -> Habits {
        let turn = usize::from(shard) % self.processors.len().max(1);
        Habits { processor: self.processors.get(turn).copied(), busy_poll: self.busy_poll }
    }
}

#[cfg(test)]
mod tests {
    use super::Threads;

    #[test]
    fn processors_go_round() {
        let threads = Threads { shards: 5, processors: vec![3, 1], ..Threads::default() };
        let tied: Vec<_> = (0..5).map(|shard| threads.habits(shard).processor).collect();
        assert_eq!(tied, [3, 1, 3, 1, 3].map(Some));
        assert_eq!(Threads::default().habits(2).processor, None);
    }
}
