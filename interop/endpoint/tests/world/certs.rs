//! A folder with a certificate chain as the runner makes it: `cert.pem`, `priv.key`, `ca.pem`.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use std::fs;
use std::path::Path;

/// The names that the runner's URLs have.
const NAMES: [&str; 4] = ["server", "server4", "server6", "server46"];

/// A leaf below `length - 1` intermediate authorities and a root. A chain of more than one is inflated by long names.
pub(crate) fn make(folder: &Path, length: usize) {
    let root = authority("root");
    fs::write(folder.join("ca.pem"), root.pem()).unwrap();
    let mut chain = Vec::new();
    let mut issuer = root;
    for i in 1..length {
        let params = authority_params(&format!("intermediate {i}"));
        let next = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &issuer).unwrap();
        chain.push(next.pem());
        issuer = next;
    }
    let mut names: Vec<String> = NAMES.map(str::to_owned).to_vec();
    if length > 1 {
        names.extend((0..20).map(|i| format!("{i:x}").repeat(120)));
    }
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = name("leaf");
    let key = KeyPair::generate().unwrap();
    chain.push(params.signed_by(&key, &issuer).unwrap().pem());
    chain.reverse();
    fs::write(folder.join("cert.pem"), chain.concat()).unwrap();
    fs::write(folder.join("priv.key"), key.serialize_pem()).unwrap();
}

fn authority(what: &str) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::self_signed(authority_params(what), KeyPair::generate().unwrap()).unwrap()
}

fn authority_params(what: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(what);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn name(what: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, format!("interop {what}"));
    name
}
