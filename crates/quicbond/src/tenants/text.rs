//! The file of tenants as text.

use super::{Contents, Tenant, TenantLimits};
use crate::config::{Problems, quoted};
use crate::token::{Secret, TenantName};
use core::fmt::Write as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// As on the server's `[limits]`.
const CLIENTS_MAX: u32 = 65_536;
const FLOWS_MAX: u32 = 1_000_000;
/// More than a date takes.
const CREATED_MAX: usize = 64;

const HEAD: &str = "\
# Tenants of this quicbond server, with their secrets: keep this file readable for the server only.
# `quicbond server tenant add|remove` writes it. By hand you may add limits to a tenant:
#   clients = 4        connected at once
#   flows = 1000       TCP and UDP flows at once
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    address: Option<Spanned<String>>,
    #[serde(default)]
    tenant: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    id: u32,
    secret: Spanned<String>,
    #[serde(default)]
    created: String,
    clients: Option<Spanned<u32>>,
    flows: Option<Spanned<u32>>,
}

pub(super) fn write(contents: &Contents) -> String {
    let mut text = HEAD.to_owned();
    if let Some(address) = &contents.address {
        write!(
            text,
            "\n# Where clients find this server: what the next token will say.\naddress = \"{address}\"\n"
        )
        .ok();
    }
    for Tenant { name, id, secret, created, limits } in contents.list.values() {
        write!(text, "\n[[tenant]]\nname = \"{name}\"\nid = {id}\nsecret = \"{}\"\n", secret.to_base64())
            .ok();
        writeln!(text, "created = {}", quoted(created)).ok();
        for (key, value) in [("clients", limits.clients), ("flows", limits.flows)] {
            if let Some(value) = value {
                writeln!(text, "{key} = {value}").ok();
            }
        }
    }
    text
}

/// Reads `text`, which problems call `file`. No problem repeats a secret.
pub(super) fn read(text: &str, file: &str) -> Result<Contents, Problems> {
    let document: Document = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Problems::at(file, text, at, error.message().replace('\n', "; "))
    })?;
    let wrong = |at: usize, why: String| Problems::at(file, text, at, why);
    let address = match document.address {
        Some(found) => {
            let at = found.span().start;
            Some(found.get_ref().parse().map_err(|why| wrong(at, format!("address: {why}")))?)
        }
        None => None,
    };
    let mut list: BTreeMap<TenantName, Tenant> = BTreeMap::new();
    for found in document.tenant {
        let at = found.span().start;
        let tenant = tenant(found.into_inner(), &wrong)?;
        if list.values().any(|other| other.id == tenant.id) {
            return Err(wrong(at, format!("id {} is given twice; every tenant has its own", tenant.id)));
        }
        if let Some(old) = list.insert(tenant.name.clone(), tenant) {
            return Err(wrong(at, format!("there are two tenants {}; remove one", old.name)));
        }
    }
    Ok(Contents { address, list })
}

fn tenant(entry: Entry, wrong: &dyn Fn(usize, String) -> Problems) -> Result<Tenant, Problems> {
    let name = entry.name.get_ref().parse::<TenantName>();
    let name = name.map_err(|why| wrong(entry.name.span().start, format!("name: {why}")))?;
    let secret = Secret::from_base64(entry.secret.get_ref()).ok_or_else(|| {
        let why = "secret: 32 bytes in base64 are needed; remove the tenant and add it again for a new one";
        wrong(entry.secret.span().start, why.to_owned())
    })?;
    let limit = |key: &str, value: Option<Spanned<u32>>, max: u32| match value {
        Some(found) if !(1..=max).contains(found.get_ref()) => {
            let why = format!("{key}: {} will not do; write a whole number from 1 to {max}", found.get_ref());
            Err(wrong(found.span().start, why))
        }
        Some(found) => Ok(Some(found.into_inner())),
        None => Ok(None),
    };
    let limits = TenantLimits {
        clients: limit("clients", entry.clients, CLIENTS_MAX)?,
        flows: limit("flows", entry.flows, FLOWS_MAX)?,
    };
    let created = entry.created.chars().take(CREATED_MAX).collect();
    Ok(Tenant { name, id: entry.id, secret, created, limits })
}
