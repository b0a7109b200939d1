//! `quicbond perf`: one connection between two machines, measured at both ends.
//!
//! The client says on a first stream what it wants (`request`), then both move data on further streams (`traffic`), then
//! the server says on the first stream what it saw (`Tally`). Knows nothing of tunnels and tenants.

mod client;
mod report;
mod request;
mod server;
mod traffic;
mod usage;

use crate::cli::{Choices, PerfCommand};
use crate::daemon;
use crate::output::Output;
use mpquic::TransportConfig;
use std::process::ExitCode;

const ALPN: &[u8] = b"quicbond-perf";
/// Stands for whoever has the pinned key.
const SERVER_NAME: &str = "perf.invalid";
/// Of data streams, and one that says what they are for.
const STREAMS_MAX: u64 = 1001;
const FAILED: u8 = 1;

pub(crate) fn run(command: &PerfCommand) -> ExitCode {
    let ended = match daemon::runtime() {
        Ok(runtime) => runtime.block_on(async {
            match command {
                PerfCommand::Server(args) => server::run(args).await,
                PerfCommand::Client(args) => client::run(args).await,
            }
        }),
        Err(error) => Err(format!("cannot start threads: {error}")),
    };
    match ended {
        Ok(code) => code,
        Err(why) => {
            Output::Stderr.write(&format!("error: {why}\n"));
            ExitCode::from(FAILED)
        }
    }
}

fn transport(choices: &Choices) -> TransportConfig {
    let mut transport =
        TransportConfig { max_streams_bidi: STREAMS_MAX, max_paths: 16, ..TransportConfig::default() };
    if let Some(scheduler) = choices.scheduler {
        transport.set_scheduler(scheduler);
    }
    if let Some(controller) = choices.cc {
        transport.set_controller(controller);
    }
    transport
}
