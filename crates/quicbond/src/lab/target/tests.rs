use super::{dns, http};
use crate::digest::Hasher;
use crate::pattern::Pattern;
use core::convert::Infallible;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Everything that a server answers on one connection.
fn talk(said: &[u8]) -> (String, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a header") + 4;
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
}

fn pattern(bytes: u64) -> Vec<u8> {
    let mut all = Vec::new();
    Pattern::new(1)
        .pieces(bytes, |piece| {
            all.extend(piece);
            Ok::<(), Infallible>(())
        })
        .unwrap();
    all
}

fn hash(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish().hex()
}

#[test]
fn data_has_the_size_that_was_asked_for_and_the_hash_that_is_told() {
    for size in [1, 8, 65_536, 65_537, 3_000_000] {
        let (header, body) = talk(format!("GET /{size} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(
            header.starts_with("HTTP/1.1 200") && header.contains(&format!("Content-Length: {size}\r\n"))
        );
        assert!(body == pattern(size), "the data of size {size} differs");
        let (_, told) = talk(format!("GET /{size}.sha256 HTTP/1.0\r\n\r\n").as_bytes());
        assert_eq!(String::from_utf8(told).unwrap().trim(), hash(&body));
    }
}

#[test]
fn one_connection_carries_several_requests() {
    let (header, rest) = talk(b"HEAD /1kB HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(header.contains("Content-Length: 1000\r\n"), "{header}");
    assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n") && rest.ends_with(&pattern(4)));
}

#[test]
fn uploads_are_answered_with_their_size_and_hash() {
    let whole = b"POST /upload HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let chunked = b"PUT /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
        2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n";
    for said in [&whole[..], chunked] {
        let (header, body) = talk(said);
        assert!(header.starts_with("HTTP/1.1 200"), "{header}");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((json["bytes"].as_u64(), json["sha256"].as_str()), (Some(5), Some(&*hash(b"hello"))));
    }
    let (header, _) =
        talk(b"PUT /x HTTP/1.1\r\nContent-Length: 0\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    assert!(header.starts_with("HTTP/1.1 100"), "{header}");
}

#[test]
fn what_nobody_has_is_not_found() {
    for path in ["/", "/lots", "/.sha256", "/1XB"] {
        let (header, _) = talk(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(header.starts_with("HTTP/1.1 404"), "{path}: {header}");
    }
}

fn query(name: &str, kind: u8) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len().to_le_bytes()[0]);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, kind, 0, 1]);
    bytes
}

#[test]
fn names_have_the_addresses_of_their_families() {
    const A: u8 = 1;
    const AAAA: u8 = 28;
    let code = |name: &str, kind| {
        let answer = dns::answer(&query(name, kind)).unwrap();
        assert_eq!(answer[..3], [0xab, 0xcd, 0x85], "an authoritative answer to this query");
        (answer[3] & 0xf, answer[7])
    };
    assert_eq!([code("target", A), code("target", AAAA)], [(0, 1), (0, 1)]);
    assert_eq!([code("target4", A), code("target4", AAAA)], [(0, 1), (0, 0)]);
    assert_eq!([code("TARGET6", A), code("target6", AAAA)], [(0, 0), (0, 1)]);
    assert_eq!(code("example.com", A), (3, 0), "no such name");
    let answer = dns::answer(&query("target", A)).unwrap();
    assert!(answer.ends_with(&[0, 4, 198, 51, 100, 10]));
}

#[test]
fn broken_queries_are_refused_and_answers_are_not_answered() {
    let mut answer = query("target", 1);
    answer[2] |= 0x80;
    assert_eq!(dns::answer(&answer), None);
    let whole = query("target", 1);
    for end in 0..whole.len() {
        let refusal = dns::answer(&whole[..end]);
        assert_eq!(refusal.is_some(), end >= 12, "cut off after {end} bytes");
        assert!(refusal.is_none_or(|refusal| refusal[3] & 0xf == 1));
    }
}
