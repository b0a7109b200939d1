use super::{AuthError, Claim, Exported, exporter_context, prove};
use crate::token::{Secret, TenantName};

const EXPORTED: Exported = [3; 32];

fn name(text: &str) -> TenantName {
    text.parse().unwrap()
}

fn secret(byte: u8) -> Secret {
    Secret::from_bytes([byte; 32])
}

#[test]
fn a_client_that_knows_the_secret_is_believed() {
    let header = prove(&name("alice"), &secret(1), &EXPORTED);
    let claim = Claim::parse(&header).unwrap();
    assert_eq!((claim.tenant(), exporter_context(claim.tenant())), (&name("alice"), &b"alice"[..]));
    assert_eq!(claim.verify(Some(&secret(1)), &EXPORTED), Ok(()));
}

#[test]
fn the_proof_is_the_hmac_that_the_documentation_names() {
    // Computed with Python: hmac.new(bytes([1]*32), b"quicbond client v1" + bytes([3]*32), "sha256").
    let proof = "Fp_ceEA668XThb58sw1PPnrb7D7hYrubj6VhgPnDA-I";
    let header = prove(&name("alice"), &secret(1), &EXPORTED);
    assert_eq!(header, format!("Quicbond tenant=\"alice\", proof=\"{proof}\""));
}

#[test]
fn a_proof_of_another_connection_is_refused() {
    let claim = Claim::parse(&prove(&name("alice"), &secret(1), &EXPORTED)).unwrap();
    for byte in 0..32 {
        let mut other = EXPORTED;
        other[byte] ^= 1;
        assert_eq!(claim.verify(Some(&secret(1)), &other), Err(AuthError::Refused), "byte {byte}");
    }
}

#[test]
fn a_proof_with_another_tenants_secret_is_refused() {
    let claim = Claim::parse(&prove(&name("alice"), &secret(2), &EXPORTED)).unwrap();
    assert_eq!(claim.verify(Some(&secret(1)), &EXPORTED), Err(AuthError::Refused));
}

#[test]
fn every_changed_bit_of_a_proof_is_refused() {
    let claim = Claim::parse(&prove(&name("alice"), &secret(1), &EXPORTED)).unwrap();
    for bit in 0..256 {
        let mut forged = claim.clone();
        forged.proof[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(forged.verify(Some(&secret(1)), &EXPORTED), Err(AuthError::Refused), "bit {bit}");
    }
}

#[test]
fn an_unknown_tenant_is_refused_as_a_wrong_proof_is_even_with_the_stand_ins_secret() {
    for byte in [0, 1] {
        let claim = Claim::parse(&prove(&name("nobody"), &secret(byte), &EXPORTED)).unwrap();
        assert_eq!(claim.verify(None, &EXPORTED), Err(AuthError::Refused));
    }
}

#[test]
fn every_cut_header_is_refused() {
    let header = prove(&name("alice"), &secret(1), &EXPORTED);
    for end in 0..header.len() {
        assert_eq!(Claim::parse(&header[..end]), Err(AuthError::Unreadable), "cut at {end}");
    }
}

#[test]
fn order_case_and_strangers_among_the_parameters_do_not_matter() {
    let header = prove(&name("alice"), &secret(1), &EXPORTED);
    let proof = header.split("proof=").nth(1).unwrap();
    let other = format!("QUICBOND Proof={proof},v=\"2\",  TENANT=\"alice\" ");
    assert_eq!(Claim::parse(&other), Claim::parse(&header));
}

#[test]
fn headers_that_are_not_ours_are_unreadable() {
    let header = prove(&name("alice"), &secret(1), &EXPORTED);
    let proof = header.split("proof=").nth(1).unwrap();
    for bad in [
        "",
        "Quicbond",
        "Quicbond ",
        "Basic YWxpY2U6eA==",
        "Quicbond tenant=\"alice\"",
        &format!("Quicbond proof={proof}"),
        &format!("Quicbond tenant=alice, proof={proof}"),
        &format!("Quicbond tenant=\"al ice\", proof={proof}"),
        &format!("Quicbond tenant=\"\", proof={proof}"),
        &format!("{header}, tenant=\"bob\""),
        &format!("{header}, proof={proof}"),
        &format!("{header}, x"),
        "Quicbond tenant=\"alice\", proof=\"AAAA\"",
        "Quicbond tenant=\"alice\", proof=\"???\"",
        &format!("{header}, pad=\"{}\"", "x".repeat(300)),
    ] {
        assert_eq!(Claim::parse(bad), Err(AuthError::Unreadable), "{bad}");
    }
}
