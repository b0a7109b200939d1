//! The same files over HTTP/3.

use crate::Failure;
use crate::files::below;
use crate::options::Url;
use http::{Method, Request, Response, StatusCode};
use mpquic::Connection;
use mpquic_h3::{Client, Server};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

/// What is read from a file at once.
const CHUNK: usize = 64 * 1024;

/// Answers the client's requests until the connection is over.
pub(crate) async fn serve(connection: Connection, www: Arc<Path>) {
    let Ok(server) = Server::start(connection).await else { return };
    while let Ok(Some(request)) = server.accept().await {
        let www = Arc::clone(&www);
        tokio::spawn(async move {
            // What goes wrong concerns this request alone, and its stream's end tells the client.
            answer(request, &www).await.ok();
        });
    }
}

async fn answer(request: mpquic_h3::Request, www: &Path) -> Result<(), Failure> {
    let path = request.head.uri().path().to_owned();
    let file = below(www, &path).filter(|_| request.head.method() == Method::GET);
    let file = file.and_then(|path| File::open(path).ok());
    let mut head = Response::new(());
    if file.is_none() {
        *head.status_mut() = StatusCode::NOT_FOUND;
    }
    let wrong = |e: mpquic_h3::Error| Failure::new(&path, e);
    let (mut send, _recv) = request.respond(head).await.map_err(wrong)?;
    if let Some(mut file) = file {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = file.read(&mut chunk).map_err(|e| Failure::new(&path, e))?;
            if n == 0 {
                break;
            }
            send.send(&chunk[..n]).await.map_err(wrong)?;
        }
    }
    send.finish().map_err(wrong)
}

/// Gets one file.
pub(crate) async fn get(client: &Client, url: &Url, to: &Path) -> Result<(), Failure> {
    let wrong = |e: mpquic_h3::Error| Failure::new(&url.path, e);
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let head = Request::get(format!("https://{host}:{}{}", url.port, url.path)).body(());
    let mut stream = client.request(head.map_err(|e| Failure::new(&url.path, e))?).await.map_err(wrong)?;
    stream.body().finish().map_err(wrong)?;
    let status = stream.response().await.map_err(wrong)?.status();
    if status != StatusCode::OK {
        return Err(Failure::new(&url.path, status));
    }
    let mut file = File::create(to).map_err(|e| Failure::new(to.display(), e))?;
    while let Some(chunk) = stream.receiver().chunk().await.map_err(wrong)? {
        file.write_all(&chunk).map_err(|e| Failure::new(to.display(), e))?;
    }
    Ok(())
}
