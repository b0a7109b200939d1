//! Two paths between us and noq.

use mpquic_interop::exchange::Load;
use mpquic_interop::multipath::{LOAD, noq_asks_us, we_ask_noq};

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
