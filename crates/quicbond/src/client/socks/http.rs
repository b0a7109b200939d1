//! HTTP CONNECT (RFC 9110 §9.3.6), and a word to those who send anything else.
//!
//! Owns the request head and the answers. Headers are skipped: nothing in them changes where a CONNECT goes.

use super::{Answers, Request, reply};
use crate::client::dial::{Refusal, Target};
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The request line and all headers, in bytes.
pub(super) const HEAD_MAX: usize = 16 << 10;
const END: &[u8] = b"\r\n\r\n";
const YES: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

const CONNECT_ONLY: &str = "This proxy only passes on CONNECT requests, which https:// uses by itself. \
    For http://, set the program to use it as a SOCKS5 proxy, or tunnel with CONNECT (curl: --proxytunnel).";

/// Goes on behind the first byte, up to the end of the head.
pub(super) async fn read(client: &mut TcpStream, first: u8) -> io::Result<Request> {
    let mut head = vec![first];
    let head_len = loop {
        // An end that a read cut in two begins at most three bytes before it.
        let searched = head.len().saturating_sub(END.len() - 1);
        if client.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = find_end(&head[searched..]) {
            break searched + at;
        }
        if head.len() > HEAD_MAX {
            let text = "The request's head is too long.";
            reply::send(client, &answer(431, "Request Header Fields Too Large", text)).await?;
            return Ok(Request::Answered("its request head is too long"));
        }
    };
    let early = head.split_off(head_len);
    match parse(&head) {
        Line::Connect(target) => {
            let answers = Answers { yes: YES, no };
            Ok(Request::Connect { target, answers, early })
        }
        Line::OtherMethod => {
            reply::send(client, &answer(405, "Method Not Allowed", CONNECT_ONLY)).await?;
            Ok(Request::Answered("its method is not CONNECT"))
        }
        Line::Bad(why) => {
            reply::send(client, &answer(400, "Bad Request", &format!("The request cannot be read: {why}.")))
                .await?;
            Ok(Request::Answered("its request cannot be read"))
        }
    }
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END.len()).position(|w| w == END).map(|at| at + END.len())
}

enum Line {
    Connect(Target),
    OtherMethod,
    Bad(String),
}

fn parse(head: &[u8]) -> Line {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let Ok(line) = core::str::from_utf8(line) else { return Line::Bad("it is not text".into()) };
    let mut words = line.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next()) else {
        return Line::Bad("its first line is not a method, a target and a version".into());
    };
    if !version.starts_with("HTTP/1.") {
        return Line::Bad("its version is not HTTP/1.1".into());
    }
    if method != "CONNECT" {
        return Line::OtherMethod;
    }
    target.parse().map_or_else(|error| Line::Bad(format!("{error}")), Line::Connect)
}

fn no(refusal: Refusal, target: &Target) -> Vec<u8> {
    let (status, name) = refusal.http_status();
    answer(status, name, &refusal.explain(target))
}

fn answer(status: u16, name: &str, text: &str) -> Vec<u8> {
    let allow = if status == 405 { "Allow: CONNECT\r\n" } else { "" };
    let len = text.len() + 1;
    format!(
        "HTTP/1.1 {status} {name}\r\n{allow}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {len}\r\nConnection: close\r\n\r\n{text}\n"
    )
    .into_bytes()
}
