use super::PathView;
use mpquic_base::{Duration, PathId, Rate, Time};

/// An idle path that can send.
pub(super) fn view(id: u32) -> PathView {
    PathView {
        id: PathId(id),
        srtt: Duration::from_millis(20),
        rttvar: Duration::from_millis(2),
        min_rtt: Duration::from_millis(18),
        window: 12_000,
        in_flight: 0,
        window_left: 12_000,
        rate: Rate::from_bits_per_second(10_000_000),
        loss: 0.0,
        mtu: 1200,
        backup: false,
        ready_at: Time::ZERO,
        can_send: true,
    }
}
