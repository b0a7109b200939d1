//! Docs: links lead somewhere, the map shows every crate, decisions can be counted and read alike.

use super::{Finding, crate_folder};
use crate::repo::{File, Repo};

const RULE: &str = "docs";
const MAP: &str = "ARCHITECTURE.md";
const DECISIONS: &str = "docs/decisions";
const HEADINGS: &[&str] = &["Context", "Decision", "Consequences"];

/// Relative links in Markdown point to what exists. Whether an address on the net answers is not asked.
pub(super) fn links(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repo.files().iter().filter(|file| file.path.ends_with(".md")) {
        for (line, text) in lines_outside_fences(&file.text) {
            let broken = |target: &&str| !resolve(&file.path, target).is_some_and(|path| repo.has(&path));
            for target in link_targets(&text).into_iter().filter(is_relative).filter(broken) {
                let advice = format!("`{target}` leads nowhere: mend the link, or add the file");
                findings.push(Finding::new(&file.path, line, RULE, advice));
            }
        }
    }
    findings
}

/// The map names the folder of every crate. A repository without a map has nothing to compare.
pub(super) fn crates_on_the_map(repo: &Repo) -> Vec<Finding> {
    let Some(map) = repo.file(MAP) else { return Vec::new() };
    let manifests = repo.files().iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    let mut folders: Vec<&str> = manifests.filter_map(|file| crate_folder(&file.path)).collect();
    folders.dedup();
    let missing = folders.into_iter().filter(|folder| !names_crate(&map.text, folder));
    missing
        .map(|name| Finding::new(MAP, 1, RULE, format!("say in a sentence what the crate `{name}` is for")))
        .collect()
}

/// Decisions are called `NNNN-title.md` and count from 0001 without gaps.
pub(super) fn decision_numbers(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut next = 1;
    for file in decisions(repo) {
        let number = decision_number(&file.path);
        if number != Some(next) {
            let advice = format!("number it {next:04}: decisions are `NNNN-title.md`, counted without gaps");
            findings.push(Finding::new(&file.path, 1, RULE, advice));
        }
        next = number.unwrap_or(next) + 1;
    }
    findings
}

/// Each decision says what it met, what it chose and what follows.
pub(super) fn decision_headings(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in decisions(repo) {
        let headings: Vec<String> = lines_outside_fences(&file.text)
            .filter_map(|(_, line)| Some(line.strip_prefix('#')?.trim_start_matches('#').trim().to_owned()))
            .collect();
        for heading in HEADINGS.iter().filter(|wanted| !headings.iter().any(|heading| heading == *wanted)) {
            findings.push(Finding::new(&file.path, 1, RULE, format!("add the heading `## {heading}`")));
        }
    }
    findings
}

fn decisions(repo: &Repo) -> impl Iterator<Item = &File> {
    let inside =
        |path: &str| path.strip_prefix(DECISIONS)?.strip_prefix('/').map(|name| name.ends_with(".md"));
    repo.files().iter().filter(move |file| inside(&file.path) == Some(true))
}

fn decision_number(path: &str) -> Option<u32> {
    let (number, title) = path.rsplit('/').next()?.split_once('-')?;
    (number.len() == 4 && title.len() > ".md".len()).then(|| number.parse().ok())?
}

/// As a path, as a name in backticks, or in a drawing within a fence.
fn names_crate(map: &str, folder: &str) -> bool {
    let spelt = [format!("crates/{folder}"), format!("`{folder}`"), format!("`mpquic-{folder}`")];
    let in_drawing = || {
        let outside: Vec<usize> = lines_outside_fences(map).map(|(line, _)| line).collect();
        let drawings = map.lines().enumerate().filter(|(index, _)| !outside.contains(&(index + 1)));
        drawings.flat_map(|(_, line)| line.split(|c: char| !c.is_alphanumeric())).any(|word| word == folder)
    };
    spelt.iter().any(|name| map.contains(name)) || in_drawing()
}

/// The lines that are prose, numbered, with `inline code` taken out.
fn lines_outside_fences(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fence = "";
    text.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start();
        let mark = if start.starts_with("```") {
            "```"
        } else if start.starts_with("~~~") {
            "~~~"
        } else {
            ""
        };
        if !mark.is_empty() && (fence.is_empty() || fence == mark) {
            fence = if fence.is_empty() { mark } else { "" };
            return None;
        }
        fence.is_empty().then(|| (index + 1, without_inline_code(line)))
    })
}

fn without_inline_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// What `[text](target)`, `![image](target)` and `[name]: target` point to.
fn link_targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition =
        line.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map(|(_, target)| target.trim());
    let definition = definition.and_then(|target| target.split(' ').next());
    inline.chain(definition).map(|target| target.trim_matches(['<', '>'])).collect()
}

fn is_relative(target: &&str) -> bool {
    !target.contains("://") && !target.starts_with("mailto:") && !target.starts_with('#')
}

/// The path that a link in the file `from` means; `None` if it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests;
