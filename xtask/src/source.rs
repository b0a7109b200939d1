//! Rust text, taken apart just far enough to count and to look for words.
//!
//! Each byte is code, comment or literal. A view keeps some of the three and turns the rest into spaces, so an
//! offset (and so a line) means the same in every view. Knows strings, raw strings, characters, lifetimes and
//! nested comments; refuses to know grammar beyond matching braces.

mod lexer;

use core::ops::Range;

use lexer::Kind;

/// One file's text in the views that the rules ask for.
#[derive(Debug)]
pub(crate) struct Source {
    /// Code alone.
    pub(crate) code: String,
    /// Code and comments, without literals.
    pub(crate) prose: String,
    /// Byte ranges of items that exist only in tests.
    tests: Vec<Range<usize>>,
}

/// A function with a body, as byte offsets into the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let kinds = lexer::classify(text.as_bytes());
        let code = view(text, &kinds, |kind| kind == Kind::Code);
        let prose = view(text, &kinds, |kind| kind != Kind::Literal);
        let tests = test_items(&code);
        Self { code, prose, tests }
    }

    pub(crate) fn lines(&self) -> usize {
        self.code.lines().count()
    }

    /// The line of an offset, counted from one.
    pub(crate) fn line(&self, offset: usize) -> usize {
        1 + self.code.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Whether the offset lies in a `#[test]` function or a `#[cfg(test)]` item.
    pub(crate) fn in_tests(&self, offset: usize) -> bool {
        self.tests.iter().any(|span| span.contains(&offset))
    }

    /// Every function that has a body, nested ones as well.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut words = words(&self.code).peekable();
        let mut functions = Vec::new();
        while let Some((start, word)) = words.next() {
            // `fn(u8)` is a type: no name follows.
            let Some(&(at, name)) = words.peek().filter(|_| word == "fn") else { continue };
            if self.code[start + 2..at].trim().is_empty()
                && let Some(end) = item_end(&self.code, at)
                && self.code.as_bytes()[end - 1] == b'}'
            {
                functions.push(Function { name: name.to_owned(), span: start..end });
            }
        }
        functions
    }
}

/// The identifiers and keywords of a view with their offsets.
pub(crate) fn words(view: &str) -> impl Iterator<Item = (usize, &str)> {
    view.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter_map(move |word| {
        let start = word.as_ptr() as usize - view.as_ptr() as usize;
        (!word.is_empty()).then_some((start, word))
    })
}

/// Where the item that begins at `start` ends: behind its closing brace, or behind its semicolon.
fn item_end(code: &str, start: usize) -> Option<usize> {
    let (mut round, mut curly) = (0_usize, 0_usize);
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round = round.saturating_sub(1),
            b'{' => curly += 1,
            // A closing brace with none open belongs to what surrounds the item.
            b'}' => match curly {
                0 => return None,
                // A brace within brackets is an expression in a type or an argument, not the body.
                1 if round == 0 => return Some(offset + 1),
                _ => curly -= 1,
            },
            b';' if round == 0 && curly == 0 => return Some(offset + 1),
            _ => {}
        }
    }
    None
}

/// The spans of items behind `#[test]`, `#[cfg(test)]` and the like.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (start, _) in code.match_indices("#[") {
        let Some(length) = code[start..].find(']') else { break };
        let attribute = &code[start + 2..start + length];
        let names_test = words(attribute).any(|(_, word)| word == "test");
        if names_test && !attribute.contains("not(") && !attribute.contains("cfg_attr") {
            let end = item_end(code, after_attributes(code, start)).unwrap_or(code.len());
            spans.push(start..end);
        }
    }
    spans
}

/// Steps over the attribute at `start` and all that follow it.
fn after_attributes(code: &str, start: usize) -> usize {
    let mut at = start;
    while code[at..].trim_start().starts_with("#[") {
        let Some(length) = code[at..].find(']') else { return code.len() };
        at += length + 1;
    }
    at
}

fn view(text: &str, kinds: &[Kind], keep: impl Fn(Kind) -> bool) -> String {
    let kept = |(byte, kind): (u8, &Kind)| if keep(*kind) || byte == b'\n' { byte } else { b' ' };
    let bytes = text.bytes().zip(kinds).map(kept).collect();
    // Kinds change at ASCII bytes only, so a view of valid text is valid text.
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests;
