//! `quicbond server run`.

use crate::cli::Run;
use crate::output::Output;
use std::process::ExitCode;

pub(crate) fn run(_args: &Run) -> ExitCode {
    Output::Stderr.write("error: the server is not part of this build\n");
    ExitCode::FAILURE
}
