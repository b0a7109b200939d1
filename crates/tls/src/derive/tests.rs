//! Keys that are derived here against those that rustls derives for the other end.

use super::Recipe;
use crate::provider::{initial_keys, provider};
use crate::rig::{self, CLIENT_PARAMETERS, Pair, SERVER_PARAMETERS, V1, V2, unhex};
use crate::session::TlsSession;
use crate::tap::Tap;
use crate::{ClientConfig, Identity, Pin, ServerConfig};
use mpquic_base::{Cid, PathId, Role};
use mpquic_proto::crypto::{ClientCrypto, NextPhase, ServerCrypto, Session};
use rustls::CipherSuite;
use rustls::crypto::tls13::OkmBlock;
use rustls::quic::{ClientConnection, Version};
use std::sync::Arc;

fn assert_all_keys_agree(pair: Pair) {
    let Pair { client, server } = pair.complete();
    for (near, far) in [(&client.handshake, &server.handshake), (&client.one_rtt, &server.one_rtt)] {
        let (near, far) = (near.as_ref().unwrap(), far.as_ref().unwrap());
        rig::assert_agree(&near.local, &far.peer);
        rig::assert_agree(&far.local, &near.peer);
        assert_eq!(near.local.packet.tag_len(), far.peer.packet.tag_len());
        let limits =
            |key: &dyn mpquic_proto::crypto::PacketKey| (key.confidentiality_limit(), key.integrity_limit());
        assert_eq!(limits(&*near.local.packet), limits(&*far.local.packet));
    }
    let (mut near, mut far): (Box<dyn NextPhase>, _) = (client.next.unwrap(), server.next.unwrap());
    for _ in 0..3 {
        let (ours, theirs) = (near.next(), far.next());
        rig::assert_packets_agree(&*ours.local, &*theirs.peer);
        rig::assert_packets_agree(&*theirs.local, &*ours.peer);
    }
}

#[test]
fn a_client_that_changes_the_version_has_the_keys_of_a_server_that_never_knew_another() {
    for (begun, spoken) in [(V1, V2), (V2, V1)] {
        let (client, server) = rig::configs();
        let mut client = client.start(begun, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
        assert!(client.change_version(spoken));
        let server = server.start(spoken, SERVER_PARAMETERS.to_vec()).unwrap();
        assert_all_keys_agree(Pair::new(client, server));
    }
}

#[test]
fn a_server_that_changes_the_version_has_the_keys_of_a_client_that_never_knew_another() {
    for (begun, spoken) in [(V1, V2), (V2, V1)] {
        let (client, server) = rig::configs();
        let client = client.start(spoken, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
        let server = server.start_changed(begun, spoken, SERVER_PARAMETERS.to_vec()).unwrap();
        assert_all_keys_agree(Pair::new(client, server));
    }
}

#[test]
fn keys_of_every_cipher_can_be_had_in_another_version() {
    let suites = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    for suite in suites {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(identity.certificate().to_vec().into()).unwrap();
        let mut one = rustls::crypto::CryptoProvider::clone(&provider(false));
        one.cipher_suites.retain(|s| s.suite() == suite);
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(one))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h3".to_vec()];
        config.key_log = Arc::new(Tap::new(None));
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(Arc::new(config), Version::V1, name, CLIENT_PARAMETERS.to_vec());
        let mut client = TlsSession::new(tls.unwrap(), V1, None);
        assert!(client.change_version(V2));
        let server = rig::serving(identity).start(V2, SERVER_PARAMETERS.to_vec()).unwrap();
        assert_all_keys_agree(Pair::new(Box::new(client), server));
    }
}

#[test]
fn once_keys_were_handed_out_it_is_too_late_for_another_version() {
    let Pair { mut client, mut server } = Pair::pinned(V1).complete();
    assert!(!client.session.change_version(V2) && !server.session.change_version(V2));
    let (client, _) = rig::configs();
    let mut fresh = client.start(V1, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
    assert!(!fresh.change_version(0x1a2a_3a4a), "nobody knows its labels");
}

/// Both ends keep tickets; 0-RTT too.
fn remembering() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let pin = Pin::Certificate(identity.fingerprint());
    let client = ClientConfig::pinned(&[pin]).unwrap().resumption(8).early_data(true);
    let server = ServerConfig::with_identity(identity).resumption(8).early_data(true);
    (Arc::new(client.build(&[b"h3"]).unwrap()), Arc::new(server.build(&[b"h3"]).unwrap()))
}

/// A visit that begins in one version and goes on in another, as far as the client's hello has been read.
fn visit(configs: &(Arc<ClientConfig>, Arc<ServerConfig>), begun: u32, spoken: u32) -> Pair {
    let (client, server) = (Arc::clone(&configs.0), Arc::clone(&configs.1));
    let mut client = client.start(begun, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
    let server = if begun == spoken {
        server.start(begun, SERVER_PARAMETERS.to_vec())
    } else {
        assert!(client.change_version(spoken));
        server.start_changed(begun, spoken, SERVER_PARAMETERS.to_vec())
    };
    Pair::new(client, server.unwrap())
}

#[test]
fn a_ticket_counts_for_the_version_that_was_spoken_when_it_was_given() {
    let configs = remembering();
    visit(&configs, V1, V2).complete();
    let again = visit(&configs, V1, V1);
    assert!(again.client.session.early_keys().is_none(), "it came in version 2");
    let again = again.complete();
    assert!(!again.client.session.resumed() && !again.server.session.resumed());
    let right = visit(&configs, V2, V2);
    assert!(right.client.session.early_keys().is_some());
    let right = right.complete();
    assert!(right.client.session.resumed() && right.server.session.resumed());
    // The one in between was of version 1.
    assert!(visit(&configs, V1, V1).complete().client.session.resumed());
}

#[test]
fn a_server_takes_no_ticket_of_another_version() {
    let configs = remembering();
    visit(&configs, V1, V1).complete();
    // A client that breaks the rule: it has a ticket of version 1, and a server that hears version 2 around it.
    let client = Arc::clone(&configs.0).start(V1, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
    let server = Arc::clone(&configs.1).start(V2, SERVER_PARAMETERS.to_vec()).unwrap();
    assert!(client.early_keys().is_some());
    let mut pair = Pair::new(client, server);
    let [(0, hello)] = &pair.client.flush()[..] else { panic!("one flight") };
    pair.server.session.read(hello).unwrap();
    pair.server.flush();
    assert!(pair.server.session.early_keys().is_none() && !pair.server.session.resumed());
}

#[test]
fn early_keys_stay_in_the_version_that_the_client_began_with() {
    let configs = remembering();
    visit(&configs, V1, V1).complete();
    let Pair { mut client, mut server } = visit(&configs, V1, V2);
    let near = client.session.early_keys().unwrap();
    let [(0, hello)] = &client.flush()[..] else { panic!("one flight") };
    server.session.read(hello).unwrap();
    rig::assert_agree(&near, &server.session.early_keys().unwrap());
    for (_, bytes) in server.flush() {
        client.session.read(&bytes).unwrap();
        client.flush();
    }
    assert_eq!(client.session.early_accepted(), Some(true));
    let (near, far) = (client.one_rtt.unwrap(), server.one_rtt.unwrap());
    rig::assert_agree(&near.local, &far.peer);
}

#[test]
fn what_is_sealed_here_in_one_piece_or_in_two_is_what_rustls_seals() {
    // RFC 9001 §A.1 and RFC 9369 §A.1: the client's initial secrets for this connection ID.
    let dcid = Cid::new(&unhex("8394c8f03e515708")).unwrap();
    let secrets = [
        (V1, "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea"),
        (V2, "14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b"),
    ];
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    for (version, secret) in secrets {
        let ours = Recipe::new(suite, version).unwrap().packet(&OkmBlock::new(&unhex(secret))).unwrap();
        let theirs = initial_keys(version, &dcid, Role::Client).local.packet;
        for (path, pn, len) in [(0, 0, 20), (0, 7, 1408), (3, 1 << 40, 1411), (u32::MAX, (1 << 62) - 1, 9000)]
        {
            let plain: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
            let mut expected = [&plain[..], &[0; 16]].concat();
            theirs.seal(PathId(path), pn, b"head", &mut expected);
            for key in [&ours, &theirs] {
                for here in [0, 1, 9, 15, 16, 17, plain.len() - 1, plain.len()] {
                    let mut sealed = [&plain[..here], &vec![0xaa; plain.len() - here + 16]].concat();
                    key.seal_with(PathId(path), pn, b"head", &mut sealed, &plain[here..]);
                    assert_eq!(sealed, expected, "path {path}, packet {pn}, {here} of {len}");
                }
            }
        }
    }
}
