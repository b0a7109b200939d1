//! One self-signed certificate, pinned by us and a root of its own for the others.

use crate::exchange::ALPN;
use mpquic_proto::TransportConfig;
use mpquic_tls::{Identity, Pin};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// The name that the certificate is for and that clients ask for.
pub const NAME: &str = "localhost";

#[derive(Debug)]
pub struct Trust {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Default for Trust {
    fn default() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a plain name");
        Self { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
    }
}

impl Trust {
    fn identity(&self) -> Identity {
        Identity::from_der(vec![self.certificate.clone()], self.key.clone()).expect("made by rcgen")
    }

    /// Our client, which pins the certificate.
    #[must_use]
    pub fn our_client(&self, transport: TransportConfig) -> mpquic_proto::ClientConfig {
        let pins = [Pin::Certificate(self.identity().fingerprint())];
        let tls = mpquic_tls::ClientConfig::pinned(&pins).expect("a pin").build(&[ALPN]).expect("an ALPN");
        mpquic_proto::ClientConfig { crypto: Arc::new(tls), transport: Arc::new(transport) }
    }

    #[must_use]
    pub fn our_server(&self, transport: TransportConfig) -> mpquic_proto::ServerConfig {
        let tls = mpquic_tls::ServerConfig::with_identity(self.identity()).build(&[ALPN]).expect("an ALPN");
        mpquic_proto::ServerConfig {
            crypto: Arc::new(tls),
            transport: Arc::new(transport),
            max_connections: 16,
        }
    }

    /// A peer's client, for which the certificate is the only root.
    #[must_use]
    pub fn rustls_client(&self) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone())).expect("made by rcgen");
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls
    }

    #[must_use]
    pub fn rustls_server(&self) -> rustls::ServerConfig {
        let chain = vec![CertificateDer::from(self.certificate.clone())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("made by rcgen");
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
