use super::super::http::HEAD_MAX;
use super::world::{REFUSALS, World, all_of};
use tokio::io::AsyncWriteExt;

/// Everything a client is told when it says this, and then ends.
async fn dialog(world: &World, says: &[u8]) -> String {
    let mut client = world.client().await;
    client.write_all(says).await.unwrap();
    client.shutdown().await.unwrap();
    String::from_utf8(all_of(&mut client).await).unwrap()
}

#[tokio::test]
async fn connect_opens_a_flow_and_bytes_behind_the_head_go_along() {
    let world = World::new().await;
    for target in ["echo.test:7".to_string(), world.home.to_string()] {
        let request =
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: test\r\n\r\nearly bird");
        let heard = dialog(&world, request.as_bytes()).await;
        assert_eq!(heard, "HTTP/1.1 200 Connection established\r\n\r\nearly bird");
    }
}

#[tokio::test]
async fn a_head_that_arrives_in_pieces_is_put_together() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.set_nodelay(true).unwrap();
    for byte in b"CONNECT echo.test:7 HTTP/1.0\r\n\r\nx" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    assert!(all_of(&mut client).await.ends_with(b"\r\n\r\nx"));
}

#[tokio::test]
async fn every_refusal_is_a_status_and_a_sentence() {
    let world = World::new().await;
    for (name, refusal) in REFUSALS {
        let heard = dialog(&world, format!("CONNECT {name}:443 HTTP/1.1\r\n\r\n").as_bytes()).await;
        let (status, text) = refusal.http_status();
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} {text}\r\n")), "{heard}");
        assert!(heard.contains(&format!("{name}:443")), "{heard}");
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{heard}");
    }
}

#[tokio::test]
async fn any_other_method_is_told_to_use_connect() {
    let world = World::new().await;
    for request in ["GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"]
    {
        let heard = dialog(&world, request.as_bytes()).await;
        assert!(heard.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\n"), "{heard}");
        assert!(heard.contains("CONNECT requests"), "{heard}");
    }
    let with_body = [b"POST http://example.com/ HTTP/1.1\r\n\r\n".to_vec(), vec![b'x'; 50_000]].concat();
    assert!(dialog(&world, &with_body).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_told_why() {
    let world = World::new().await;
    let bad = [
        ("CONNECT echo.test HTTP/1.1", "the port is missing"),
        ("CONNECT ::1:80 HTTP/1.1", "needs brackets"),
        ("CONNECT echo.test:7", "its first line"),
        ("CONNECT echo.test:7 HTTP/1.1 x", "its first line"),
        ("CONNECT  echo.test:7 HTTP/1.1", "its first line"),
        ("PRI * HTTP/2.0", "its version"),
        ("CONNECT <script>:7 HTTP/1.1", "neither an address nor a name"),
    ];
    for (line, why) in bad {
        let heard = dialog(&world, format!("{line}\r\n\r\n").as_bytes()).await;
        assert!(heard.starts_with("HTTP/1.1 400 Bad Request\r\n") && heard.contains(why), "{line}: {heard}");
        assert!(!heard.contains("script"), "what came in does not come back");
    }
}

#[tokio::test]
async fn a_head_without_an_end_is_cut_off_at_the_limit() {
    let world = World::new().await;
    let endless = [b"CONNECT echo.test:7 HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 3 * HEAD_MAX]].concat();
    assert!(dialog(&world, &endless).await.starts_with("HTTP/1.1 431 "));
}
