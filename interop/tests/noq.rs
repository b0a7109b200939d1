//! Two paths between us and noq.

use mpquic_interop::exchange::Load;
use mpquic_interop::stacks::{compare, mpquic, noq};
use mpquic_interop::trust::Trust;
use std::net::Ipv4Addr;
use tokio::join;

const LOAD: u64 = 50_000_000;
/// Two links of the loopback interface.
const LINKS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
/// What each path must have carried in one direction: more than probes and ACKs could ever add up to.
const SHARE_MIN: u64 = 1_000_000;

#[tokio::test]
async fn we_upload_to_noq_over_two_paths() {
    we_ask_noq(Load::up(LOAD)).await;
}

#[tokio::test]
async fn we_download_from_noq_over_two_paths() {
    we_ask_noq(Load::down(LOAD)).await;
}

#[tokio::test]
async fn noq_uploads_to_us_over_two_paths() {
    noq_asks_us(Load::up(LOAD)).await;
}

#[tokio::test]
async fn noq_downloads_from_us_over_two_paths() {
    noq_asks_us(Load::down(LOAD)).await;
}

async fn we_ask_noq(load: Load) {
    let trust = Trust::default();
    let server = noq::Server::bind(&trust);
    let addresses = LINKS.map(|link| (link, server.port()).into());
    let (ours, theirs) = join!(mpquic::client(&trust, &LINKS, &addresses, load), server.serve());
    compare(load, LINKS.len(), SHARE_MIN, [("mpquic", ours), ("noq", theirs)]);
}

async fn noq_asks_us(load: Load) {
    let trust = Trust::default();
    let server = mpquic::Server::bind(&trust, &LINKS);
    let addresses = server.addresses();
    let (ours, theirs) = join!(server.serve(), noq::client(&trust, &addresses, load));
    compare(load, LINKS.len(), SHARE_MIN, [("mpquic", ours), ("noq", theirs)]);
}
