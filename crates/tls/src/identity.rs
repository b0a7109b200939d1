//! Who a server is: a certificate chain with its private key, made here or loaded.

use crate::error::ConfigError;
use crate::pin::Fingerprint;
use core::fmt;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The subject of a certificate that is not for any name.
const NAMELESS: &str = "mpquic";

/// The kind of key to generate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// Understood by everything, browsers included.
    #[default]
    EcdsaP256,
    /// Smaller and simpler; no browser accepts it in a certificate.
    Ed25519,
}

/// A certificate chain, the end-entity first, and the private key of the end-entity.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A new ECDSA P-256 key with a certificate by itself for `names` (DNS names or addresses, possibly none).
    /// It does not expire: meant to be pinned.
    ///
    /// # Errors
    /// If a name cannot stand in a certificate.
    pub fn self_signed(names: &[&str]) -> Result<Self, ConfigError> {
        Self::self_signed_with(names, KeyKind::default())
    }

    /// As [`Identity::self_signed`], with a key of the kind asked for.
    ///
    /// # Errors
    /// If a name cannot stand in a certificate.
    pub fn self_signed_with(names: &[&str], kind: KeyKind) -> Result<Self, ConfigError> {
        let wrong = |error| ConfigError::new("self-signed certificate", error);
        let algorithm = match kind {
            KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        };
        let key = KeyPair::generate_for(algorithm).map_err(wrong)?;
        let owned: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(owned).map_err(wrong)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or(NAMELESS));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let cert = params.self_signed(&key).map_err(wrong)?;
        Ok(Self { chain: vec![cert.into()], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }

    /// From the contents of PEM files: all certificates of `chain`, the end-entity first, and the first private key
    /// of `key` (PKCS#8, SEC1 or PKCS#1).
    ///
    /// # Errors
    /// If either holds nothing usable. Whether they belong together shows when a server is built from them.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| ConfigError::new("certificate chain", e))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| ConfigError::new("private key", e))?;
        Self::checked(chain, key)
    }

    /// From encoded certificates, the end-entity first, and an encoded private key (PKCS#8, SEC1 or PKCS#1).
    ///
    /// # Errors
    /// If there is no certificate or the key's encoding is unknown.
    pub fn from_der(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self, ConfigError> {
        let key = PrivateKeyDer::try_from(key).map_err(|e| ConfigError::new("private key", e))?;
        Self::checked(chain.into_iter().map(CertificateDer::from).collect(), key)
    }

    fn checked(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, ConfigError> {
        if chain.is_empty() {
            return Err(ConfigError::new("certificate chain", "no certificate found"));
        }
        Ok(Self { chain, key })
    }

    /// The encoded end-entity certificate.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The encoded private key; PKCS#8 if it was generated here. For storing it, with care.
    #[must_use]
    pub fn private_key(&self) -> &[u8] {
        self.key.secret_der()
    }

    /// What clients pin with [`crate::Pin::Certificate`]. Its `Display` is the hash in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(self.certificate())
    }

    /// What clients pin with [`crate::Pin::PublicKey`].
    ///
    /// # Errors
    /// If the certificate, which was loaded unread, is none.
    pub fn public_key_fingerprint(&self) -> Result<Fingerprint, ConfigError> {
        Fingerprint::of_public_key(self.certificate())
    }

    pub(crate) fn into_parts(self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain, self.key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.fingerprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
