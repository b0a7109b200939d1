//! One role of one test case, as the environment says. Exit codes are the runner's: 0 done, 1 failed, 127 unknown case.

use mpquic_interop_endpoint::case::Case;
use mpquic_interop_endpoint::options::Options;
use mpquic_interop_endpoint::{Failure, client, server};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The runner's word for a test case that an endpoint does not know.
const UNSUPPORTED: u8 = 127;

#[allow(clippy::disallowed_methods, reason = "the runner speaks to its endpoints through the environment")]
fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let name = variable("TESTCASE").unwrap_or_default();
    let Some(case) = Case::named(&name) else {
        eprintln!("TESTCASE {name:?}: not supported");
        return ExitCode::from(UNSUPPORTED);
    };
    let role = variable("ROLE").unwrap_or_default();
    let done = Options::from_environment(case, variable).and_then(|options| match role.as_str() {
        "client" => block_on(get(options)),
        "server" => block_on(serve(options)),
        _ => Err(Failure(format!("ROLE {role:?}: neither client nor server"))),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Failure(format!("threads: {e}")))?.block_on(work)
}

async fn get(options: Options) -> Result<(), Failure> {
    for tally in client::run(options).await? {
        eprintln!("{tally}");
    }
    Ok(())
}

async fn serve(options: Options) -> Result<(), Failure> {
    let no_signal = |e| Failure(format!("signals: {e}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(no_signal)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(no_signal)?;
    let server = server::start(&options, |tally| eprintln!("{tally}"))?;
    let addresses = server.addresses();
    eprintln!("{}: listening on {addresses:?}", options.case.name());
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    server.stop().await;
    Ok(())
}
