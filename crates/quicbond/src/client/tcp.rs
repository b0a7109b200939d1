//! The TCP lane: connections that the firewall hands to us, each on a stream of its own.

use super::dial::{Dial, Host, Target};
use super::tunnel::Tunnel;
use crate::host::original_destination;
use crate::relay::{Abort, Counters, IDLE_MAX, relay};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// After an error of accepting, as a rule too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves redirected connections until the listener's task is dropped.
pub(crate) async fn serve(listener: TcpListener, tunnel: Tunnel, traffic: Arc<Counters>) {
    loop {
        match listener.accept().await {
            Ok((local, _)) => {
                let (tunnel, traffic) = (tunnel.clone(), Arc::clone(&traffic));
                tokio::spawn(async move { carry(local, &tunnel, &traffic).await });
            }
            Err(error) => {
                tracing::warn!(%error, "no TCP flow can be accepted now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn carry(mut local: TcpStream, tunnel: &Tunnel, traffic: &Counters) {
    let target = match target(&local) {
        Ok(target) => target,
        Err(error) => {
            tracing::debug!(%error, "a TCP connection that was not redirected");
            return local.abort();
        }
    };
    match tunnel.tcp(&target).await {
        Ok(flow) => {
            local.set_nodelay(true).ok();
            relay(local, Vec::new(), flow, IDLE_MAX, traffic).await;
        }
        Err(refusal) => {
            tracing::debug!("{}", refusal.explain(&target));
            // The connection stands already on this side; a reset is the nearest to the truth.
            local.abort();
        }
    }
}

/// Where the connection was going before the firewall turned it to us.
fn target(local: &TcpStream) -> io::Result<Target> {
    let destination = original_destination(local)?;
    Ok(Target { host: Host::Ip(destination.ip()), port: destination.port() })
}
