//! Code, comment or literal: one answer per byte.

/// What a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Comment,
    /// A string or character, its quotes included; the `r`, `b` or `c` before it counts as code.
    Literal,
}

/// One kind for each byte of `text`.
pub(super) fn classify(text: &[u8]) -> Vec<Kind> {
    let mut kinds = Vec::with_capacity(text.len());
    while kinds.len() < text.len() {
        let at = kinds.len();
        let (kind, length) = token(text, at);
        // An unfinished literal or comment runs to the end of the file.
        kinds.resize((at + length).min(text.len()), kind);
    }
    kinds
}

/// The kind and length of what begins at `at`; code goes byte by byte.
fn token(text: &[u8], at: usize) -> (Kind, usize) {
    let rest = &text[at..];
    match rest {
        [b'/', b'/', ..] => (Kind::Comment, line_length(rest)),
        [b'/', b'*', ..] => (Kind::Comment, block_comment_length(rest)),
        [b'"', ..] => (Kind::Literal, string_length(text, at)),
        [b'#', ..] if opens_raw_string(text, at) => (Kind::Literal, raw_string_length(rest)),
        [b'\'', ..] => char_length(rest).map_or((Kind::Code, 1), |length| (Kind::Literal, length)),
        _ => (Kind::Code, 1),
    }
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    rest.len()
}

/// The string that opens at the quote `at`; without an escape character if it is raw.
fn string_length(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    if is_raw_prefix(&text[..at]) { raw_string_length(rest) } else { escaped_length(rest, b'"') }
}

fn escaped_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn opens_raw_string(text: &[u8], at: usize) -> bool {
    let hashes = text[at..].iter().take_while(|&&byte| byte == b'#').count();
    text.get(at + hashes) == Some(&b'"') && is_raw_prefix(&text[..at])
}

/// Whether the text before a quote or a hash ends in `r`, `br` or `cr` as a word of its own.
fn is_raw_prefix(before: &[u8]) -> bool {
    let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let length = before.iter().rev().take_while(is_word).count();
    matches!(&before[before.len() - length..], b"r" | b"br" | b"cr")
}

/// From the first hash or the quote to the last hash.
fn raw_string_length(rest: &[u8]) -> usize {
    let hashes = rest.iter().take_while(|&&byte| byte == b'#').count();
    let closes = |at: &usize| {
        rest[*at] == b'"' && rest.len() > at + hashes && rest[at + 1..=at + hashes].iter().all(|&b| b == b'#')
    };
    (hashes + 1..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

/// The character that opens here, or `None` if the quote begins a lifetime or a label.
fn char_length(rest: &[u8]) -> Option<usize> {
    let first = *rest.get(1)?;
    if first == b'\\' {
        return Some(escaped_length(rest, b'\''));
    }
    let width = match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}
