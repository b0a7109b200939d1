//! The secrets of a handshake, which rustls shows to its key log alone: [`Tap`] is such a log, that hands them to the
//! session at work on this very thread. What it hears goes on to the log that the user asked for, if there is one, and to
//! nobody else.
//!
//! Owns the way from there to the session, and refuses to know what the secrets are good for.

use crate::after::Exporter;
use rustls::KeyLog;
use rustls::crypto::tls13::OkmBlock;
use rustls::quic::KeyChange;
use std::cell::Cell;
use std::sync::Arc;

/// As key logs call it.
const EXPORTER: &str = "EXPORTER_SECRET";

thread_local! {
    static HEARD: Cell<Heard> = const { Cell::new(Heard::NOTHING) };
}

/// Both directions' secrets of one level: the client's, then the server's.
pub(crate) type Secrets = [Option<OkmBlock>; 2];

/// What a session has heard and not used yet.
pub(crate) struct Heard {
    pub(crate) exporter: Option<Exporter>,
    handshake: Secrets,
    one_rtt: Secrets,
}

impl Default for Heard {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Heard {
    const NOTHING: Self = Self { exporter: None, handshake: [None, None], one_rtt: [None, None] };

    /// Takes over what came by on this thread since anybody listened last.
    pub(crate) fn listen(&mut self) {
        let news = HEARD.take();
        let take = |mine: &mut Secrets, [client, server]: Secrets| {
            *mine = [client.or(mine[0].take()), server.or(mine[1].take())];
        };
        take(&mut self.handshake, news.handshake);
        take(&mut self.one_rtt, news.one_rtt);
        self.exporter = news.exporter.or(self.exporter.take());
    }

    /// What was heard for the level of `change`; it is not kept.
    pub(crate) fn take(&mut self, change: &KeyChange) -> Secrets {
        core::mem::take(match change {
            KeyChange::Handshake { .. } => &mut self.handshake,
            KeyChange::OneRtt { .. } => &mut self.one_rtt,
        })
    }

    fn place(&mut self, label: &str) -> Option<&mut Option<OkmBlock>> {
        match label {
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Some(&mut self.handshake[0]),
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => Some(&mut self.handshake[1]),
            "CLIENT_TRAFFIC_SECRET_0" => Some(&mut self.one_rtt[0]),
            "SERVER_TRAFFIC_SECRET_0" => Some(&mut self.one_rtt[1]),
            _ => None,
        }
    }
}

/// The user's log hears everything.
#[derive(Debug)]
pub(crate) struct Tap {
    log: Option<Arc<dyn KeyLog>>,
}

impl Tap {
    pub(crate) const fn new(log: Option<Arc<dyn KeyLog>>) -> Self {
        Self { log }
    }
}

impl KeyLog for Tap {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if let Some(log) = &self.log {
            log.log(label, client_random, secret);
        }
        let mut heard = HEARD.take();
        if label == EXPORTER {
            heard.exporter = Exporter::new(secret);
        } else if let Some(place) = heard.place(label) {
            *place = Some(OkmBlock::new(secret));
        }
        HEARD.set(heard);
    }

    fn will_log(&self, label: &str) -> bool {
        let ours = label == EXPORTER || Heard::default().place(label).is_some();
        ours || self.log.as_ref().is_some_and(|log| log.will_log(label))
    }
}
