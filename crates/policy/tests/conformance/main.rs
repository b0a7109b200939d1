//! What every congestion controller and every scheduler must do, whatever its ideas: each property is tried on
//! each entry of the lists, so a new policy is tested by being listed.

#![forbid(unsafe_code)]

mod controllers;
mod flows;
mod link;
mod path;
mod schedulers;
mod storms;

use mpquic_policy::{Entry, cc::Controller};

/// Controllers that follow a measured rate. They need not answer each loss and each mark; all others are held
/// to the rules for loss-based controllers.
const RATE_BASED: &[&str] = &["bbr"];

fn is_loss_based(entry: &Entry<dyn Controller>) -> bool {
    !RATE_BASED.contains(&entry.name)
}

/// What persistent congestion leaves of a window at most, in packets: RFC 9002 §7.6.2 asks for two, and rate-based
/// controllers keep four to measure with.
fn collapsed_packets(entry: &Entry<dyn Controller>) -> u64 {
    if is_loss_based(entry) { 2 } else { 4 }
}

fn with_defaults(entry: &Entry<dyn Controller>) -> Box<dyn Controller> {
    (entry.build)(&entry.defaults())
}
