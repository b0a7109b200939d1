//! The declarations of the sections as text: a file of defaults, and the reference page.

use super::section::{Chapter, Key, Section};
use super::{Client, Server};
use core::fmt::Write as _;

/// Characters in a line of the file of defaults.
const WIDTH: usize = 100;

/// A configuration file in which every key stands in a comment, at its default and explained. `set` names keys (in full,
/// such as `limits.clients`) with values in TOML that stand in the file for real.
pub(crate) fn defaults<S: Section>(head: &str, set: &[(&str, String)]) -> String {
    let mut text = String::new();
    comment(&mut text, head);
    for Chapter { name, about, keys } in S::chapters("") {
        text.push('\n');
        comment(&mut text, &about);
        if !name.is_empty() {
            writeln!(text, "[{name}]").ok();
        }
        for key in &keys {
            let full = if name.is_empty() { key.name.to_owned() } else { format!("{name}.{}", key.name) };
            let given = set.iter().find(|(key, _)| *key == full).map(|(_, value)| value);
            text.push('\n');
            comment(&mut text, &explained(key));
            match given {
                Some(value) => writeln!(text, "{} = {value}", key.name).ok(),
                None => writeln!(text, "#{} = {}", key.name, key.shown()).ok(),
            };
        }
    }
    text
}

/// The page `docs/configuration.md`.
pub(crate) fn reference() -> String {
    let mut text = REFERENCE_HEAD.to_owned();
    for (title, chapters) in [("server.toml", Server::chapters("")), ("client.toml", Client::chapters(""))] {
        write!(text, "\n## {title}\n").ok();
        for Chapter { name, about, keys } in &chapters {
            if !name.is_empty() {
                write!(text, "\n### [{name}]\n").ok();
            }
            write!(text, "\n{about}\n\n| key | default | accepts | meaning |\n|---|---|---|---|\n").ok();
            for key in keys {
                let default = key.default.as_ref().map_or("unset".to_owned(), |value| format!("`{value}`"));
                writeln!(text, "| `{}` | {default} | {} | {} |", key.name, key.accepts, key.about).ok();
            }
        }
    }
    text
}

const REFERENCE_HEAD: &str = "\
# Configuration

<!-- Written by `quicbond config defaults --markdown`; a test compares. Change the doc comments of the keys instead. -->

Both files are TOML. Every key has a default, so an empty file is a good file (a client needs a token, though).
`quicbond config defaults server` and `quicbond config defaults client` print a file with every key in it, explained;
`quicbond config check FILE` names each wrong line and what would be right. Sizes are written like `\"256KiB\"` or
`\"1MB\"`, times like `\"300ms\"`, `\"10s\"` or `\"5m\"`. A list of one needs no brackets.

What is in a token, and who can do what with it, is in [security.md](security.md).
";

fn explained(key: &Key) -> String {
    let accepts = &key.accepts;
    format!("{} Accepts {accepts}.", key.about)
}

/// Appends `prose` as comment lines of at most [`WIDTH`] characters.
fn comment(text: &mut String, prose: &str) {
    let mut width = 0;
    for word in prose.split_whitespace() {
        let word_width = word.chars().count();
        if width > 0 && width + 1 + word_width > WIDTH {
            text.push('\n');
            width = 0;
        }
        text.push_str(if width == 0 { "# " } else { " " });
        width += word_width + if width == 0 { 2 } else { 1 };
        text.push_str(word);
    }
    text.push('\n');
}
