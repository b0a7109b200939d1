//! A client that others wrote. Without curl on the machine these tests say so and pass.

use super::super::Settings;
use super::world::{World, soon};
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

const PAGE: usize = 3_000_000;

/// A web server with one long page. It lives as long as the test's runtime.
async fn web_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut request).await.is_ok_and(|n| n > 0)
                {}
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\nConnection: close\r\n\r\n");
                let _sent = stream.write_all(&[head.as_bytes(), &vec![b'p'; PAGE]].concat()).await;
            });
        }
    });
    address
}

/// What curl wrote, and whether it succeeded; `None` if there is no curl.
async fn curl(args: &[&str]) -> Option<(bool, Vec<u8>)> {
    let mut command = Command::new("curl");
    command.args(["-q", "--silent", "--show-error", "--max-time", "30", "--noproxy", ""]).args(args);
    match soon(command.kill_on_drop(true).output()).await {
        Ok(output) => Some((output.status.success(), [output.stdout, output.stderr].concat())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: needs curl");
            None
        }
        Err(error) => panic!("curl did not start: {error}"),
    }
}

#[tokio::test]
async fn curl_fetches_a_page_over_socks5_and_http_connect() {
    let world = World::over(web_server().await, Settings::default()).await;
    let proxy = world.proxy.to_string();
    let url = "http://page.test/";
    for args in [
        &["--socks5-hostname", &proxy, url][..],
        &["--proxytunnel", "--proxy", &format!("http://{proxy}"), url],
        &["--proxy", &format!("socks5h://{proxy}"), url],
    ] {
        let Some((success, page)) = curl(args).await else { return };
        assert!(success, "{args:?}: {}", String::from_utf8_lossy(&page));
        assert!(page == vec![b'p'; PAGE], "{args:?}: {} bytes", page.len());
    }
}

#[tokio::test]
async fn curl_shows_the_sentence_when_it_asks_without_connect() {
    let world = World::over(web_server().await, Settings::default()).await;
    let proxy = format!("http://{}", world.proxy);
    let Some((success, text)) = curl(&["--proxy", &proxy, "http://page.test/"]).await else { return };
    let text = String::from_utf8(text).unwrap();
    assert!(success && text.contains("--proxytunnel"), "{text}");
}

#[tokio::test]
async fn curl_reports_a_refusal() {
    let world = World::new().await;
    let proxy = world.proxy.to_string();
    let Some((success, text)) = curl(&["--socks5-hostname", &proxy, "http://refused.test/"]).await else {
        return;
    };
    assert!(!success && !text.is_empty());
    let url = "https://refused.test/";
    let Some((success, text)) = curl(&["--proxy", &format!("http://{proxy}"), url]).await else { return };
    assert!(!success && String::from_utf8_lossy(&text).contains("502"), "{}", String::from_utf8_lossy(&text));
    let Some((success, _)) = curl(&["--socks4a", &proxy, "http://page.test/"]).await else { return };
    assert!(!success);
}
