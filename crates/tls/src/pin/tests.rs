use super::*;
use crate::provider::provider;
use crate::rig::{self, Outcome, Pair, SERVER_PARAMETERS, V1};
use crate::session::TlsSession;
use crate::{Identity, KeyKind};
use mpquic_proto::crypto::ClientCrypto;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

#[test]
fn a_fingerprint_reads_back_what_it_prints() {
    let hash = Fingerprint::of_certificate(b"abc");
    // FIPS 180-2 §B.1.
    let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hash.to_string(), text);
    assert_eq!(text.parse(), Ok(hash));
    let colons: Vec<String> = hash.0.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(colons.join(":").parse(), Ok(hash));
    for wrong in ["", "ba78", &text[1..], &format!("{text}00"), &text.replace('b', "g"), "é"] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
}

#[test]
fn a_server_with_another_certificate_is_refused_as_bad() {
    let (client, _) = rig::configs();
    let other = Identity::self_signed(&["localhost"]).unwrap();
    let fingerprint = other.fingerprint().to_string();
    let mut pair = Pair::of(&client, &rig::serving(other), V1, "localhost");
    let Outcome::Client(failure) = pair.run(usize::MAX) else { panic!("the client believes a stranger") };
    // RFC 8446 §6: bad_certificate.
    assert_eq!(failure.alert, 42);
    assert!(failure.reason.contains(&fingerprint), "{}", failure.reason);
    assert_eq!(pair.client.session.peer_certificate(), None);
    assert!(pair.client.one_rtt.is_none());
}

#[test]
fn a_public_key_may_be_pinned_with_either_kind_of_key() {
    for kind in [KeyKind::EcdsaP256, KeyKind::Ed25519] {
        let identity = Identity::self_signed_with(&["a.example"], kind).unwrap();
        let client = rig::pinning(&[Pin::PublicKey(identity.public_key_fingerprint().unwrap())]);
        Pair::of(&client, &rig::serving(identity), V1, "b.example").complete();
        let stranger = Identity::self_signed_with(&["a.example"], kind).unwrap();
        let outcome = Pair::of(&client, &rig::serving(stranger), V1, "b.example").run(usize::MAX);
        assert_eq!(outcome.client_alert(), Some(42));
    }
}

#[test]
fn the_hashes_of_certificate_and_key_do_not_stand_in_for_each_other() {
    let identity = Identity::self_signed(&[]).unwrap();
    let crossed = [
        Pin::PublicKey(identity.fingerprint()),
        Pin::Certificate(identity.public_key_fingerprint().unwrap()),
    ];
    let mut pair = Pair::of(&rig::pinning(&crossed), &rig::serving(identity), V1, "localhost");
    assert_eq!(pair.run(usize::MAX).client_alert(), Some(42));
}

#[test]
fn one_of_several_pins_is_enough() {
    let (old, new) = (Identity::self_signed(&[]).unwrap(), Identity::self_signed(&[]).unwrap());
    let client = rig::pinning(&[Pin::Certificate(old.fingerprint()), Pin::Certificate(new.fingerprint())]);
    Pair::of(&client, &rig::serving(old), V1, "localhost").complete();
    Pair::of(&client, &rig::serving(new), V1, "localhost").complete();
}

#[test]
fn with_a_pin_any_name_will_do() {
    let identity = Identity::self_signed(&["a.example"]).unwrap();
    let client = rig::pinning(&[Pin::Certificate(identity.fingerprint())]);
    let server = rig::serving(identity);
    let names = [
        ("b.example", Some("b.example")),
        ("192.0.2.1", None),
        ("[2001:db8::1]", None),
        ("no name!", None),
        ("", None),
    ];
    for (name, indicated) in names {
        let pair = Pair::of(&client, &server, V1, name).complete();
        let tls: &TlsSession = pair.server.session.as_any().downcast_ref().unwrap();
        assert_eq!(tls.server_name(), indicated, "{name:?}");
    }
}

/// Shows one server's certificate and signs with another's key.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn knowing_the_pinned_certificate_is_not_enough() {
    let real = Identity::self_signed(&["localhost"]).unwrap();
    let pins = [Pin::Certificate(real.fingerprint()), Pin::PublicKey(real.public_key_fingerprint().unwrap())];
    let client = rig::pinning(&pins);
    let (chain, _) = real.into_parts();
    let (_, key) = Identity::self_signed(&["localhost"]).unwrap().into_parts();
    let key = provider(false).key_provider.load_private_key(key).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider(false))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Impostor(Arc::new(CertifiedKey::new(chain, key)))));
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let version = rustls::quic::Version::V1;
    let server = rustls::quic::ServerConnection::new(Arc::new(tls), version, SERVER_PARAMETERS.to_vec());
    let client = client.start(V1, "localhost", vec![]).unwrap();
    let mut pair = Pair::new(client, Box::new(TlsSession::new(server.unwrap(), V1, None)));
    // RFC 8446 §4.4.3: a signature that does not verify is decrypt_error.
    assert_eq!(pair.run(usize::MAX).client_alert(), Some(51));
}
