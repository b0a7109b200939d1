//! `quicbond server tenant`.

use super::init::pin_of;
use super::{now, present};
use crate::cli::{Tenant as Named, TenantCommand};
use crate::config::{self, Server};
use crate::control::{AskError, Request, Response, ask};
use crate::output::Output;
use crate::tenants::{self, Tenants};
use crate::text;
use crate::token::{ServerAddress, Token};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(command: &TenantCommand) -> ExitCode {
    let said = match command {
        TenantCommand::Add { tenant, address, qr, json } => add(tenant, address.as_ref(), *qr, *json),
        TenantCommand::Remove { tenant } => remove(tenant),
        TenantCommand::List { config, json } => list(config, *json),
    };
    match said {
        Ok(text) => {
            Output::Stdout.write(&text);
            ExitCode::SUCCESS
        }
        Err(why) => {
            Output::Stderr.write(&format!("error: {why}\n"));
            ExitCode::FAILURE
        }
    }
}

fn add(
    Named { config, name }: &Named,
    address: Option<&ServerAddress>,
    qr: bool,
    json: bool,
) -> Result<String, String> {
    let server = load(config)?;
    // Everything that can fail comes before the file is changed.
    let pin = pin_of(&server.certificate, &server.key)?;
    let known = Tenants::load(&server.tenants).map_err(|problems| problems.to_string())?;
    let address = address.or(known.address()).cloned().ok_or_else(|| {
        format!("{} names no address for tokens; say it with --address HOST:PORT", server.tenants.display())
    })?;
    let tenant = tenants::add(&server.tenants, name, Some(&address), now())?;
    let token = Token { server: address, pin, tenant: tenant.name, secret: tenant.secret };
    let news = tell_the_server(&server);
    if json {
        let object = json!({
            "token": token.encoded(),
            "address": token.server.to_string(),
            "pin": token.pin.to_string(),
            "tenant": token.tenant.as_str(),
            "server_reloaded": news.is_known(),
        });
        return Ok(format!("{object}\n"));
    }
    Ok(format!("{}{name} may connect{}\n", present::token(&token, qr), news.text()))
}

fn remove(Named { config, name }: &Named) -> Result<String, String> {
    let server = load(config)?;
    tenants::remove(&server.tenants, name)?;
    Ok(format!("{name} may connect no more{}\n", tell_the_server(&server).text()))
}

fn list(config: &Path, json: bool) -> Result<String, String> {
    let server = load(config)?;
    let tenants = Tenants::load(&server.tenants).map_err(|problems| problems.to_string())?;
    if json {
        let all: Vec<_> = tenants
            .iter()
            .map(|t| {
                json!({
                    "name": t.name.as_str(),
                    "id": t.id,
                    "created": t.created,
                    "clients": t.limits.clients,
                    "flows": t.limits.flows,
                })
            })
            .collect();
        return Ok(format!("{}\n", json!({ "tenants": all })));
    }
    let header = ["tenant", "id", "created", "clients", "flows"].map(str::to_owned).into();
    let limit = |value: Option<u32>, default: &str| value.map_or(default.to_owned(), |n| n.to_string());
    let flows = server.limits.flows_per_tenant.to_string();
    let rows = tenants.iter().map(|t| {
        vec![
            t.name.to_string(),
            t.id.to_string(),
            t.created.clone(),
            limit(t.limits.clients, "any"),
            limit(t.limits.flows, &flows),
        ]
    });
    let rows: Vec<Vec<String>> = core::iter::once(header).chain(rows).collect();
    Ok(text::columns(&rows, &[false, true, false, true, true], ""))
}

fn load(config: &Path) -> Result<Server, String> {
    if !config.exists() {
        return Err(format!(
            "there is no {}; `quicbond server init` makes it, --config names another",
            config.display()
        ));
    }
    config::load(config).map_err(|problems| problems.to_string())
}

/// What the running server made of a change.
enum News {
    Known,
    NobodyRuns,
    Unknown(String),
}

fn tell_the_server(server: &Server) -> News {
    match ask(&server.control, Request::Reload) {
        Ok(Response::Failed { why }) => News::Unknown(why),
        Ok(_) => News::Known,
        Err(AskError::NobodyThere) => News::NobodyRuns,
        Err(error) => News::Unknown(error.to_string()),
    }
}

impl News {
    fn is_known(&self) -> bool {
        matches!(self, Self::Known)
    }

    fn text(&self) -> String {
        match self {
            Self::Known => "; the running server knows".to_owned(),
            Self::NobodyRuns => " (no server is running; it will know when it starts)".to_owned(),
            Self::Unknown(why) => {
                format!("; the file is changed, but the running server did not say that it knows: {why}")
            }
        }
    }
}
