//! Bytes of an HTTP/3 peer: the first byte is what they are.

const SECTION: u8 = 0xf0;
const MESSAGE: u8 = 1;
const FRAMES: u8 = 2;
const SETTINGS: u8 = 3;
const CAPSULES: u8 = 4 | 3 << 3;
const INSTRUCTIONS: u8 = 5;
const DATAGRAMS: u8 = 6;
const TARGET: u8 = 7;

const SEEDS: &[(&str, u8, &[u8])] = &[
    ("section-static", SECTION, &[0, 0, 0xd1, 0xd7, 0x50, 4, b'h', b'o', b's', b't', 0xc1]),
    ("section-literal", SECTION, b"\x00\x00\x23abc\x03def\x33abc\x03def"),
    ("section-huffman", SECTION, b"\x00\x00\x51\x8b\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
    ("section-long-integer", SECTION, &[0, 0, 0xff, 0x80, 0x80, 0x80, 0x80, 0x01]),
    ("section-dynamic", SECTION, &[2, 0, 0x80]),
    ("section-negative-base", SECTION, &[0, 0x81]),
    ("section-post-base", SECTION, &[0, 0, 0x10]),
    ("section-never", SECTION, b"\x00\x00\x70\x01x\x3fabcdefgh\x01\x02hi"),
    ("request", MESSAGE, b"\x00\x00\xd1\xd7\xc1\x50\x09localhost\x27\x01user-agent\x01x"),
    ("request-host", MESSAGE, b"\x00\x00\xd1\xd7\xc1\x24host\x09localhost"),
    ("request-connect", MESSAGE, b"\x00\x00\xcf\x50\x0alocalhost:7"),
    ("request-extended", MESSAGE, b"\x00\x00\xcf\xd7\x51\x01/\x50\x01h\x27\x02:protocol\x0aconnect-ip"),
    ("request-options", MESSAGE, b"\x00\x00\xd3\xd7\x51\x01*\x50\x01h"),
    ("request-cookies", MESSAGE, b"\x00\x00\xd1\xd7\xc1\x50\x01h\x55\x01a\x55\x01b"),
    ("request-length", MESSAGE, b"\x00\x00\xd4\xd7\xc1\x50\x01h\x54\x0212"),
    ("request-twice", MESSAGE, b"\x00\x00\xd1\xd1\xd7\xc1\x50\x01h"),
    ("response", MESSAGE, b"\x00\x00\xd9\x54\x015"),
    ("response-101", MESSAGE, b"\x00\x00\x5f\x09\x03101"),
    ("trailers", MESSAGE, b"\x00\x00\x23abc\x03def"),
    ("upper-case", MESSAGE, b"\x00\x00\xd9\x23ABC\x03def"),
    ("frames", FRAMES, &[0, 3, 1, 0x40, 9, 4, 0, 0x80, 0, 0, 7, 1]),
    ("frames-long", FRAMES, &[0xc0, 0, 0, 0, 0, 0, 0, 33, 0xc0, 0, 0, 0, 0, 0, 0x10, 0, 7]),
    ("settings", SETTINGS, &[1, 0, 7, 0, 6, 0x7f, 0xff, 8, 1, 0x33, 1, 0x21, 5]),
    ("settings-twice", SETTINGS, &[6, 1, 6, 1]),
    ("settings-of-2", SETTINGS, &[2, 0]),
    ("settings-cut", SETTINGS, &[6]),
    ("capsule-datagram", CAPSULES, &[0, 4, 0, 1, 2, 3, 0x17, 2, 9, 9, 0, 1, 0]),
    ("capsule-assign", CAPSULES, &[1, 7, 1, 4, 10, 0, 0, 0, 8, 1, 7, 0, 4, 10, 0, 0, 1, 32]),
    ("capsule-request", CAPSULES, &[2, 14, 1, 4, 0, 0, 0, 0, 32, 2, 4, 0, 0, 0, 0, 32]),
    ("capsule-routes", CAPSULES, &[3, 20, 4, 10, 0, 0, 0, 10, 0, 0, 9, 0, 4, 11, 0, 0, 0, 11, 0, 0, 9, 6]),
    (
        "capsule-routes-6",
        CAPSULES,
        &[
            3, 34, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 2, 0,
        ],
    ),
    ("capsule-too-long", CAPSULES, &[1, 0xc0, 0, 0, 1, 0, 0, 0, 0]),
    ("capsule-cut", CAPSULES, &[1, 7, 1, 4]),
    ("encoder", INSTRUCTIONS, &[0x20, 0x20]),
    ("encoder-insert", INSTRUCTIONS, &[0xc0, 0]),
    ("decoder", INSTRUCTIONS, &[0x44, 0x7f, 0x10]),
    (
        "datagrams",
        DATAGRAMS,
        &[0, 0, 1, 2, 3, 4, 5, 1, 0, 1, 2, 3, 4, 5, 4, 0, 1, 2, 3, 4, 5, 9, 0, 7, 7, 7, 7, 7],
    ),
    ("datagrams-far", DATAGRAMS, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1]),
    ("target-udp", TARGET, b"/.well-known/masque/udp/192.0.2.6/443/"),
    ("target-udp-6", TARGET, b"/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/"),
    ("target-ip", TARGET, b"/.well-known/masque/ip/%2A/%2A/"),
    ("target-ip-prefix", TARGET, b"/.well-known/masque/ip/192.0.2.0%2F24/17/"),
    ("target-ip-name", TARGET, b"/.well-known/masque/ip/example.org/6/"),
];

pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    SEEDS.iter().map(|(name, kind, bytes)| ((*name).to_owned(), [&[*kind], *bytes].concat())).collect()
}
