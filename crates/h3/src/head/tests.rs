use super::*;
use crate::error::Error;
use crate::qpack;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use proptest::prelude::*;

const LIMIT: u64 = 64 * 1024;

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    qpack::begin(&mut block);
    fields.iter().for_each(|(name, value)| qpack::put_field(&mut block, name, value.as_bytes(), false));
    block
}

fn request(fields: &[(&str, &str)]) -> Result<Request<()>, Error> {
    parse_request(&block(fields), LIMIT)
}

fn fields_of(block: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    qpack::decode(block, u64::MAX, |name, value, _| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.push((text(name), text(value)));
        Ok::<(), ()>(())
    })
    .unwrap();
    fields
}

fn sent(head: &Request<()>) -> Vec<(String, String)> {
    fields_of(&request_block(head).unwrap())
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y=1")];

#[test]
fn a_classic_connect_has_neither_scheme_nor_path() {
    // RFC 9114 §4.4.
    let head = Request::connect("example.org:443").body(()).unwrap();
    assert_eq!(sent(&head), pairs(&[(":method", "CONNECT"), (":authority", "example.org:443")]));
    let whole = Request::connect("https://example.org:443/x").body(()).unwrap();
    assert_eq!(sent(&whole), sent(&head));
    let back = parse_request(&request_block(&head).unwrap(), LIMIT).unwrap();
    assert_eq!((back.method(), back.uri().to_string().as_str()), (&Method::CONNECT, "example.org:443"));
    assert!(request_block(&Request::connect("example.org").body(()).unwrap()).is_err());
}

#[test]
fn an_extended_connect_has_them_and_its_protocol() {
    let head = crate::connect_ip::Scope::ANY.request("example.org").unwrap();
    let expected = [
        (":method", "CONNECT"),
        (":protocol", "connect-ip"),
        (":scheme", "https"),
        (":path", "/.well-known/masque/ip/*/*/"),
        (":authority", "example.org"),
        ("capsule-protocol", "?1"),
    ];
    assert_eq!(sent(&head), pairs(&expected));
    let back = parse_request(&request_block(&head).unwrap(), LIMIT).unwrap();
    assert_eq!(back.extensions().get::<Protocol>(), Some(&Protocol("connect-ip".to_owned())));
    assert_eq!(back.uri().path(), "/.well-known/masque/ip/*/*/");
}

#[test]
fn heads_come_back_as_they_were_sent() {
    let head = Request::post("https://a.example:8443/p/q?r=s%20t")
        .header("accept", "*/*")
        .header("x-two", "1")
        .header("x-two", "2")
        .body(())
        .unwrap();
    let back = parse_request(&request_block(&head).unwrap(), LIMIT).unwrap();
    assert_eq!((back.method(), back.uri(), back.headers()), (head.method(), head.uri(), head.headers()));
    let response = Response::builder().status(404).header("server", "x").body(()).unwrap();
    let back = parse_response(&response_block(&response).unwrap(), LIMIT).unwrap();
    assert_eq!((back.status(), back.headers()), (StatusCode::NOT_FOUND, response.headers()));
}

#[test]
fn targets_without_a_path_get_one() {
    let path = |method: Method, uri: &str| {
        let head = Request::builder().method(method).uri(uri).header("host", "a.example").body(()).unwrap();
        let fields = sent(&head);
        assert!(!fields.iter().any(|(name, _)| name == "host"));
        fields.into_iter().find(|(name, _)| name == ":path").unwrap().1
    };
    assert_eq!(path(Method::GET, "https://a.example"), "/");
    assert_eq!(path(Method::GET, "https://a.example?q"), "/?q");
    assert_eq!(path(Method::OPTIONS, "*"), "*");
    assert_eq!(path(Method::GET, "/relative"), "/relative");
}

#[test]
fn requests_without_their_pseudo_fields_are_malformed() {
    assert!(request(&GET).is_ok());
    for missing in 0..GET.len() {
        let mut fields = GET.to_vec();
        fields.remove(missing);
        assert!(matches!(request(&fields), Err(Error::Malformed(_))), "{missing}");
    }
    for twice in GET {
        assert!(matches!(request(&[&GET[..], &[twice]].concat()), Err(Error::Malformed(_))), "{twice:?}");
    }
    for (at, value) in [(0, "G T"), (1, "ht tp"), (2, "a b"), (2, "user@host"), (3, "x"), (3, ""), (3, "*")] {
        let mut fields = GET;
        fields[at].1 = value;
        assert!(matches!(request(&fields), Err(Error::Malformed(_))), "{value}");
    }
}

#[test]
fn forbidden_fields_make_a_request_malformed() {
    for extra in [
        (":status", "200"),
        (":unknown", "x"),
        (":protocol", "websocket"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("Upper", "x"),
        ("sp ace", "x"),
        ("", "x"),
        ("x", "new\nline"),
        ("x", "nul\0"),
        ("host", "b.example"),
        ("content-length", "x"),
        ("content-length", "+1"),
        ("content-length", ""),
        ("content-length", "99999999999999999999"),
    ] {
        let refused = request(&[&GET[..], &[extra]].concat());
        assert!(matches!(refused, Err(Error::Malformed(_))), "{extra:?}: {refused:?}");
    }
    let lengths = [&GET[..], &[("content-length", "1"), ("content-length", "2")]].concat();
    assert!(matches!(request(&lengths), Err(Error::Malformed(_))));
    let late = [&[("x", "y")], &GET[..]].concat();
    assert!(matches!(request(&late), Err(Error::Malformed(_))));
    for fine in [("te", "trailers"), ("host", "a.example"), ("content-length", "7")] {
        assert!(request(&[&GET[..], &[fine]].concat()).is_ok(), "{fine:?}");
    }
}

#[test]
fn connect_requests_have_the_fields_of_their_kind() {
    let classic = [(":method", "CONNECT"), (":authority", "a.example:443")];
    assert!(request(&classic).is_ok());
    for extra in [(":scheme", "https"), (":path", "/")] {
        assert!(matches!(request(&[&classic[..], &[extra]].concat()), Err(Error::Malformed(_))), "{extra:?}");
    }
    for authority in ["a.example", ":443", ""] {
        let fields = [(":method", "CONNECT"), (":authority", authority)];
        assert!(matches!(request(&fields), Err(Error::Malformed(_))), "{authority:?}");
    }
    assert!(matches!(request(&classic[..1]), Err(Error::Malformed(_))));
    let extended =
        [&classic[..], &[(":protocol", "connect-udp"), (":scheme", "https"), (":path", "/x")]].concat();
    assert!(request(&extended).is_ok());
    assert!(matches!(request(&extended[..4]), Err(Error::Malformed(_))));
}

#[test]
fn host_stands_in_for_authority_and_crumbs_become_a_cookie() {
    let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "a.example")];
    assert_eq!(request(&fields).unwrap().uri().host(), Some("a.example"));
    let crumbs = [&GET[..], &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]].concat();
    assert_eq!(request(&crumbs).unwrap().headers()["cookie"], "a=1; b=2");
}

#[test]
fn what_http_3_does_not_allow_is_not_sent() {
    let with = |name: &'static str, value: &str| {
        let mut head = Request::get("https://a.example/").body(()).unwrap();
        head.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        request_block(&head)
    };
    for (name, value) in [("connection", "close"), ("transfer-encoding", "chunked"), ("te", "gzip")] {
        assert!(matches!(with(name, value), Err(Error::Refused(_))), "{name}");
    }
    assert!(with("te", "trailers").is_ok());
    assert!(request_block(&Request::get("/no-authority").body(()).unwrap()).is_err());
    let mut protocol = Request::get("https://a.example/").body(()).unwrap();
    protocol.extensions_mut().insert(Protocol("connect-ip".to_owned()));
    assert!(request_block(&protocol).is_err());
    let switching = Response::builder().status(101).body(()).unwrap();
    assert!(response_block(&switching).is_err());
}

#[test]
fn trailers_are_regular_fields() {
    assert_eq!(parse_trailers(&block(&[("a", "b")]), LIMIT).unwrap()["a"], "b");
    assert!(matches!(parse_trailers(&block(&[(":status", "200")]), LIMIT), Err(Error::Malformed(_))));
}

#[test]
fn a_section_is_measured_as_the_receiver_does() {
    let fields = block(&[("abc", "defg"), (":method", "GET")]);
    assert_eq!(section_size(&fields), 39 + 42);
}

proptest! {
    #[test]
    fn arbitrary_sections_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let section = [&[0, 0], &bytes[..]].concat();
        parse_request(&section, LIMIT).ok();
        parse_response(&section, LIMIT).ok();
        parse_trailers(&section, LIMIT).ok();
    }

    #[test]
    fn arbitrary_fields_never_panic(fields in prop::collection::vec(("(:[a-z]{4,9}|[a-z-]{1,9})", ".{0,20}"), 0..8)) {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let whole = [&GET[..], &fields].concat();
        request(&whole).ok();
        request(&fields).ok();
    }
}
