//! The server: gives out the files of one folder, over HTTP/0.9 or HTTP/3 as each client likes.

use crate::case::Role;
use crate::options::Options;
use crate::tally::Tally;
use crate::{Failure, h3, hq, preferred, trust};
use core::fmt;
use mpquic::{Connection, Endpoint};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::task::{JoinHandle, JoinSet};

/// A running server. Dropped, it ends at once; see [`Server::stop`].
pub struct Server {
    endpoint: Endpoint,
    accepting: JoinHandle<()>,
}

/// Starts a server as `options` say; `report` hears of every connection at its end. To be called within a tokio runtime.
///
/// # Errors
/// If the certificate, the key or an address cannot be used.
pub fn start(
    options: &Options,
    report: impl Fn(Tally) + Clone + Send + Sync + 'static,
) -> Result<Server, Failure> {
    let (mut listen, mut prefers) = (options.listen(), None);
    if options.case.prefers_address() {
        let (further, preferred) = preferred::beside(&listen)?;
        listen.extend(further);
        prefers = Some(preferred);
    }
    let config = trust::server(options, prefers)?;
    let endpoint = Endpoint::server(config, &listen).map_err(|e| Failure::new("sockets", e))?;
    let (www, case) = (Arc::from(options.www.as_path()), options.case);
    let accepting = tokio::spawn({
        let endpoint = endpoint.clone();
        async move {
            let mut serving = JoinSet::new();
            while let Some(connection) = endpoint.accept().await {
                while serving.try_join_next().is_some() {}
                let (www, report) = (Arc::clone(&www), report.clone());
                serving.spawn(async move {
                    tokio::spawn(serve(connection.clone(), www));
                    report(Tally::until_closed(&connection, Role::Server, case).await);
                });
            }
            // The endpoint has ended, and with it every connection: their last words are on the way.
            while serving.join_next().await.is_some() {}
        }
    });
    Ok(Server { endpoint, accepting })
}

async fn serve(connection: Connection, www: Arc<Path>) {
    if connection.alpn() == Some(mpquic_h3::ALPN) {
        h3::serve(connection, www).await;
    } else {
        hq::serve(connection, www).await;
    }
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoint.local_addrs()
    }

    /// Ends every connection and waits until all have been reported.
    pub async fn stop(mut self) {
        self.endpoint.shutdown().await;
        // A panic in there was reported when it happened.
        (&mut self.accepting).await.ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
