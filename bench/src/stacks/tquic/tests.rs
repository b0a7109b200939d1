use super::*;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::timeout;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn alone<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async { timeout(Duration::from_secs(30), work).await };
    LocalSet::new().block_on(&runtime, work).expect("this takes no 30 seconds")
}

fn shown_by(name: &str) -> Certificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Certificate { der: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
}

fn believed(shown: &Certificate) -> Certificate {
    Certificate { der: shown.der.clone(), key: Vec::new() }
}

/// Whether a client that believes one certificate connects to a server that shows the other.
fn connects(shown: &Certificate, believed: &Certificate) -> bool {
    alone(async {
        let (server, client) = (server(shown, ANYWHERE).unwrap(), client(believed, ANYWHERE).unwrap());
        client.connect(server.address().unwrap()).await.is_ok()
    })
}

#[test]
fn what_was_written_comes_back_and_the_goodbye_is_heard() {
    let said: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let certificate = shown_by(NAME);
    alone(async {
        let server = server(&certificate, ANYWHERE).unwrap();
        let client = client(&believed(&certificate), ANYWHERE).unwrap();
        let address = server.address().unwrap();
        let echo = async {
            let connection = server.accept().await.unwrap();
            let (mut send, mut recv) = connection.accept().await.unwrap();
            let mut buffer = vec![0; 64 * 1024];
            while let Some(n) = recv.read(&mut buffer).await.unwrap() {
                send.write_all(&buffer[..n]).await.unwrap();
            }
            send.finish().await.unwrap();
            connection.closed().await.unwrap();
        };
        let talk = async {
            let connection = client.connect(address).await.unwrap();
            let (mut send, mut recv) = connection.open().await.unwrap();
            send.write_all(&said).await.unwrap();
            send.finish().await.unwrap();
            let (mut heard, mut buffer) = (Vec::new(), vec![0; 10_000]);
            while let Some(n) = recv.read(&mut buffer).await.unwrap() {
                heard.extend_from_slice(&buffer[..n]);
            }
            connection.close();
            heard
        };
        let ((), heard) = tokio::join!(echo, talk);
        assert!(heard == said, "{} bytes came back, not all of them right", heard.len());
    });
}

#[test]
fn a_certificate_has_to_be_the_one_believed_and_of_that_name() {
    let certificate = shown_by(NAME);
    assert!(connects(&certificate, &believed(&certificate)));
    assert!(!connects(&certificate, &believed(&shown_by(NAME))));
    let other = shown_by("elsewhere");
    assert!(!connects(&other, &believed(&other)));
}

#[test]
fn an_endpoint_that_shuts_down_says_so_on_every_connection() {
    let certificate = shown_by(NAME);
    alone(async {
        let server = server(&certificate, ANYWHERE).unwrap();
        let client = client(&believed(&certificate), ANYWHERE).unwrap();
        let address = server.address().unwrap();
        let [first, second] =
            [client.connect(address).await.unwrap(), client.connect(address).await.unwrap()];
        let accepted = [server.accept().await, server.accept().await];
        assert!(accepted.iter().all(Result::is_ok));
        server.shutdown().await.unwrap();
        first.closed().await.unwrap();
        second.closed().await.unwrap();
        // Whoever still wants something of it hears why not.
        assert!(first.accept().await.is_err());
    });
}
