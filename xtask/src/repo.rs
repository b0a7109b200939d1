//! The repository as text: every Rust, Markdown and manifest file below one folder, and the names of all others.
//!
//! Build output, git's own folder and fuzz corpora are not part of the house and are not entered.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use crate::source::Source;

/// Folders (relative to the root) and folder names that are not entered.
const SKIPPED_PATHS: &[&str] = &["fuzz/corpus", "fuzz/artifacts"];
const SKIPPED_NAMES: &[&str] = &["target", ".git"];

/// What the rules look at.
#[derive(Debug, Default)]
pub(crate) struct Repo {
    files: Vec<File>,
    paths: BTreeSet<String>,
}

/// One file, its path relative to the root and with `/` between the parts.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Present for `.rs` files.
    pub(crate) source: Option<Source>,
}

impl Repo {
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let mut repo = Self::default();
        repo.enter(root, "")?;
        repo.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(repo)
    }

    /// A repository made of samples, for the tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(samples: &[(&str, &str)]) -> Self {
        let mut repo = Self::default();
        for &(path, text) in samples {
            let folders = path.match_indices('/').map(|(at, _)| path[..at].to_owned());
            repo.paths.extend(folders);
            repo.add(path.to_owned(), text.to_owned());
        }
        repo
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Every `.rs` file with its views.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.files.iter().filter_map(|file| Some((file.path.as_str(), file.source.as_ref()?)))
    }

    /// Whether a file or folder of that path exists, read or not.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// The names of what lies directly in `folder`, without the folder's path.
    pub(crate) fn children<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        let inside = move |path: &'a String| path.strip_prefix(folder)?.strip_prefix('/');
        self.paths.iter().filter_map(inside).filter(|name| !name.contains('/'))
    }

    fn enter(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if SKIPPED_NAMES.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() && !SKIPPED_PATHS.contains(&path.as_str()) {
                self.enter(&entry.path(), &path)?;
            } else if kind.is_file() && is_text(&path) {
                let bytes = fs::read(entry.path())?;
                self.add(path, String::from_utf8_lossy(&bytes).into_owned());
                continue;
            }
            self.paths.insert(path);
        }
        Ok(())
    }

    fn add(&mut self, path: String, text: String) {
        let source = path.ends_with(".rs").then(|| Source::new(&text));
        self.paths.insert(path.clone());
        self.files.push(File { path, text, source });
    }
}

fn is_text(path: &str) -> bool {
    path.ends_with(".rs") || path.ends_with(".md") || path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}
