//! `quicbond client`.

use crate::cli::{Down, Socks, Up};
use crate::output::Output;
use std::process::ExitCode;

pub(crate) fn up(_args: &Up) -> ExitCode {
    absent()
}

pub(crate) fn down(_args: &Down) -> ExitCode {
    absent()
}

pub(crate) fn socks(_args: &Socks) -> ExitCode {
    absent()
}

fn absent() -> ExitCode {
    Output::Stderr.write("error: the client is not part of this build\n");
    ExitCode::FAILURE
}
