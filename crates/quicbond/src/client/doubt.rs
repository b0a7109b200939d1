//! Whether the server still knows our session.
//!
//! A server that was killed and started again answers the packets of a connection that it never saw with stateless resets.
//! Where none arrives (they are rationed, and a new key makes others), the client would believe in the session until the
//! idle timeout. Owns the judgement that it is time to ask, and a
//! second connection if nobody answers. Refuses to end the first one by itself: links that are all down for a while
//! look the same, and it wakes up with them.

use super::session::{Session, Trouble, Winner, hello};
use core::time::Duration;
use mpquic::Connection;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How often the packets are counted.
pub(super) const ROUND: Duration = Duration::from_millis(500);
/// The server answers a question at once; this is many PTOs of any link.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// The second connection stands, so that links and server work; the first one has this long to show that it does too.
/// A path that fell silent is probed every 0.3 s or so.
const GRACE: Duration = Duration::from_millis(1500);
/// Rounds after an answer in which our own last acknowledgements are no reason to ask again.
const CALM_ROUNDS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Doubt {
    received: u64,
    sent: u64,
    calm: u32,
    /// Neither an answer nor a second connection the last time.
    lasting: bool,
    question: JoinSet<Verdict>,
}

#[derive(Debug)]
enum Verdict {
    Known,
    Unreachable,
    /// This connection stands, and the one in doubt is still silent.
    Forgotten(Winner),
}

impl Doubt {
    /// Counts, and asks if something was sent and nothing came back; `race` is a second connection.
    pub(super) async fn look<R>(
        &mut self,
        connection: &Connection,
        session: &Session,
        race: impl FnOnce() -> R,
    ) where
        R: Future<Output = Result<Winner, Trouble>> + Send + 'static,
    {
        // A connection that is over is noticed elsewhere.
        let Ok(paths) = connection.fresh_paths().await else { return };
        let received = paths.iter().map(|path| path.packets_received).sum();
        let sent = paths.iter().map(|path| path.packets_sent).sum();
        let suspicious = sent != self.sent || self.lasting;
        if received != self.received || self.calm > 0 {
            // A question is dropped, and with it a second connection, which is closed.
            *self = Self { received, sent, calm: self.calm.saturating_sub(1), ..Self::default() };
        } else if suspicious && self.question.is_empty() {
            (self.sent, self.lasting) = (sent, false);
            let (session, race) = (session.clone(), race());
            self.question.spawn(async move {
                // An error is an answer too: the connection is over.
                if timeout(ANSWER_WAIT, hello(&session.http, &session.proof)).await.is_ok() {
                    return Verdict::Known;
                }
                tracing::info!("the server does not answer: asking on a new connection");
                let Ok(winner) = race.await else { return Verdict::Unreachable };
                sleep(GRACE).await;
                Verdict::Forgotten(winner)
            });
        }
    }

    /// A connection to take the place of the one that is in doubt. A call that is dropped loses nothing.
    pub(super) async fn settled(&mut self) -> Winner {
        loop {
            match self.question.join_next().await {
                Some(Ok(Verdict::Forgotten(winner))) => return winner,
                Some(Ok(Verdict::Known)) => self.calm = CALM_ROUNDS,
                Some(Ok(Verdict::Unreachable)) => self.lasting = true,
                Some(Err(_)) => {}
                None => core::future::pending().await,
            }
        }
    }
}
