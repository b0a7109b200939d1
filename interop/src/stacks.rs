//! The stacks, each as a server and as a client of the [`exchange`](crate::exchange).

pub mod mpquic;
pub mod noq;
pub mod quinn;

use core::fmt;

/// UDP payload bytes that one end counted on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub path: u32,
    pub sent: u64,
    pub received: u64,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {}: {:>11} bytes sent, {:>11} received", self.path, self.sent, self.received)
    }
}

/// Prints what both ends counted and checks that every path of both carried at least `share` in one direction, and
/// all together the whole `load`.
///
/// # Panics
/// If not.
pub fn compare(load: crate::exchange::Load, paths: usize, share: u64, ends: [(&str, Vec<Moved>); 2]) {
    println!("{load:?}");
    for (who, moved) in ends {
        for path in &moved {
            println!("{who:>8} {path}");
        }
        assert_eq!(moved.len(), paths, "{who} used another number of paths");
        let (sent, received) = moved.iter().fold((0, 0), |(s, r), m| (s + m.sent, r + m.received));
        assert!(sent.max(received) > load.up.max(load.down), "{who} counted less than was moved");
        for path in moved {
            assert!(path.sent.max(path.received) > share, "{who}: too little on path {}", path.path);
        }
    }
}
