//! A name server that knows the lab's few names and nothing else (RFC 1035).

use crate::lab::topology::{TARGET, TARGET6};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const HEADER: usize = 12;
const LARGEST: usize = 4096;
const A: u16 = 1;
const AAAA: u16 = 28;
const ANY: u16 = 255;
const INTERNET: u16 = 1;
/// Short, so that nobody remembers what a test has changed.
const SECONDS_TO_LIVE: u32 = 5;
const FORMAT_ERROR: u8 = 1;
const NO_SUCH_NAME: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;

pub(super) async fn serve_udp(socket: UdpSocket) {
    let mut query = vec![0; LARGEST];
    loop {
        if let Ok((n, from)) = socket.recv_from(&mut query).await
            && let Some(answer) = answer(&query[..n])
        {
            socket.send_to(&answer, from).await.ok();
        }
    }
}

pub(super) async fn serve_tcp(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A client that goes away is how this ends.
            converse(stream).await.ok();
        });
    }
}

/// RFC 1035 §4.2.2: over TCP each message has its length before it.
async fn converse(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = usize::from(stream.read_u16().await?);
        let mut query = vec![0; length];
        stream.read_exact(&mut query).await?;
        let Some(answer) = answer(&query) else { return Ok(()) };
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat()).await?;
    }
}

/// `None` for what is no query and would only be answered by mistake.
pub(super) fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let header = query.get(..HEADER)?;
    let is_answer = header[2] & 0x80 != 0;
    if is_answer {
        return None;
    }
    let Some(question) = Question::read(query) else { return Some(refusal(header, FORMAT_ERROR)) };
    let is_standard_query = header[2] & 0x78 == 0;
    if !is_standard_query {
        return Some(refusal(header, NOT_IMPLEMENTED));
    }
    let (v4, v6) = match question.name.as_str() {
        "target" => (true, true),
        "target4" => (true, false),
        "target6" => (false, true),
        _ => return Some(message(header, NO_SUCH_NAME, question.bytes, &[])),
    };
    let wanted = |kind| question.class == INTERNET && [kind, ANY].contains(&question.kind);
    let mut records = Vec::new();
    if v4 && wanted(A) {
        let address = TARGET.parse::<Ipv4Addr>().ok()?;
        records.push((A, address.octets().to_vec()));
    }
    if v6 && wanted(AAAA) {
        let address = TARGET6.parse::<Ipv6Addr>().ok()?;
        records.push((AAAA, address.octets().to_vec()));
    }
    Some(message(header, 0, question.bytes, &records))
}

struct Question<'a> {
    name: String,
    kind: u16,
    class: u16,
    bytes: &'a [u8],
}

impl<'a> Question<'a> {
    /// The first question; nobody asks two.
    fn read(query: &'a [u8]) -> Option<Self> {
        if u16::from_be_bytes([query[4], query[5]]) == 0 {
            return None;
        }
        let mut labels: Vec<String> = Vec::new();
        let mut at = HEADER;
        loop {
            let length = usize::from(*query.get(at)?);
            // Compression has nothing to point at in a first question.
            if length > 63 {
                return None;
            }
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let rest = query.get(at..at + 4)?;
        Some(Self {
            name: labels.join("."),
            kind: u16::from_be_bytes([rest[0], rest[1]]),
            class: u16::from_be_bytes([rest[2], rest[3]]),
            bytes: &query[HEADER..at + 4],
        })
    }
}

fn refusal(header: &[u8], code: u8) -> Vec<u8> {
    let mut bytes = message(header, code, &[], &[]);
    bytes[5] = 0;
    bytes
}

fn message(header: &[u8], code: u8, question: &[u8], records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    // RFC 1035 §4.1.1: an answer, authoritative, recursion as desired and available.
    let flags = [0x84 | header[2] & 0x79, 0x80 | code];
    let mut bytes =
        vec![header[0], header[1], flags[0], flags[1], 0, 1, 0, records.len().to_le_bytes()[0], 0, 0, 0, 0];
    bytes.extend_from_slice(question);
    for (kind, data) in records {
        // The name is the question's, 12 bytes into the message.
        bytes.extend_from_slice(&[0xc0, 0x0c]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&INTERNET.to_be_bytes());
        bytes.extend_from_slice(&SECONDS_TO_LIVE.to_be_bytes());
        bytes.extend_from_slice(&[0, data.len().to_le_bytes()[0]]);
        bytes.extend_from_slice(data);
    }
    bytes
}
