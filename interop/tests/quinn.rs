//! One path between us and quinn.

use mpquic_interop::exchange::Load;
use mpquic_interop::stacks::{compare, mpquic, quinn};
use mpquic_interop::trust::Trust;
use std::net::Ipv4Addr;
use tokio::join;

const LOAD: u64 = 10_000_000;
const LINKS: [Ipv4Addr; 1] = [Ipv4Addr::LOCALHOST];

#[tokio::test]
async fn we_upload_to_quinn() {
    we_ask_quinn(Load::up(LOAD)).await;
}

#[tokio::test]
async fn we_download_from_quinn() {
    we_ask_quinn(Load::down(LOAD)).await;
}

#[tokio::test]
async fn quinn_uploads_to_us() {
    quinn_asks_us(Load::up(LOAD)).await;
}

#[tokio::test]
async fn quinn_downloads_from_us() {
    quinn_asks_us(Load::down(LOAD)).await;
}

async fn we_ask_quinn(load: Load) {
    let trust = Trust::default();
    let server = quinn::Server::bind(&trust);
    let addresses = [(LINKS[0], server.port()).into()];
    let (ours, theirs) = join!(mpquic::client(&trust, &LINKS, &addresses, load), server.serve());
    compare(load, 1, LOAD, [("mpquic", ours), ("quinn", theirs)]);
}

async fn quinn_asks_us(load: Load) {
    let trust = Trust::default();
    let server = mpquic::Server::bind(&trust, &LINKS);
    let address = server.addresses()[0];
    let (ours, theirs) = join!(server.serve(), quinn::client(&trust, address, load));
    compare(load, 1, LOAD, [("mpquic", ours), ("quinn", theirs)]);
}
