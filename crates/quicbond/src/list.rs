//! `quicbond list`: what the options accept, straight from the lists that the program itself uses.

use crate::cli::What;
use crate::output::Output;
use crate::text;
use mpquic::policy::{Entry, cc, sched};
use mpquic_sim::profile::Profile;
use std::process::ExitCode;

/// What `demo` uses when nobody says otherwise.
pub(crate) const DEFAULT_PROFILE: &str = "three_wan";

pub(crate) fn run(what: What) -> ExitCode {
    let text = match what {
        What::Schedulers => entries(sched::ALL),
        What::Controllers => entries(cc::ALL),
        What::Profiles => profiles(),
    };
    Output::Stdout.write(&text);
    ExitCode::SUCCESS
}

/// The first of a list is its default.
fn entries<T: ?Sized>(all: &[&Entry<T>]) -> String {
    let row = |(i, entry): (usize, &&Entry<T>)| {
        vec![entry.name.to_owned(), format!("{}{}", entry.about, if i == 0 { " (default)" } else { "" })]
    };
    text::columns(&all.iter().enumerate().map(row).collect::<Vec<_>>(), &[], "")
}

fn profiles() -> String {
    let row = |profile: Profile| {
        let links: Vec<String> =
            profile.links.iter().map(|l| format!("{}={}", l.name, text::link(&l.spec))).collect();
        let default = if profile.name == DEFAULT_PROFILE { " (default)" } else { "" };
        vec![profile.name.to_owned(), links.join(","), format!("{}{default}", profile.about)]
    };
    text::columns(&Profile::all().into_iter().map(row).collect::<Vec<_>>(), &[], "")
}
