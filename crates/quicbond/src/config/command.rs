//! `quicbond config`.

use super::section::Section;
use super::{Client, Problems, Server, defaults, parse, reference, text_of};
use crate::cli::{ConfigCommand, Role};
use crate::output::Output;
use std::path::Path;
use std::process::ExitCode;
use toml::de::DeTable;

pub(crate) fn run(command: &ConfigCommand) -> ExitCode {
    match command {
        ConfigCommand::Check { file, role } => check(file, *role),
        ConfigCommand::Defaults { markdown: true, .. } => print(&reference()),
        ConfigCommand::Defaults { role: Some(Role::Server), .. } => print(&of_server()),
        ConfigCommand::Defaults { role: Some(Role::Client), .. } => print(&of_client()),
        ConfigCommand::Defaults { role: None, .. } => {
            let rule = format!("# {}\n", "-".repeat(98));
            print(&format!("{rule}{}\n{rule}{}", of_server(), of_client()))
        }
    }
}

pub(super) fn of_server() -> String {
    defaults::<Server>(
        "server.toml: configuration of `quicbond server run`. What is commented out is the default.",
        &[],
    )
}

pub(super) fn of_client() -> String {
    defaults::<Client>(
        "client.toml: configuration of `quicbond client`. What is commented out is the default.",
        &[],
    )
}

fn print(text: &str) -> ExitCode {
    Output::Stdout.write(text);
    ExitCode::SUCCESS
}

fn check(file: &Path, role: Option<Role>) -> ExitCode {
    match checked(file, role) {
        Ok(role) => print(&format!("{}: this is a good configuration of a {role}\n", file.display())),
        Err(problems) => {
            Output::Stderr.write(&format!("{problems}\n"));
            ExitCode::FAILURE
        }
    }
}

fn checked(file: &Path, role: Option<Role>) -> Result<&'static str, Problems> {
    let name = file.display().to_string();
    let text = text_of(file).map_err(|why| Problems::of_file(&name, why))?;
    match role.unwrap_or_else(|| likely_role(&text, &name)) {
        Role::Server => parse::<Server>(&text, &name).map(|_| "server"),
        Role::Client => parse::<Client>(&text, &name).map(|_| "client"),
    }
}

/// Whose file it is: the one that knows more of its names; in doubt what the file's name says.
pub(super) fn likely_role(text: &str, file: &str) -> Role {
    let (server, client) = (known::<Server>(text), known::<Client>(text));
    if client > server || (client == server && file.contains("client")) { Role::Client } else { Role::Server }
}

fn known<S: Section>(text: &str) -> usize {
    let (document, _) = DeTable::parse_recoverable(text);
    let chapters = S::chapters("");
    let is_known = |name: &str| {
        chapters
            .iter()
            .any(|c| c.name == name || (c.name.is_empty() && c.keys.iter().any(|k| k.name == name)))
    };
    document.get_ref().keys().filter(|key| is_known(key.get_ref())).count()
}
