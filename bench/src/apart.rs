//! Which executable plays the ends of a stack: this one, or for tquic one of its own. tquic and quiche each link a BoringSSL, so that
//! no executable can hold both; the other one is this package again, with nothing but tquic in it, built by cargo.

use crate::stack::Stack;
use crate::{Failure, Options, stacks};
use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// This package, where it was built.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
const FEATURES: &[&str] = &["--no-default-features", "--features", stacks::TQUIC];
/// What a build needs that cargo does not bring, and the variable that names another program for it.
const TOOLS: &[(&str, &str, &str)] = &[("cmake", "cmake", "CMAKE"), ("a C++ compiler", "c++", "CXX")];

#[derive(Debug)]
pub(crate) struct Executables {
    here: PathBuf,
    apart: Option<PathBuf>,
}

impl Executables {
    /// Builds the other one if it is asked for.
    pub(crate) fn ready(options: &Options) -> Result<Self, Failure> {
        let wanted = |stack: &Stack| stacks::is_apart(stack.name) && options.want(stack);
        let apart = if stacks::ALL.iter().any(wanted) { Some(build()?) } else { None };
        Ok(Self { here: env::current_exe()?, apart })
    }

    pub(crate) fn of(&self, stack: &Stack) -> &Path {
        self.apart.as_deref().filter(|_| stacks::is_apart(stack.name)).unwrap_or(&self.here)
    }
}

/// cargo shows its progress by itself; a build that is up to date takes it a moment.
fn build() -> Result<PathBuf, Failure> {
    eprintln!("tquic: an executable for it, by cargo (the first time it takes some minutes)");
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(PACKAGE).join("target"), PathBuf::from);
    let target = target.join(stacks::TQUIC);
    let failed = |why: &str| failed(why, &target);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--message-format", "json-render-diagnostics"]).args(FEATURES);
    cargo.arg("--manifest-path").arg(Path::new(PACKAGE).join("Cargo.toml")).arg("--target-dir").arg(&target);
    let built = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.map_err(|error| failed(&format!("cargo does not start: {error}")))?;
    if !built.status.success() {
        return Err(failed("cargo says why above"));
    }
    let said = String::from_utf8_lossy(&built.stdout);
    said.lines().find_map(executable).ok_or_else(|| failed("cargo named no executable"))
}

/// The executable that a message of cargo is about.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(PathBuf::from)
}

fn failed(why: &str, target: &Path) -> Failure {
    let needs = needs(|program, variable| {
        let program = env::var_os(variable).unwrap_or_else(|| program.into());
        let asked =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    });
    let (features, target) = (FEATURES.join(" "), target.display());
    format!(
        "tquic's executable could not be built: {why}. It takes {needs}. By hand: \
         cargo build --release --manifest-path {PACKAGE}/Cargo.toml {features} --target-dir {target}"
    )
    .into()
}

/// Says of each tool whether it is there.
fn needs(is_there: impl Fn(&str, &str) -> bool) -> String {
    let tool = |&(what, program, variable): &(&str, &str, &str)| {
        format!("{what} ({})", if is_there(program, variable) { "found" } else { "NOT FOUND: install it" })
    };
    let tools: Vec<String> = TOOLS.iter().map(tool).collect();
    format!("{} and, the first time, access to crates.io", tools.join(", "))
}

#[cfg(test)]
mod tests;
