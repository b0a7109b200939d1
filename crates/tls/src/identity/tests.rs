use super::*;
use crate::rig::{self, Pair, V1};
use crate::{Pin, ServerConfig};

/// One PEM section (RFC 7468, base64 by RFC 4648 §4).
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { digit.into() } else { '=' });
        }
    }
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|l| String::from_utf8_lossy(l).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn an_identity_survives_storage_in_either_form() {
    for kind in [KeyKind::EcdsaP256, KeyKind::Ed25519] {
        let made = Identity::self_signed_with(&["a.example", "192.0.2.1"], kind).unwrap();
        let hash = made.fingerprint();
        let client = rig::pinning(&[Pin::Certificate(hash)]);
        let chain = format!("some words\n{}", pem("CERTIFICATE", made.certificate()));
        let key = pem("PRIVATE KEY", made.private_key());
        let from_pem = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let from_der =
            Identity::from_der(vec![made.certificate().to_vec()], made.private_key().to_vec()).unwrap();
        for loaded in [from_pem, from_der] {
            assert_eq!(loaded.fingerprint(), hash);
            assert_eq!(loaded.public_key_fingerprint(), made.public_key_fingerprint());
            Pair::of(&client, &rig::serving(loaded), V1, "a.example").complete();
        }
    }
}

#[test]
fn a_chain_keeps_its_order() {
    let (one, two) = (Identity::self_signed(&[]).unwrap(), Identity::self_signed(&[]).unwrap());
    let chain = [one.certificate(), two.certificate()].map(|der| pem("CERTIFICATE", der)).concat();
    let loaded =
        Identity::from_pem(chain.as_bytes(), pem("PRIVATE KEY", one.private_key()).as_bytes()).unwrap();
    assert_eq!(loaded.certificate(), one.certificate());
    assert_eq!(loaded.into_parts().0[1].as_ref(), two.certificate());
}

#[test]
fn what_cannot_be_an_identity_is_refused() {
    let made = Identity::self_signed(&[]).unwrap();
    let (cert, key) = (pem("CERTIFICATE", made.certificate()), pem("PRIVATE KEY", made.private_key()));
    assert!(Identity::from_pem(b"", key.as_bytes()).is_err());
    assert!(Identity::from_pem(cert.as_bytes(), b"").is_err());
    assert!(Identity::from_pem(cert.as_bytes(), cert.as_bytes()).is_err());
    assert!(Identity::from_pem(&cert.as_bytes()[..100], key.as_bytes()).is_err());
    assert!(Identity::from_der(vec![], made.private_key().to_vec()).is_err());
    assert!(Identity::from_der(vec![vec![1]], vec![1, 2, 3]).is_err());
    assert!(Identity::self_signed(&["näme.example"]).is_err());
}

#[test]
fn a_key_of_another_certificate_builds_no_server() {
    let (one, two) = (Identity::self_signed(&[]).unwrap(), Identity::self_signed(&[]).unwrap());
    let mixed = Identity::from_der(vec![one.certificate().to_vec()], two.private_key().to_vec()).unwrap();
    assert!(ServerConfig::with_identity(mixed).build(&[b"h3"]).is_err());
    let broken = Identity::from_der(vec![vec![0x30]], two.private_key().to_vec()).unwrap();
    assert!(broken.public_key_fingerprint().is_err());
    assert!(ServerConfig::with_identity(broken).build(&[b"h3"]).is_err());
}

#[test]
fn debug_output_names_the_certificate_and_no_key() {
    let made = Identity::self_signed(&[]).unwrap();
    let text = format!("{made:?}");
    assert_eq!(text, format!("Identity {{ certificate: sha256:{}, .. }}", made.fingerprint()));
}
