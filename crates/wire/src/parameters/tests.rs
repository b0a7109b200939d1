use super::{write::grease_id, *};
use crate::{Code, Reader, VARINT_MAX, Writer};
use mpquic_base::Role;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A varint of any size.
fn varint() -> impl Strategy<Value = u64> {
    (0..=VARINT_MAX, 0u32..62).prop_map(|(value, shift)| value >> shift)
}

fn cid(min: usize) -> impl Strategy<Value = Cid> {
    prop::collection::vec(any::<u8>(), min..=20).prop_map(|bytes| Cid::new(&bytes).unwrap())
}

fn preferred_address() -> impl Strategy<Value = PreferredAddress> {
    let v4 = (1u32.., any::<u16>()).prop_map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from(ip), port));
    let v6 = (1u128.., any::<u16>()).prop_map(|(ip, port)| SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, 0));
    (prop::option::of(v4), prop::option::of(v6), cid(1), any::<[u8; 16]>())
        .prop_map(|(v4, v6, cid, reset_token)| PreferredAddress { v4, v6, cid, reset_token })
}

fn server_only(into: TransportParameters) -> impl Strategy<Value = TransportParameters> {
    let cids = (prop::option::of(cid(0)), prop::option::of(cid(0)));
    (cids, any::<Option<[u8; 16]>>(), prop::option::of(preferred_address())).prop_map(
        move |((original_dcid, retry_scid), stateless_reset_token, preferred_address)| TransportParameters {
            original_dcid,
            stateless_reset_token,
            preferred_address,
            retry_scid,
            ..into.clone()
        },
    )
}

fn flow_control() -> impl Strategy<Value = TransportParameters> {
    let streams = || varint().prop_map(|n| n.min(1 << 60));
    ([varint(), varint(), varint(), varint()], streams(), streams()).prop_map(
        |([data, local, remote, uni], bidi_count, uni_count)| TransportParameters {
            initial_max_data: data,
            initial_max_stream_data_bidi_local: local,
            initial_max_stream_data_bidi_remote: remote,
            initial_max_stream_data_uni: uni,
            initial_max_streams_bidi: bidi_count,
            initial_max_streams_uni: uni_count,
            ..TransportParameters::default()
        },
    )
}

fn versions() -> impl Strategy<Value = VersionInformation> {
    (1u32.., prop::collection::vec(1u32.., 0..6))
        .prop_map(|(chosen, available)| VersionInformation { chosen, available })
}

/// Whatever a client may send.
fn client() -> impl Strategy<Value = TransportParameters> {
    let times = (varint(), 0u64..1 << 14, prop::option::of(0.0f64..=1.0), 0u8..=20);
    let sizes = (1200..=VARINT_MAX, 2..=VARINT_MAX, varint());
    let extensions = (
        prop::option::of(versions()),
        any::<Option<u32>>(),
        prop::option::of(prop::sample::select(vec![
            AddressDiscovery::Provides,
            AddressDiscovery::Receives,
            AddressDiscovery::Both,
        ])),
    );
    (flow_control(), times, sizes, extensions, prop::option::of(cid(1)), any::<[bool; 3]>()).prop_map(
        |(base, (idle, ack_delay, min, exponent), (payload, cids, datagram), extensions, scid, flags)| {
            let (version_information, paths, address_discovery) = extensions;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^24")]
            let min_ack_delay =
                min.map(|share| Duration::from_micros((share * ack_delay as f64 * 1000.0) as u64));
            TransportParameters {
                max_idle_timeout: Duration::from_millis(idle),
                max_udp_payload_size: payload,
                ack_delay_exponent: exponent,
                max_ack_delay: Duration::from_millis(ack_delay),
                disable_active_migration: flags[0],
                active_connection_id_limit: cids,
                initial_scid: scid,
                version_information,
                max_datagram_frame_size: datagram,
                grease_quic_bit: flags[1],
                initial_max_path_id: paths.map(PathId),
                min_ack_delay,
                reset_stream_at: flags[2],
                address_discovery,
                ..base
            }
        },
    )
}

/// One parameter as bytes.
fn raw(id: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 16 + value.len()];
    let mut out = Writer::new(&mut bytes);
    out.put_varint(id);
    out.put_varint(value.len() as u64);
    out.put(value);
    let len = out.len();
    bytes.truncate(len);
    bytes
}

fn number(id: u64, value: u64) -> Vec<u8> {
    let mut bytes = [0; 8];
    let mut out = Writer::new(&mut bytes);
    out.put_varint(value);
    raw(id, out.written())
}

#[track_caller]
fn refused(bytes: &[u8], sender: Role, words: &str) {
    let error = TransportParameters::decode(bytes, sender).expect_err("accepted");
    assert_eq!(error.code(), Code::TRANSPORT_PARAMETER_ERROR);
    assert_eq!(error.to_string(), words);
}

proptest! {
    #[test]
    fn what_a_client_sends_survives_the_round_trip(sent in client(), grease: Option<u64>) {
        let bytes = sent.encode(Role::Client, grease);
        prop_assert_eq!(TransportParameters::decode(&bytes, Role::Client), Ok(sent));
    }

    #[test]
    fn what_a_server_sends_survives_the_round_trip(sent in client().prop_flat_map(server_only)) {
        let bytes = sent.encode(Role::Server, None);
        prop_assert_eq!(TransportParameters::decode(&bytes, Role::Server), Ok(sent));
    }

    #[test]
    fn a_client_never_sends_what_only_servers_may(sent in client().prop_flat_map(server_only)) {
        let bytes = sent.encode(Role::Client, None);
        let read = TransportParameters::decode(&bytes, Role::Client).unwrap();
        prop_assert_eq!(read.encode(Role::Server, None), bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), server: bool) {
        let sender = if server { Role::Server } else { Role::Client };
        if let Ok(read) = TransportParameters::decode(&bytes, sender) {
            prop_assert_eq!(TransportParameters::decode(&read.encode(sender, None), sender), Ok(read));
        }
    }

    #[test]
    fn a_cut_never_panics_and_never_invents(sent in client().prop_flat_map(server_only), cut in 0.0f64..1.0) {
        let bytes = sent.encode(Role::Server, None);
        let cut = (bytes.len() as f64 * cut) as usize;
        if let Ok(read) = TransportParameters::decode(&bytes[..cut], Role::Server) {
            prop_assert!(bytes[..cut].len() >= read.encode(Role::Server, None).len());
        }
    }

    #[test]
    fn grease_is_reserved_and_known_to_nobody(bits: u64) {
        let id = grease_id(bits);
        prop_assert!(id <= VARINT_MAX && id % 31 == 27);
        let bytes = TransportParameters::default().encode(Role::Client, Some(bits));
        prop_assert_eq!(Reader::new(&bytes).varint(), Ok(id));
        prop_assert_eq!(
            TransportParameters::decode(&bytes, Role::Client),
            Ok(TransportParameters::default())
        );
    }
}

#[test]
fn no_known_parameter_has_a_reserved_number() {
    assert!(id::NAMES.iter().all(|(id, _)| id % 31 != 27));
}

#[test]
fn nothing_sent_means_the_defaults_of_rfc_9000() {
    let read = TransportParameters::decode(&[], Role::Server).unwrap();
    assert_eq!(read, TransportParameters::default());
    assert_eq!((read.ack_delay_exponent, read.max_ack_delay), (3, Duration::from_millis(25)));
    assert_eq!((read.active_connection_id_limit, read.max_udp_payload_size), (2, 65_527));
    assert!(read.encode(Role::Server, None).is_empty());
}

#[test]
fn an_offer_of_path_zero_alone_still_offers_multipath() {
    let offer =
        TransportParameters { initial_max_path_id: Some(PathId::ZERO), ..TransportParameters::default() };
    let bytes = offer.encode(Role::Client, None);
    assert_eq!(bytes, [0x3e, 1, 0]);
    assert_eq!(TransportParameters::decode(&bytes, Role::Client), Ok(offer));
}

#[test]
fn durations_round_up_to_their_unit() {
    let sent = TransportParameters {
        max_idle_timeout: Duration::from_nanos(1),
        max_ack_delay: Duration::from_micros(30_001),
        min_ack_delay: Some(Duration::from_nanos(1)),
        ..TransportParameters::default()
    };
    let read = TransportParameters::decode(&sent.encode(Role::Client, None), Role::Client).unwrap();
    assert_eq!(read.max_idle_timeout, Duration::from_millis(1));
    assert_eq!(read.max_ack_delay, Duration::from_millis(31));
    assert_eq!(read.min_ack_delay, Some(Duration::from_micros(1)));
}

#[test]
fn a_parameter_sent_twice_is_refused_known_or_not() {
    refused(
        &[number(4, 1), number(5, 1), number(4, 1)].concat(),
        Role::Client,
        "transport parameter initial_max_data: sent twice",
    );
    refused(&[raw(58, b"x"), raw(58, b"")].concat(), Role::Client, "transport parameter 0x3a: sent twice");
}

#[test]
fn a_client_may_not_send_what_is_the_servers() {
    for (number, name) in [
        (0x00, "original_destination_connection_id"),
        (0x02, "stateless_reset_token"),
        (0x0d, "preferred_address"),
        (0x10, "retry_source_connection_id"),
    ] {
        let words = format!("transport parameter {name}: a client may not send it");
        refused(&raw(number, &[1; 16]), Role::Client, &words);
    }
}

#[test]
fn numbers_out_of_range_are_refused_and_the_last_in_range_accepted() {
    let cases = [
        ("max_udp_payload_size", 0x03, 1200, 1199, "below 1200"),
        ("initial_max_streams_bidi", 0x08, 1 << 60, (1 << 60) + 1, "above 2^60"),
        ("initial_max_streams_uni", 0x09, 1 << 60, (1 << 60) + 1, "above 2^60"),
        ("ack_delay_exponent", 0x0a, 20, 21, "above 20"),
        ("ack_delay_exponent", 0x0a, 0, 256 + 3, "above 20"),
        ("max_ack_delay", 0x0b, (1 << 14) - 1, 1 << 14, "2^14 or above"),
        ("active_connection_id_limit", 0x0e, 2, 1, "below 2"),
        ("initial_max_path_id", 0x3e, (1 << 32) - 1, 1 << 32, "above 2^32-1"),
        ("min_ack_delay", 0xff04_de1b, 25_000, 25_001, "above max_ack_delay"),
        ("address_discovery", 0x9f81_a176, 2, 3, "above 2"),
    ];
    for (name, id, good, bad, why) in cases {
        assert!(TransportParameters::decode(&number(id, good), Role::Server).is_ok(), "{name} {good}");
        refused(&number(id, bad), Role::Server, &format!("transport parameter {name}: {why}"));
    }
}

#[test]
fn a_number_fills_its_value_exactly() {
    for value in [&[][..], &[0x40], &[1, 1]] {
        refused(
            &raw(0x04, value),
            Role::Server,
            "transport parameter initial_max_data: not exactly one number",
        );
    }
}

#[test]
fn flags_are_empty() {
    for (id, name) in
        [(0x0c, "disable_active_migration"), (0x2ab2, "grease_quic_bit"), (0x1d, "reset_stream_at")]
    {
        assert!(TransportParameters::decode(&raw(id, &[]), Role::Client).is_ok());
        refused(&raw(id, &[1]), Role::Client, &format!("transport parameter {name}: not empty"));
    }
}

#[test]
fn tokens_and_connection_ids_have_their_length() {
    refused(&raw(0x02, &[0; 15]), Role::Server, "transport parameter stateless_reset_token: not 16 bytes");
    refused(
        &raw(0x0f, &[0; 21]),
        Role::Server,
        "transport parameter initial_source_connection_id: longer than 20 bytes",
    );
    let read = TransportParameters::decode(&raw(0x0f, &[]), Role::Server).unwrap();
    assert_eq!(read.initial_scid, Some(Cid::EMPTY));
}

#[test]
fn a_preferred_address_is_whole_and_has_a_connection_id() {
    let address = |cid_len: usize| {
        let mut value = vec![0; 24];
        value.push(u8::try_from(cid_len).unwrap());
        value.extend(vec![7; cid_len + 16]);
        value
    };
    let read = TransportParameters::decode(&raw(0x0d, &address(5)), Role::Server).unwrap();
    let preferred = read.preferred_address.unwrap();
    assert_eq!((preferred.v4, preferred.v6, preferred.cid.len()), (None, None, 5));
    let words = |why: &str| format!("transport parameter preferred_address: {why}");
    refused(&raw(0x0d, &address(0)), Role::Server, &words("empty connection ID"));
    refused(&raw(0x0d, &address(21)), Role::Server, &words("malformed"));
    refused(&raw(0x0d, &address(5)[..44]), Role::Server, &words("malformed"));
    refused(&raw(0x0d, &[&address(5)[..], &[0]].concat()), Role::Server, &words("bytes left over"));
    let without_cids = [raw(0x0f, &[]), raw(0x0d, &address(5))].concat();
    refused(&without_cids, Role::Server, &words("comes from a server without connection IDs"));
}

#[test]
fn version_information_lists_real_versions() {
    let words = |why: &str| format!("transport parameter version_information: {why}");
    refused(&raw(0x11, &[]), Role::Client, &words("no version"));
    refused(&raw(0x11, &[0, 0, 0, 1, 0]), Role::Client, &words("half a version"));
    refused(&raw(0x11, &[0, 0, 0, 0]), Role::Client, &words("version 0"));
    refused(&raw(0x11, &[0, 0, 0, 1, 0, 0, 0, 0]), Role::Client, &words("version 0"));
    let read = TransportParameters::decode(&raw(0x11, &[0, 0, 0, 1, 0, 0, 0, 2]), Role::Client).unwrap();
    assert_eq!(read.version_information, Some(VersionInformation { chosen: 1, available: vec![2] }));
}

#[test]
fn a_list_above_the_cap_is_refused_before_it_is_read() {
    let filler = |len| raw(58, &vec![0; len]);
    assert_eq!(filler(MAX_ENCODED_LEN - 3).len(), MAX_ENCODED_LEN);
    assert!(TransportParameters::decode(&filler(MAX_ENCODED_LEN - 3), Role::Client).is_ok());
    refused(&filler(MAX_ENCODED_LEN - 2), Role::Client, "transport parameters: too long");
}

#[test]
fn a_cut_list_is_refused() {
    refused(&[0x40], Role::Client, "transport parameters: truncated");
    refused(&[0x04, 2, 0], Role::Client, "transport parameter initial_max_data: truncated");
}
