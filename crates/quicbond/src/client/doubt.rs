//! Whether the server still knows our session.
//!
//! A server that was killed and started again has nothing to say to the packets of a connection that it never saw, and
//! without this the client would believe in it until the idle timeout. Owns the judgement that it is time to ask, and a
//! second connection that asks. Refuses to end the first one: links that are all down for a while look the same, and
//! it wakes up with them.

use super::session::{Trouble, Winner};
use core::time::Duration;
use mpquic::Connection;
use std::time::Instant;
use tokio::task::JoinSet;

/// How often the packets are counted.
pub(super) const ROUND: Duration = Duration::from_millis(500);
/// We send and hear nothing for so long: many PTOs of any link.
const DOUBT_AFTER: Duration = Duration::from_secs(2);
/// One count may be of a last acknowledgement, which nobody answers; probes are sent again and again.
const UNANSWERED_MIN: u32 = 3;
/// The second connection stands, so that links and server work; the first one has this long to show that it does too.
/// A path that fell silent is probed every 0.3 s or so.
const GRACE: Duration = Duration::from_millis(1500);

#[derive(Debug, Default)]
pub(super) struct Doubt {
    received: u64,
    sent: u64,
    /// The first count that showed packets without an answer.
    since: Option<Instant>,
    /// Counts since then that showed further ones.
    unanswered: u32,
    rival: JoinSet<Result<Winner, Trouble>>,
}

impl Doubt {
    /// Counts; `race` begins a second connection.
    pub(super) fn look<R>(&mut self, connection: &Connection, now: Instant, race: impl FnOnce() -> R)
    where
        R: Future<Output = Result<Winner, Trouble>> + Send + 'static,
    {
        let paths = connection.paths();
        let received = paths.iter().map(|path| path.packets_received).sum();
        let sent = paths.iter().map(|path| path.packets_sent).sum();
        if received != self.received {
            // Dropped, a second connection is closed.
            *self = Self { received, sent, ..Self::default() };
            return;
        }
        if sent != self.sent {
            self.sent = sent;
            self.unanswered += 1;
            self.since.get_or_insert(now);
        }
        let lasting = self.since.is_some_and(|since| now.duration_since(since) >= DOUBT_AFTER);
        if lasting && self.unanswered >= UNANSWERED_MIN && self.rival.is_empty() {
            tracing::info!("the server does not answer: asking anew whether it is there");
            let race = race();
            self.rival.spawn(async move {
                let winner = race.await?;
                tokio::time::sleep(GRACE).await;
                Ok(winner)
            });
        }
    }

    /// A connection to take the place of the one that is in doubt.
    pub(super) async fn settled(&mut self) -> Winner {
        loop {
            match self.rival.join_next().await {
                Some(Ok(Ok(winner))) => return winner,
                // Not reachable; `look` asks again.
                Some(_) => {}
                None => core::future::pending().await,
            }
        }
    }
}
