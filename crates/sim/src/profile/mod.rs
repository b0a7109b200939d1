//! The link profiles that every bonding claim is measured on, as data, and the text form of links and cuts.
//!
//! The first sixteen are a published sweep of 2026-06-18, the rest go beyond it. `delay` is one-way; both directions
//! of a link are alike. Where a profile does not say when its fault happens, it begins at 3 s.

mod parse;

pub use parse::{Cut, Moment, SpecError};

use crate::link::{DirectionSpec, Effect, Limit, LinkSpec, Loss, Neck, Schedule, Way, Ways, When};
use mpquic_base::{Duration, Rate};

/// A link with the name that options and reports call it by.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedLink {
    pub name: String,
    pub spec: LinkSpec,
}

/// A set of links and what happens to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: &'static str,
    pub about: &'static str,
    pub links: Vec<NamedLink>,
    /// A bottleneck that the links share.
    pub neck: Option<Neck>,
    pub schedule: Schedule,
}

/// How many of the list's first profiles make up the published sweep.
pub const PUBLISHED: usize = 16;

/// One row: name, what it is for, links, fault.
type Row = (&'static str, &'static str, &'static str, Fault);

/// What else a profile has besides its links; the numbers are in [`Fault::schedule`].
#[derive(Clone, Copy)]
enum Fault {
    None,
    SharedNeck,
    CutBest,
    CutBestUp,
    Brownout,
    Flap,
    BlackHole,
    Rebind,
}

const THREE_WAN: &str = "fibre=300mbit/8ms,lte=40mbit/35±8ms/0.5%,starlink=100mbit/50±25ms/1%";
const TWINS: &str = "50mbit/20ms,50mbit/20ms";

const ROWS: [Row; 26] = [
    ("baseline", "two equal, clean links", TWINS, Fault::None),
    ("rtt_40", "one link has twice the delay", "50mbit/20ms,50mbit/40ms", Fault::None),
    ("rtt_70", "one link has 3.5 times the delay", "50mbit/20ms,50mbit/70ms", Fault::None),
    ("rtt_120", "one link has six times the delay", "50mbit/20ms,50mbit/120ms", Fault::None),
    ("rtt_320", "one link has sixteen times the delay", "50mbit/20ms,50mbit/320ms", Fault::None),
    ("jit_5", "a little jitter on both links", "50mbit/20±5ms,50mbit/20±5ms", Fault::None),
    ("jit_20", "jitter as large as the delay", "50mbit/20±20ms,50mbit/20±20ms", Fault::None),
    ("loss_05", "half a percent of loss on both links", "50mbit/20ms/0.5%,50mbit/20ms/0.5%", Fault::None),
    ("loss_2", "two percent of loss on both links", "50mbit/20ms/2%,50mbit/20ms/2%", Fault::None),
    ("bw_4to1", "one link is four times as fast", "50mbit/20ms,12mbit/20ms", Fault::None),
    ("bw_10to1", "one link is ten times as fast", "100mbit/20ms,10mbit/20ms", Fault::None),
    ("dual_lte", "two LTE modems", "lte1=40mbit/30±5ms/0.5%,lte2=25mbit/45±8ms/0.5%", Fault::None),
    ("fiber_lte", "fibre with LTE beside it", "fibre=300mbit/8ms,lte=30mbit/40±8ms/0.5%", Fault::None),
    ("lte_starlink", "LTE and Starlink", "lte=40mbit/35±8ms,starlink=100mbit/50±25ms/1%", Fault::None),
    ("lte_geo", "LTE and a geostationary satellite", "lte=40mbit/35ms,geo=20mbit/320±20ms/0.5%", Fault::None),
    ("congested", "two slow, jittery, lossy links", "20mbit/50±20ms/2%,15mbit/60±25ms/2%", Fault::None),
    (
        "twin_gig",
        "the plain promise: two 1 Gbit/s links give about 2 Gbit/s",
        "1gbit/2ms,1gbit/2ms",
        Fault::None,
    ),
    ("geo_600", "the largest latency spread promised", "fibre=100mbit/10ms,geo=20mbit/600ms", Fault::None),
    ("three_wan", "a home with fibre, LTE and Starlink", THREE_WAN, Fault::None),
    ("shared_neck", "coupled congestion control: no more than one fair share", TWINS, Fault::SharedNeck),
    ("cut", "failover and come-back", THREE_WAN, Fault::CutBest),
    ("brownout", "a link that is worse than dead", TWINS, Fault::Brownout),
    ("flap", "hysteresis", TWINS, Fault::Flap),
    ("asym_cut", "ACK path failure", THREE_WAN, Fault::CutBestUp),
    ("blackhole_mtu", "MTU black hole", TWINS, Fault::BlackHole),
    ("nat_rebind", "NAT that forgets its mapping", TWINS, Fault::Rebind),
];

impl Profile {
    /// Every profile; the first [`PUBLISHED`] are the published sweep.
    #[must_use]
    pub fn all() -> Vec<Self> {
        ROWS.iter().map(Self::from_row).collect()
    }

    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        ROWS.iter().find(|(n, ..)| *n == name).map(Self::from_row)
    }

    /// The same profile as netem emulates it: reordering jitter and 1000 packets of queue and wire together. Only
    /// comparisons with the published figures want this.
    #[must_use]
    pub fn as_netem(mut self) -> Self {
        for link in &mut self.links {
            link.spec = link.spec.clone().as_netem();
        }
        self
    }

    fn from_row(&(name, about, links, fault): &Row) -> Self {
        // A test parses every row, so the fallback to no links is never taken.
        let links = NamedLink::parse_list(links).unwrap_or_default();
        Self { name, about, links, neck: fault.neck(), schedule: fault.schedule() }
    }
}

impl Fault {
    fn neck(self) -> Option<Neck> {
        let Self::SharedNeck = self else { return None };
        let rate = Rate::from_bits_per_second(60_000_000);
        // The default rule for the whole way: the neck itself adds no delay, the links before it add 20 ms.
        let queue = DirectionSpec::new(rate, ms(20)).queue_bytes_by_rule();
        Some(Neck { spec: LinkSpec::new(rate, Duration::ZERO).queue(Limit::Bytes(queue)), links: vec![0, 1] })
    }

    /// Link 0 is the best link of each profile that has a fault.
    fn schedule(self) -> Schedule {
        let none = Schedule::new();
        let (from, to) = (ms(3_000), ms(8_000));
        match self {
            Self::None | Self::SharedNeck => none,
            Self::CutBest => none.cut(0, Ways::Both, from, to),
            // Bulk data flows down in the measurements, so the ACKs flow up.
            Self::CutBestUp => none.cut(0, Ways::Only(Way::Up), from, to),
            Self::Brownout => {
                let effect = Effect::Brownout {
                    rate: Some(Rate::from_bits_per_second(2_000_000)),
                    delay: Some(ms(200)),
                    loss: Some(Loss::Bernoulli(0.05)),
                };
                none.with(0, Ways::Both, When::Between(from, to), effect)
            }
            Self::Flap => none.flap(0, ms(300), ms(2_000)),
            Self::BlackHole => none.black_hole(0, 1280, ms(2_000)),
            Self::Rebind => none.rebind(0, ms(5_000)),
        }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests;
