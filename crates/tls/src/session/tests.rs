use super::*;
use crate::provider::provider;
use crate::rig::{self, CLIENT_PARAMETERS, End, Outcome, Pair, SERVER_PARAMETERS, V1, V2};
use crate::{Ciphers, ClientConfig, Identity, KeyKind, KeyLog, Pin, ServerConfig};
use mpquic_base::Rng;
use mpquic_proto::crypto::{ClientCrypto, LevelKeys, ServerCrypto};
use std::sync::Arc;

fn assert_levels_agree(client: Option<&LevelKeys>, server: Option<&LevelKeys>) {
    let (client, server) = (client.unwrap(), server.unwrap());
    rig::assert_agree(&client.local, &server.peer);
    rig::assert_agree(&server.local, &client.peer);
    // The two directions have different keys.
    let sealed = rig::seal(&*client.local.packet, b"text");
    assert_eq!(rig::open(&*client.peer.packet, &sealed), None);
}

#[test]
fn both_ends_agree_on_the_keys_of_every_level() {
    for version in [V1, V2] {
        let pair = Pair::pinned(version).complete();
        assert_levels_agree(pair.client.handshake.as_ref(), pair.server.handshake.as_ref());
        assert_levels_agree(pair.client.one_rtt.as_ref(), pair.server.one_rtt.as_ref());
        let sealed = rig::seal(&*pair.client.handshake.unwrap().local.packet, b"text");
        assert_eq!(rig::open(&*pair.server.one_rtt.unwrap().peer.packet, &sealed), None);
    }
}

#[test]
fn ends_of_different_versions_share_no_handshake_keys() {
    let (client, server) = rig::configs();
    let client = client.start(V1, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
    let server = server.start(V2, SERVER_PARAMETERS.to_vec()).unwrap();
    let mut pair = Pair::new(client, server);
    assert_eq!(pair.run(usize::MAX), Outcome::Done);
    let sealed = rig::seal(&*pair.client.handshake.unwrap().local.packet, b"text");
    assert_eq!(rig::open(&*pair.server.handshake.unwrap().peer.packet, &sealed), None);
}

#[test]
fn key_phases_agree_one_after_the_other() {
    let mut pair = Pair::pinned(V1).complete();
    let (mut client, mut server) = (pair.client.next.take().unwrap(), pair.server.next.take().unwrap());
    let mut before = rig::seal(&*pair.client.one_rtt.unwrap().local.packet, b"text");
    for phase in 1..=5 {
        let (ours, theirs) = (client.next(), server.next());
        rig::assert_packets_agree(&*ours.local, &*theirs.peer);
        rig::assert_packets_agree(&*theirs.local, &*ours.peer);
        assert_eq!(rig::open(&*theirs.peer, &before), None, "phase {phase} opens the phase before");
        before = rig::seal(&*ours.local, b"text");
    }
}

#[test]
fn a_handshake_works_in_pieces_of_one_byte() {
    let mut pair = Pair::pinned(V1);
    assert_eq!(pair.run(1), Outcome::Done);
    assert!(!pair.client.session.is_handshaking() && !pair.server.session.is_handshaking());
    assert_levels_agree(pair.client.one_rtt.as_ref(), pair.server.one_rtt.as_ref());
}

#[test]
fn parameters_protocol_and_certificate_arrive() {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let certificate = identity.certificate().to_vec();
    let client = rig::pinning(&[Pin::Certificate(identity.fingerprint())]);
    let pair = Pair::of(&client, &rig::serving(identity), V1, "localhost");
    assert_eq!(pair.client.session.peer_parameters(), None);
    assert_eq!(pair.client.session.peer_certificate(), None);
    let pair = pair.complete();
    let (client, server) = (pair.client.session, pair.server.session);
    assert_eq!(client.peer_parameters(), Some(SERVER_PARAMETERS));
    assert_eq!(server.peer_parameters(), Some(CLIENT_PARAMETERS));
    assert_eq!((client.alpn(), server.alpn()), (Some(&b"h3"[..]), Some(&b"h3"[..])));
    assert_eq!(client.peer_certificate(), Some(certificate));
    assert_eq!(server.peer_certificate(), None);
    let of = |session: &dyn Session| {
        let tls: &TlsSession = session.as_any().downcast_ref().unwrap();
        (tls.cipher_suite(), tls.key_exchange(), tls.server_name().map(str::to_owned))
    };
    let agreed = (Some("TLS13_AES_128_GCM_SHA256"), Some("X25519"));
    assert_eq!(of(&*client), (agreed.0, agreed.1, None));
    assert_eq!(of(&*server), (agreed.0, agreed.1, Some("localhost".to_owned())));
}

#[test]
fn the_first_flight_fits_one_packet_unless_the_hybrid_key_exchange_is_on() {
    // RFC 9000 §14.1: 1200 bytes, less long header, frame header and tag (about 60).
    let mut classical = Pair::pinned(V1);
    let [(0, hello)] = &classical.client.flush()[..] else { panic!("one flight") };
    assert!(hello.len() < 1140, "{} bytes", hello.len());

    let identity = Identity::self_signed(&[]).unwrap();
    let pins = [Pin::Certificate(identity.fingerprint())];
    let client = ClientConfig::pinned(&pins).unwrap().post_quantum(true).build(&[b"h3"]).unwrap();
    let server = ServerConfig::with_identity(identity).post_quantum(true).build(&[b"h3"]).unwrap();
    let client = Arc::new(client);
    let share = client.clone().start(V1, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
    assert!(End::new(share).flush()[0].1.len() > 1200);
    let pair = Pair::of(&client, &Arc::new(server), V1, "localhost").complete();
    let tls: &TlsSession = pair.client.session.as_any().downcast_ref().unwrap();
    assert_eq!(tls.key_exchange(), Some("X25519MLKEM768"));
}

#[test]
fn a_client_with_the_hybrid_key_exchange_reaches_a_server_without() {
    let identity = Identity::self_signed_with(&[], KeyKind::Ed25519).unwrap();
    let pins = [Pin::Certificate(identity.fingerprint())];
    let client = ClientConfig::pinned(&pins).unwrap().post_quantum(true).build(&[b"h3"]).unwrap();
    let pair = Pair::of(&Arc::new(client), &rig::serving(identity), V1, "localhost").complete();
    let tls: &TlsSession = pair.client.session.as_any().downcast_ref().unwrap();
    assert_eq!(tls.key_exchange(), Some("X25519"));
}

#[test]
fn exported_keys_are_equal_at_both_ends_and_bound_to_label_context_and_handshake() {
    let export = |session: &dyn Session, label: &[u8], context: &[u8]| {
        let mut out = [0; 32];
        session.export(&mut out, label, context).then_some(out)
    };
    let early = Pair::pinned(V1);
    assert_eq!(export(&*early.client.session, b"label", b"context"), None);
    assert_eq!(export(&*early.server.session, b"label", b"context"), None);
    let one = early.complete();
    let value = export(&*one.client.session, b"label", b"context");
    assert!(value.is_some());
    assert_eq!(value, export(&*one.server.session, b"label", b"context"));
    assert_ne!(value, export(&*one.client.session, b"other", b"context"));
    assert_ne!(value, export(&*one.client.session, b"label", b"other"));
    let two = Pair::pinned(V1).complete();
    assert_ne!(value, export(&*two.client.session, b"label", b"context"));
    assert!(!one.client.session.export(&mut [0; 70_000], b"label", b"context"));
}

#[test]
fn a_session_that_shed_its_handshake_answers_as_before() {
    let Pair { mut client, mut server } = Pair::pinned(V1).complete();
    let export = |end: &End, len: usize, label: &[u8], context: &[u8]| {
        let mut out = vec![0; len];
        end.session.export(&mut out, label, context).then_some(out)
    };
    let questions: [(usize, &[u8], &[u8]); 5] = [
        (32, b"label", b"context"),
        (1, b"l", b""),
        (300, b"", b"x"),
        (8160, b"label", &[7; 999]),
        (70_000, b"", b""),
    ];
    let answers = |end: &End| {
        let exports = questions.map(|(len, label, context)| export(end, len, label, context));
        let tls: &TlsSession = end.session.as_any().downcast_ref().unwrap();
        let agreed = (tls.cipher_suite(), tls.key_exchange(), tls.server_name().map(str::to_owned));
        let session = &end.session;
        let peer = (session.alpn().map(<[u8]>::to_vec), session.peer_certificate(), session.early_accepted());
        (exports, agreed, peer, session.is_handshaking())
    };
    for end in [&mut client, &mut server] {
        let before = answers(end);
        assert!(before.0[..4].iter().all(Option::is_some) && before.0[4].is_none());
        end.session.shed();
        let tls: &TlsSession = end.session.as_any().downcast_ref().unwrap();
        assert!(tls.running().is_none());
        assert_eq!(answers(end), before);
        assert_eq!(end.flush(), []);
    }
    assert_eq!(client.session.read(&[24, 0, 0, 1, 0]).unwrap_err().alert, 10);
    assert_eq!(server.session.read(&[24, 0, 0, 1, 0]).unwrap_err().alert, 10);
    assert!(client.session.read(b"").is_err(), "and failed it stays");
}

#[test]
fn a_client_without_resumption_takes_tickets_and_forgets_them() {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let client = rig::pinning(&[Pin::Certificate(identity.fingerprint())]);
    let server = ServerConfig::with_identity(identity).resumption(8).build(&[b"h3"]).unwrap();
    let mut pair = Pair::of(&client, &Arc::new(server), V1, "localhost");
    let mut tickets = Vec::new();
    let hello = pair.client.flush().remove(0).1;
    pair.server.session.read(&hello).unwrap();
    for (_, bytes) in pair.server.flush() {
        pair.client.session.read(&bytes).unwrap();
        for (_, reply) in pair.client.flush() {
            pair.server.session.read(&reply).unwrap();
            tickets.extend(pair.server.flush());
        }
    }
    assert!(!tickets.is_empty());
    pair.client.session.shed();
    for (_, bytes) in tickets {
        bytes.chunks(7).for_each(|piece| pair.client.session.read(piece).unwrap());
    }
}

#[test]
fn a_session_sheds_nothing_too_early_and_nothing_that_a_ticket_needs() {
    let mut early = Pair::pinned(V1);
    early.client.session.shed();
    early.server.session.shed();
    let Pair { mut client, .. } = early.complete();
    client.session.shed();
    let (near, far) = remembering(false, false);
    let mut pair = Pair::of(&near, &far, V1, "localhost").complete();
    pair.client.session.shed();
    let tls: &TlsSession = pair.client.session.as_any().downcast_ref().unwrap();
    assert!(tls.running().is_some(), "its tickets may still be on their way");
}

#[test]
fn without_a_common_protocol_the_server_raises_no_application_protocol() {
    // RFC 9001 §8.1: error 0x0178, alert 120.
    let identity = Identity::self_signed(&[]).unwrap();
    let pins = [Pin::Certificate(identity.fingerprint())];
    let client = ClientConfig::pinned(&pins).unwrap().build(&[b"other"]).unwrap();
    let mut pair = Pair::of(&Arc::new(client), &rig::serving(identity), V1, "localhost");
    assert_eq!(pair.run(usize::MAX).server_alert(), Some(120));
}

/// A rustls client configuration that offers `alpn` and has no roots to speak of.
fn foreign_client(alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider(false))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

#[test]
fn a_client_that_offers_no_protocol_is_refused() {
    let name = "localhost".try_into().unwrap();
    let tls =
        rustls::quic::ClientConnection::new(foreign_client(&[]), rustls::quic::Version::V1, name, vec![]);
    let (_, server) = rig::configs();
    let server = server.start(V1, SERVER_PARAMETERS.to_vec()).unwrap();
    let mut pair = Pair::new(Box::new(TlsSession::new(tls.unwrap(), V1, None)), server);
    assert_eq!(pair.run(usize::MAX).server_alert(), Some(120));
}

#[test]
fn a_client_without_transport_parameters_is_refused() {
    // RFC 9001 §8.2: missing_extension, alert 109. A client of TLS over TCP sends none.
    let name = "localhost".try_into().unwrap();
    let mut tcp = rustls::ClientConnection::new(foreign_client(&[b"h3"]), name).unwrap();
    let mut record = Vec::new();
    tcp.write_tls(&mut record).unwrap();
    let (_, server) = rig::configs();
    let mut server = server.start(V1, SERVER_PARAMETERS.to_vec()).unwrap();
    // Behind the 5 bytes of the record header.
    assert_eq!(server.read(&record[5..]).unwrap_err().alert, 109);
}

#[test]
fn handshake_messages_smuggled_into_the_initial_level_are_refused() {
    // RFC 8446 §5.1: no message may follow in the same flight when keys change; unexpected_message, alert 10.
    let Pair { mut client, mut server } = Pair::pinned(V1);
    let [(0, hello)] = &client.flush()[..] else { panic!("one flight") };
    server.session.read(hello).unwrap();
    let [(0, first), (1, second)] = &server.flush()[..] else { panic!("two flights") };
    assert_eq!(client.session.read(&[&first[..], second].concat()).unwrap_err().alert, 10);
}

#[test]
fn a_tls_key_update_is_an_unexpected_message() {
    // RFC 9001 §6: error 0x010a, alert 10. The message: type 24, one byte long, no update requested.
    let Pair { mut client, mut server } = Pair::pinned(V1).complete();
    assert_eq!(client.session.read(&[24, 0, 0, 1, 0]).unwrap_err().alert, 10);
    assert_eq!(server.session.read(&[24, 0, 0, 1, 0]).unwrap_err().alert, 10);
}

#[test]
fn a_server_sends_no_tickets() {
    let Pair { mut client, mut server } = Pair::pinned(V1);
    let [(0, hello)] = &client.flush()[..] else { panic!("one flight") };
    server.session.read(hello).unwrap();
    for (_, bytes) in server.flush() {
        client.session.read(&bytes).unwrap();
        for (_, reply) in client.flush() {
            server.session.read(&reply).unwrap();
        }
    }
    assert!(!server.session.is_handshaking());
    assert_eq!(server.flush(), []);
}

#[test]
fn a_message_longer_than_any_handshake_is_refused_at_its_header() {
    let Pair { mut server, .. } = Pair::pinned(V1);
    // ClientHello of 2^24 - 1 bytes; decode_error, alert 50.
    assert_eq!(server.session.read(&[1, 0xff, 0xff, 0xff]).unwrap_err().alert, 50);
}

#[test]
fn a_failed_session_stays_failed_and_silent() {
    let Pair { mut server, mut client } = Pair::pinned(V1);
    let [(0, hello)] = &client.flush()[..] else { panic!("one flight") };
    // The answer to a good ClientHello waits to be written when the failure comes.
    server.session.read(hello).unwrap();
    let failure = server.session.read(&[2, 0, 0, 1, 0]).unwrap_err();
    assert_eq!(server.session.read(hello), Err(failure.clone()));
    assert_eq!(server.session.read(b""), Err(failure));
    assert_eq!(server.flush(), []);
    assert!(server.handshake.is_none() && server.session.is_handshaking());
}

/// Feeds up to 50 pieces of noise, some dressed as handshake messages.
fn feed_noise(end: &mut End, rng: &mut Rng) -> Option<TlsFailure> {
    for _ in 0..50 {
        let mut noise = vec![0; usize::try_from(rng.below(300)).unwrap()];
        rng.fill(&mut noise);
        if rng.chance(0.7) && noise.len() > 4 {
            // The types from ClientHello to Finished, and a length that matches.
            noise[0] = u8::try_from(1 + rng.below(20)).unwrap();
            let len = u32::try_from(noise.len() - 4).unwrap().to_be_bytes();
            noise[1..4].copy_from_slice(&len[1..]);
        }
        if let Err(failure) = end.session.read(&noise) {
            return Some(failure);
        }
        end.flush();
    }
    None
}

#[test]
fn garbage_gives_an_alert_and_no_panic() {
    let mut alerts = 0;
    for seed in 0..200 {
        let mut rng = Rng::from_number(seed);
        let Pair { mut client, mut server } = Pair::pinned(V1);
        client.flush();
        for end in [&mut client, &mut server] {
            // Noise may announce a long message and be waited for; anything else is an alert.
            if let Some(failure) = feed_noise(end, &mut rng) {
                alerts += 1;
                assert!(failure.reason.chars().count() <= REASON_LIMIT, "seed {seed}");
            }
            assert!(end.session.is_handshaking(), "seed {seed}");
        }
    }
    assert!(alerts > 380, "{alerts} of 400");
}

#[test]
fn no_handshake_completes_with_a_bit_changed_on_the_way() {
    let (client, server) = rig::configs();
    for seed in 0..150 {
        let mut rng = Rng::from_number(seed);
        let Pair { mut client, mut server } = Pair::of(&client, &server, V1, "localhost");
        let bend_hello = rng.chance(0.4);
        let mut bend = |bytes: &mut Vec<u8>| {
            let at = rng.below(bytes.len() as u64);
            bytes[usize::try_from(at).unwrap()] ^= 1 << rng.below(8);
        };
        let (_, mut hello) = client.flush().remove(0);
        if bend_hello {
            bend(&mut hello);
        }
        if server.session.read(&hello).is_err() {
            continue;
        }
        for (level, mut bytes) in server.flush() {
            if !bend_hello && level == 1 {
                bend(&mut bytes);
            }
            if client.session.read(&bytes).is_err() {
                break;
            }
            client.flush();
        }
        assert!(client.session.is_handshaking(), "seed {seed}");
    }
}

/// A client that keeps tickets and a server that gives them; 0-RTT as each wills.
fn remembering(client_early: bool, server_early: bool) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let pin = Pin::Certificate(identity.fingerprint());
    let client = ClientConfig::pinned(&[pin]).unwrap().resumption(8).early_data(client_early);
    let server = ServerConfig::with_identity(identity).resumption(8).early_data(server_early);
    (Arc::new(client.build(&[b"h3"]).unwrap()), Arc::new(server.build(&[b"h3"]).unwrap()))
}

#[test]
fn a_second_visit_resumes_and_both_ends_agree_on_the_early_keys() {
    let (client, server) = remembering(true, true);
    let first = Pair::of(&client, &server, V1, "localhost");
    assert!(first.client.session.early_keys().is_none(), "nothing is remembered yet");
    first.complete();
    let mut second = Pair::of(&client, &server, V1, "localhost");
    assert_eq!(second.client.session.remembered_parameters(), Some(SERVER_PARAMETERS));
    assert_eq!(second.client.session.peer_parameters(), None, "what is remembered is not what was said");
    let near = second.client.session.early_keys().unwrap();
    let [(0, hello)] = &second.client.flush()[..] else { panic!("one flight") };
    second.server.session.read(hello).unwrap();
    rig::assert_agree(&near, &second.server.session.early_keys().unwrap());
    for (_, bytes) in second.server.flush() {
        second.client.session.read(&bytes).unwrap();
        second.client.flush();
    }
    assert_eq!(second.client.session.early_accepted(), Some(true));
    assert_eq!(second.client.session.peer_parameters(), Some(SERVER_PARAMETERS));
}

#[test]
fn early_data_takes_the_consent_of_both_ends() {
    for (near, far) in [(true, false), (false, true)] {
        let (client, server) = remembering(near, far);
        Pair::of(&client, &server, V1, "localhost").complete();
        let second = Pair::of(&client, &server, V1, "localhost");
        assert!(second.client.session.early_keys().is_none());
        let second = second.complete();
        assert_eq!(second.client.session.early_accepted(), Some(false));
    }
}

#[test]
fn a_replayed_hello_finds_its_session_used_up() {
    let (client, server) = remembering(true, true);
    Pair::of(&client, &server, V1, "localhost").complete();
    let mut second = Pair::of(&client, &server, V1, "localhost");
    let mut replayed = Pair::of(&client, &server, V1, "localhost");
    let [(0, hello)] = &second.client.flush()[..] else { panic!("one flight") };
    second.server.session.read(hello).unwrap();
    assert!(second.server.session.early_keys().is_some());
    replayed.server.session.read(hello).unwrap();
    assert!(replayed.server.session.early_keys().is_none());
}

#[test]
fn ends_that_know_only_chacha20_agree_on_it_and_the_secrets_are_written_down() {
    let path = std::env::temp_dir().join(format!("mpquic-key-log-{}", std::process::id()));
    let log = Arc::new(KeyLog::append_to(&path).unwrap());
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let pins = [Pin::Certificate(identity.fingerprint())];
    let client = ClientConfig::pinned(&pins).unwrap().ciphers(Ciphers::ChaCha20).key_log(log);
    let server = ServerConfig::with_identity(identity).ciphers(Ciphers::ChaCha20);
    let (client, server) = (client.build(&[b"h3"]).unwrap(), server.build(&[b"h3"]).unwrap());
    let pair = Pair::of(&Arc::new(client), &Arc::new(server), V1, "localhost").complete();
    for end in [&pair.client, &pair.server] {
        let tls: &TlsSession = end.session.as_any().downcast_ref().unwrap();
        assert_eq!(tls.cipher_suite(), Some("TLS13_CHACHA20_POLY1305_SHA256"));
    }
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let labels: Vec<&str> = written.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(labels.contains(&"SERVER_HANDSHAKE_TRAFFIC_SECRET"), "{written}");
    // A random of 32 bytes and a secret of SHA-256, both in hexadecimal.
    assert!(written.lines().all(|line| line.split(' ').skip(1).all(|hex| hex.len() == 64)), "{written}");
}

#[test]
fn a_changed_version_the_users_log_and_the_exporter_after_shedding_go_together() {
    let path = std::env::temp_dir().join(format!("mpquic-shed-log-{}", std::process::id()));
    let log = Arc::new(KeyLog::append_to(&path).unwrap());
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let pins = [Pin::Certificate(identity.fingerprint())];
    let client = ClientConfig::pinned(&pins).unwrap().key_log(Arc::clone(&log)).build(&[b"h3"]).unwrap();
    let server = ServerConfig::with_identity(identity).key_log(log).build(&[b"h3"]).unwrap();
    let mut near = Arc::new(client).start(V1, "localhost", CLIENT_PARAMETERS.to_vec()).unwrap();
    assert!(near.change_version(V2));
    let far = Arc::new(server).start_changed(V1, V2, SERVER_PARAMETERS.to_vec()).unwrap();
    let Pair { mut client, mut server } = Pair::new(near, far).complete();
    let export = |end: &End| {
        let mut out = [0; 32];
        end.session.export(&mut out, b"label", b"context").then_some(out)
    };
    let before = export(&client);
    assert!(before.is_some());
    for end in [&mut client, &mut server] {
        end.session.shed();
        let tls: &TlsSession = end.session.as_any().downcast_ref().unwrap();
        assert!(tls.running().is_none());
        assert_eq!(export(end), before);
        assert!(!end.session.change_version(V1));
    }
    assert_levels_agree(client.one_rtt.as_ref(), server.one_rtt.as_ref());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for label in ["CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 ", "EXPORTER_SECRET "] {
        assert_eq!(text.lines().filter(|line| line.starts_with(label)).count(), 2, "{label}");
    }
}

#[test]
fn a_server_that_shed_still_knows_that_the_visit_was_resumed() {
    let (client, server) = remembering(false, false);
    for resumed in [false, true] {
        let mut end = Pair::of(&client, &server, V1, "localhost").complete().server;
        end.session.shed();
        let tls: &TlsSession = end.session.as_any().downcast_ref().unwrap();
        assert!(tls.running().is_none());
        assert_eq!(end.session.resumed(), resumed);
    }
}
