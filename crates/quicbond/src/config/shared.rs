//! The sections that servers and clients have alike.

use super::kind::Choice;
use super::section::section;
use mpquic::TransportConfig;
use mpquic::policy::Entry;
use mpquic::policy::cc::{self, Controller};
use mpquic::policy::sched::{self, Scheduler};

section! {
    /// How packets travel; `quicbond list schedulers` and `quicbond list controllers` explain the names.
    pub(crate) struct Transport {
        keys {
            /// How packets are spread over the links.
            scheduler: &'static str = sched::ALL[0].name, Choice(names(sched::ALL));
            /// Congestion controller of each path.
            controller: &'static str = cc::ALL[0].name, Choice(names(cc::ALL));
        }
        sections {}
    }
}

section! {
    /// What is logged, on stderr. The environment variable QUICBOND_LOG (such as `debug` or
    /// `info,mpquic=trace`) has the last word on the level.
    pub(crate) struct Log {
        keys {
            /// From which severity on.
            level: &'static str = "info", Choice(vec!["off", "error", "warn", "info", "debug", "trace"]);
            /// Lines for people, or one JSON object per line.
            format: &'static str = "text", Choice(vec!["text", "json"]);
        }
        sections {}
    }
}

impl Transport {
    /// Lays these choices over `config`.
    pub(crate) fn apply(&self, config: &mut TransportConfig) {
        config.set_scheduler(self.scheduler());
        config.set_controller(self.controller());
    }

    pub(crate) fn scheduler(&self) -> &'static Entry<dyn Scheduler> {
        Entry::find(sched::ALL, self.scheduler).unwrap_or(sched::ALL[0])
    }

    pub(crate) fn controller(&self) -> &'static Entry<dyn Controller> {
        Entry::find(cc::ALL, self.controller).unwrap_or(cc::ALL[0])
    }
}

fn names<T: ?Sized>(all: &[&Entry<T>]) -> Vec<&'static str> {
    all.iter().map(|entry| entry.name).collect()
}
