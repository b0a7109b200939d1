//! The stacks, each as a server and as a client.

pub mod mpquic;
#[cfg(feature = "quiche")]
pub mod quiche;
pub mod quinn;
#[cfg(feature = "s2n-quic")]
pub mod s2n_quic;

use crate::stack::Stack;

/// Who meets us, in the order of the table.
pub const PEERS: &[Stack] = &[
    quinn::QUINN,
    #[cfg(feature = "s2n-quic")]
    s2n_quic::STACK,
    #[cfg(feature = "quiche")]
    quiche::STACK,
    quinn::NOQ,
];

/// Peers that this program was built without, and why one may do that.
pub const ABSENT: &[(&str, &str)] = &[
    #[cfg(not(feature = "s2n-quic"))]
    ("s2n-quic", "built without --features s2n-quic"),
    #[cfg(not(feature = "quiche"))]
    ("quiche", "built without --features quiche (it needs cmake, a C++ compiler and libclang)"),
];
