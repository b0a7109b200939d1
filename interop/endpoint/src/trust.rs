//! Certificates, keys and tickets: the TLS half of both roles.

use crate::Failure;
use crate::case::{ALPN_HQ, Plan, Role};
use crate::options::Options;
use mpquic::tls::{self, KeyLog};
use mpquic::{Admission, ClientConfig, Identity, Pin, PreferredAddresses, ServerConfig, TransportConfig};
use std::path::Path;
use std::sync::Arc;

/// Servers whose tickets a client keeps.
const SERVERS: usize = 8;
/// Sessions that a server keeps.
const SESSIONS: usize = 256;

pub(crate) fn server(
    options: &Options,
    preferred: Option<PreferredAddresses>,
) -> Result<ServerConfig, Failure> {
    let case = options.case;
    let mut tls = tls::ServerConfig::with_identity(identity(&options.certs)?).ciphers(case.ciphers());
    if let Some(log) = key_log(options)? {
        tls = tls.key_log(log);
    }
    let tls = tls.build(&[ALPN_HQ, mpquic_h3::ALPN]).map_err(|e| Failure::new("server", e))?;
    let transport = TransportConfig { preferred_address: preferred, ..case.transport(Role::Server) };
    let mut config = ServerConfig::with_tls(tls).transport(transport);
    config = config.admission(Admission { retry: case.retry_policy(), ..Admission::default() });
    if let Plan::ComeBack { early } = case.plan() {
        config = config.resumption(SESSIONS).early_data(early);
    }
    Ok(config)
}

/// Trusts the very certificate that the runner made for the server. Its chain of nine in one case is longer than web
/// clients follow, and that case is about the length of the server's first flight.
pub(crate) fn client(options: &Options) -> Result<ClientConfig, Failure> {
    let case = options.case;
    let pins = [Pin::Certificate(identity(&options.certs)?.fingerprint())];
    let tls = tls::ClientConfig::pinned(&pins).map_err(|e| Failure::new("client", e))?;
    let mut tls = tls.ciphers(case.ciphers());
    if let Some(log) = key_log(options)? {
        tls = tls.key_log(log);
    }
    let alpn = if case.is_http3() { mpquic_h3::ALPN } else { ALPN_HQ };
    let tls = tls.build(&[alpn]).map_err(|e| Failure::new("client", e))?;
    let mut config = ClientConfig::with_tls(tls).transport(case.transport(Role::Client));
    if let Plan::ComeBack { early } = case.plan() {
        config = config.resumption(SERVERS).early_data(early);
    }
    Ok(config)
}

fn identity(certs: &Path) -> Result<Identity, Failure> {
    let read = |name: &str| {
        let path = certs.join(name);
        std::fs::read(&path).map_err(|e| Failure::new(path.display(), e))
    };
    Identity::from_pem(&read("cert.pem")?, &read("priv.key")?).map_err(|e| Failure::new(certs.display(), e))
}

fn key_log(options: &Options) -> Result<Option<Arc<KeyLog>>, Failure> {
    let Some(path) = &options.key_log else { return Ok(None) };
    let log = KeyLog::append_to(path).map_err(|e| Failure::new(path.display(), e))?;
    Ok(Some(Arc::new(log)))
}
