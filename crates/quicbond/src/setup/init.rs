//! `quicbond server init`.

use super::{address, now, pem, present};
use crate::cli::Init;
use crate::config::{CONFIG_DIR, Server, any, defaults};
use crate::files::{self, PRIVATE, PUBLIC};
use crate::output::Output;
use crate::tenants;
use crate::token::{DEFAULT_PORT, ServerAddress, Token};
use mpquic::{Fingerprint, Identity};
use serde_json::json;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Enough to find the files, not to read the secret ones.
const FOLDER_MODE: u32 = 0o755;
/// Where `--force` keeps what it replaces.
const OLD: &str = "old";

const CONFIG_HEAD: &str = "\
server.toml: configuration of `quicbond server run`. What is commented out is the default; `quicbond config check` names \
wrong lines.";

pub(crate) fn run(args: &Init) -> ExitCode {
    match set_up(args) {
        Ok(made) => {
            Output::Stdout.write(&if args.json { made.json() } else { made.text(args.qr) });
            ExitCode::SUCCESS
        }
        Err(why) => {
            Output::Stderr.write(&format!("error: {why}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The files of a server.
struct Files {
    config: PathBuf,
    tenants: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn in_folder(folder: &Path) -> Self {
        Self {
            config: folder.join("server.toml"),
            tenants: folder.join("tenants.toml"),
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        }
    }

    fn all(&self) -> [&PathBuf; 4] {
        [&self.config, &self.tenants, &self.certificate, &self.key]
    }
}

/// What was made.
struct Made {
    token: Token,
    files: Files,
    guessed: bool,
    key_kept: bool,
    /// Old files under new names.
    kept: Vec<PathBuf>,
}

fn set_up(args: &Init) -> Result<Made, String> {
    let files = Files::in_folder(&args.dir);
    if !args.force {
        refuse_to_overwrite(&files)?;
    }
    let (address, guessed) = match &args.address {
        Some(address) => (address.clone(), false),
        None => (address::guess().ok_or(NO_ADDRESS)?, true),
    };
    if !args.dir.is_dir() {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&args.dir);
        made.map_err(|error| format!("{}: cannot be made: {error}", args.dir.display()))?;
    }
    let (pin, key_kept) = identity(&files, &address)?;
    let kept = if args.force { keep_old(&files)? } else { Vec::new() };
    let tenant = tenants::found(&files.tenants, &args.name, &address, now(), args.force)?;
    let write = if args.force { files::replace } else { files::create };
    write(&files.config, &config_text(&address), PUBLIC)
        .map_err(|error| format!("{}: cannot be written: {error}", files.config.display()))?;
    let token = Token { server: address, pin, tenant: tenant.name, secret: tenant.secret };
    Ok(Made { token, files, guessed, key_kept, kept })
}

const NO_ADDRESS: &str = "this host has no route to the Internet, so its address cannot be guessed; say it with --address HOST:PORT";

fn refuse_to_overwrite(files: &Files) -> Result<(), String> {
    let there: Vec<String> =
        files.all().into_iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(format!(
        "a server is set up here already ({}); `quicbond server tenant add NAME` makes another token, --force starts \
         anew and keeps the key",
        there.join(", ")
    ))
}

/// The pin of the key that is there, or of a new one. A key is never replaced: all tokens depend on it.
fn identity(files: &Files, address: &ServerAddress) -> Result<(Fingerprint, bool), String> {
    let (certificate, key) = (&files.certificate, &files.key);
    match (certificate.exists(), key.exists()) {
        (true, true) => pin_of(certificate, key).map(|pin| (pin, true)),
        (false, false) => {
            let identity = Identity::self_signed(&[address.host()]).map_err(|error| error.to_string())?;
            let pin = identity.public_key_fingerprint().map_err(|error| error.to_string())?;
            let write = |path: &Path, text: &str, mode| {
                files::create(path, text, mode)
                    .map_err(|error| format!("{}: cannot be written: {error}", path.display()))
            };
            write(key, &pem("PRIVATE KEY", identity.private_key()), PRIVATE)?;
            write(certificate, &pem("CERTIFICATE", identity.certificate()), PUBLIC)?;
            Ok((pin, false))
        }
        (has_certificate, _) => {
            let (there, missing) = if has_certificate { (certificate, key) } else { (key, certificate) };
            let (there, missing) = (there.display(), missing.display());
            Err(format!(
                "{there} is there without {missing}; put that back, or move the first away for a new key"
            ))
        }
    }
}

/// The pin of the certificate that a server with these files would show.
pub(super) fn pin_of(certificate: &Path, key: &Path) -> Result<Fingerprint, String> {
    let read =
        |path: &Path| fs::read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()));
    let identity = Identity::from_pem(&read(certificate)?, &read(key)?);
    let identity =
        identity.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?;
    identity.public_key_fingerprint().map_err(|error| format!("{}: {error}", certificate.display()))
}

fn keep_old(files: &Files) -> Result<Vec<PathBuf>, String> {
    let mut kept = Vec::new();
    for path in [&files.config, &files.tenants].into_iter().filter(|path| path.exists()) {
        let old = path.with_extension(format!("toml.{OLD}"));
        // A copy keeps the mode, and the file stays in its place until it is replaced.
        fs::copy(path, &old).map_err(|error| format!("{}: cannot be kept: {error}", path.display()))?;
        kept.push(old);
    }
    Ok(kept)
}

fn config_text(address: &ServerAddress) -> String {
    let listen: Vec<String> = any(address.port()).iter().map(|listen| format!("\"{listen}\"")).collect();
    let listen = format!("[{}]", listen.join(", "));
    let set = if address.port() == DEFAULT_PORT { Vec::new() } else { vec![("listen", listen)] };
    defaults::<Server>(CONFIG_HEAD, &set)
}

impl Made {
    fn json(&self) -> String {
        let names = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        let object = json!({
            "token": self.token.encoded(),
            "address": self.token.server.to_string(),
            "address_guessed": self.guessed,
            "pin": self.token.pin.to_string(),
            "tenant": self.token.tenant.as_str(),
            "config": self.files.config.display().to_string(),
            "files": names(&self.files.all().map(PathBuf::clone)),
            "key_kept": self.key_kept,
            "kept": names(&self.kept),
        });
        format!("{object}\n")
    }

    fn text(&self, qr: bool) -> String {
        let config = self.files.config.display();
        let mut text = present::token(&self.token, qr);
        text.push_str(&format!("The files are in {}.\n", config_folder(&self.files.config)));
        if self.key_kept {
            text.push_str("The key is the old one; the old tokens are void, because the tenants are new.\n");
        }
        for old in &self.kept {
            text.push_str(&format!("What was there before is now {}.\n", old.display()));
        }
        text.push_str(&self.about_address());
        let is_usual = self.files.config.parent() == Some(Path::new(CONFIG_DIR));
        let option = if is_usual { String::new() } else { format!(" --config {config}") };
        text.push_str(&format!("Next, here:       quicbond server run{option}\n"));
        text.push_str(&format!("Then at a client: quicbond client up {}\n", self.token.encoded()));
        text
    }

    fn about_address(&self) -> String {
        let server = &self.token.server;
        let advice = "quicbond server init --force --address HOST:PORT";
        match (self.guessed, address::is_private(server)) {
            (true, true) => format!(
                "The address {server} is a guess, and a private one: unless all clients are in the same network, say \
                 the public one with: {advice}\n"
            ),
            (true, false) => format!("The address {server} is a guess; if clients need another: {advice}\n"),
            (false, true) => {
                format!("Note that {server} is a private address, which the Internet does not reach.\n")
            }
            (false, false) => String::new(),
        }
    }
}

fn config_folder(config: &Path) -> String {
    config.parent().map_or_else(String::new, |folder| folder.display().to_string())
}
