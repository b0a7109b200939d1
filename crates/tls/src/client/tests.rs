use super::*;
use crate::rig::{self, Pair, V1};
use crate::{Fingerprint, Identity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let root = params.self_signed(&key).unwrap().into();
        Self { root, issuer: Issuer::new(params, key) }
    }

    /// A server for the names, valid until the first day of `until`.
    fn issue(&self, names: &[&str], until: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_der(vec![cert.der().to_vec()], key.serialize_der()).unwrap()
    }

    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        Arc::new(ClientConfig::with_roots(roots).unwrap().build(&[b"h3"]).unwrap())
    }
}

#[test]
fn a_certificate_of_a_trusted_authority_is_valid_for_its_names_and_addresses() {
    let authority = Authority::new("root");
    let server = rig::serving(authority.issue(&["a.example", "192.0.2.1", "2001:db8::1"], 4000));
    for name in ["a.example", "192.0.2.1", "2001:db8::1", "[2001:db8::1]"] {
        Pair::of(&authority.client(), &server, V1, name).complete();
    }
    for name in ["b.example", "192.0.2.2"] {
        // RFC 8446 §6: bad_certificate.
        let outcome = Pair::of(&authority.client(), &server, V1, name).run(usize::MAX);
        assert_eq!(outcome.client_alert(), Some(42), "{name}");
    }
}

#[test]
fn expired_foreign_and_self_signed_certificates_are_refused() {
    let authority = Authority::new("root");
    let refused = |identity| {
        Pair::of(&authority.client(), &rig::serving(identity), V1, "a.example").run(usize::MAX).client_alert()
    };
    // RFC 8446 §6: certificate_expired 45, unknown_ca 48.
    assert_eq!(refused(authority.issue(&["a.example"], 2000)), Some(45));
    assert_eq!(refused(Authority::new("other").issue(&["a.example"], 4000)), Some(48));
    // Same name as the trusted authority, another key.
    assert!(refused(Authority::new("root").issue(&["a.example"], 4000)).is_some());
    assert_eq!(refused(Identity::self_signed(&["a.example"]).unwrap()), Some(48));
}

#[test]
fn a_name_that_no_certificate_can_carry_does_not_start() {
    let client = Authority::new("root").client();
    for name in ["", "no name!", "[a.example"] {
        let error = client.clone().start(V1, name, vec![]).err().unwrap();
        assert!(error.contains(&format!("{name:?}")), "{error}");
    }
}

#[test]
fn a_version_without_labels_does_not_start() {
    let (client, server) = rig::configs();
    // A reserved version (RFC 9000 §15).
    assert!(client.start(0x1a2a_3a4a, "localhost", vec![]).is_err());
    assert!(mpquic_proto::crypto::ServerCrypto::start(server, 0x1a2a_3a4a, vec![]).is_err());
}

#[test]
fn trust_in_nobody_cannot_be_configured() {
    assert!(ClientConfig::pinned(&[]).is_err());
    assert!(ClientConfig::with_roots(RootCertStore::empty()).is_err());
    assert!(ClientConfig::with_roots_pem(b"").is_err());
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(ClientConfig::with_roots_pem(broken).is_err());
    let builder = ClientConfig::pinned(&[Pin::Certificate(Fingerprint([0; 32]))]).unwrap();
    assert!(builder.build(&[]).is_err());
}
