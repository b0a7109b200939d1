//! What the long-running commands have in common: a runtime, a reason to end, and the transport that both ends use.

use crate::config::Transport;
use crate::output::Output;
use core::future::Future;
use core::time::Duration;
use mpquic::TransportConfig;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Flows that the peer may open at once: each TCP flow and each UDP target is a stream.
const STREAMS_MAX: u64 = 16_384;
/// A path that nobody uses says something this often: below the timeouts of NATs for UDP (RFC 4787 §4.3).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Datagrams that wait for a path.
const DATAGRAMS_WAITING: usize = 1024;
/// More threads would find nothing to do beside the one thread of the connections.
const WORKERS_MAX: usize = 4;

/// How both ends of a tunnel behave. A session survives without any link for `idle`, and keeps at most
/// `buffer` bytes to send and half as many again received.
pub(crate) fn transport(config: &Transport, idle: Duration, buffer: u64) -> TransportConfig {
    let mut transport = TransportConfig {
        max_idle_timeout: idle,
        keep_alive: Some(KEEP_ALIVE.min(idle / 3)),
        max_streams_bidi: STREAMS_MAX,
        datagram_queue: DATAGRAMS_WAITING,
        max_paths: 16,
        send_buffer_max: buffer,
        stream_window_max: buffer,
        // Streams share it: one that its reader leaves full must not stop all others.
        connection_window_max: buffer + buffer / 2,
        ..TransportConfig::default()
    };
    config.apply(&mut transport);
    transport
}

/// Why a daemon ends, for whoever may say so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<Notify>);

impl Stop {
    /// As if by Ctrl-C.
    pub(crate) fn now(&self) {
        self.0.notify_one();
    }

    /// From now on, a signal that would end this process only asks it to end.
    ///
    /// # Errors
    /// In words for the user.
    pub(crate) fn watch(&self) -> Result<Asked, String> {
        let watched = |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
        Ok(Asked {
            signals: [
                watched(SignalKind::interrupt())?,
                watched(SignalKind::terminate())?,
                watched(SignalKind::hangup())?,
            ],
            stop: self.clone(),
        })
    }
}

/// Hears of SIGTERM, Ctrl-C, a hang-up of the terminal, and [`Stop::now`].
#[derive(Debug)]
pub(crate) struct Asked {
    signals: [Signal; 3],
    stop: Stop,
}

impl Asked {
    /// Waits until somebody asks; what was asked before counts.
    pub(crate) async fn wait(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            () = self.stop.0.notified() => {}
        }
    }
}

/// Threads for flows and packets: a core is left to the connection's thread. A worker that finds work wakes the next one to
/// look for more, so that one too many costs a switch of threads per event and gains nothing.
fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, core::num::NonZero::get);
    cores.saturating_sub(1).clamp(1, WORKERS_MAX)
}

pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build()
}

/// Runs a daemon to its end; an error becomes one line and exit code 1.
pub(crate) fn run(daemon: impl Future<Output = Result<(), String>> + Send + 'static) -> ExitCode {
    let ended = match runtime() {
        Ok(runtime) => {
            // As a task, because the main thread is no worker: each event for it would cost a switch of threads.
            let ended = runtime.block_on(runtime.spawn(daemon));
            let ended = ended.unwrap_or_else(|error| Err(format!("the daemon broke: {error}")));
            // What still waits for the network is not worth waiting for.
            runtime.shutdown_timeout(Duration::from_secs(1));
            ended
        }
        Err(error) => Err(format!("the runtime cannot start: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            Output::Stderr.write(&format!("error: {why}\n"));
            ExitCode::FAILURE
        }
    }
}
