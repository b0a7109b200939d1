use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_examples_of_rfc_7541_come_out_byte_for_byte() {
    // Appendices C.4 and C.6.
    for (text, code) in [
        ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
        ("no-cache", "a8eb10649cbf"),
        ("custom-key", "25a849e95ba97d7f"),
        ("custom-value", "25a849e95bb8e8b4bf"),
        ("302", "6402"),
        ("307", "640eff"),
        ("private", "aec3771a4b"),
        ("gzip", "9bd9ab"),
        ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
        ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
        (
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
    ] {
        let mut out = Vec::new();
        encode(text.as_bytes(), &mut out);
        assert_eq!(out, hex(code), "{text}");
        assert_eq!(encoded_len(text.as_bytes()), out.len());
        let mut back = Vec::new();
        decode(&out, &mut back, 1000).unwrap();
        assert_eq!(back, text.as_bytes());
    }
}

#[test]
fn padding_is_short_and_all_ones() {
    let decoded = |code: &str| {
        let mut out = Vec::new();
        decode(&hex(code), &mut out, 100).map(|()| out)
    };
    // "0" is five zeros.
    assert_eq!(decoded("07"), Ok(b"0".to_vec()));
    assert_eq!(decoded("06"), Err(BadCode), "a zero in the padding");
    assert_eq!(decoded("07ff"), Err(BadCode), "a whole byte of padding");
    assert_eq!(decoded("ff"), Err(BadCode));
    assert_eq!(decoded("fffffffc"), Err(BadCode), "EOS itself");
    assert_eq!(decoded("ffffffff"), Err(BadCode), "EOS itself");
    assert_eq!(decoded(""), Ok(Vec::new()));
}

#[test]
fn what_comes_out_is_limited() {
    let mut out = Vec::new();
    assert_eq!(decode(&[0; 10], &mut out, 15), Err(BadCode));
    assert_eq!(out.len(), 15);
}

proptest! {
    #[test]
    fn every_text_survives_the_round_trip(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut code, mut back) = (Vec::new(), Vec::new());
        encode(&text, &mut code);
        decode(&code, &mut back, text.len()).unwrap();
        prop_assert_eq!(back, text);
    }

    #[test]
    fn arbitrary_bytes_are_decoded_or_refused(code in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        if decode(&code, &mut out, 1000).is_ok() {
            // There is one encoding only.
            let mut again = Vec::new();
            encode(&out, &mut again);
            prop_assert_eq!(again, code);
        }
    }
}
