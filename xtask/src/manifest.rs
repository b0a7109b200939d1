//! The dependency tables of a `Cargo.toml`, read line by line.
//!
//! Knows the ways in which a dependency can be spelt; refuses to know versions and features.

/// Which table a dependency stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Normal,
    Build,
    Dev,
}

/// One dependency under its package's name, even if the manifest renames it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) package: String,
    pub(crate) table: Table,
    pub(crate) line: usize,
}

/// The dependencies that the manifest's own package has; `[workspace.dependencies]` is none of them.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut place = Place::Elsewhere;
    let mut open = 0_usize;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let continues = open > 0;
        open = (open + opened(line)).saturating_sub(closed(line));
        if !continues && line.starts_with('[') {
            place = Place::of(line);
            if let Place::One(table, package) = &place {
                found.push(Dependency { package: package.clone(), table: *table, line: index + 1 });
            }
        } else if let (Some(package), Place::One(..), Some(last)) = (renamed(line), &place, found.last_mut())
        {
            last.package = package;
        } else if let (Place::Whole(table), false, Some((key, value))) =
            (&place, continues, line.split_once('='))
        {
            let key = key.trim().trim_matches(['"', '\'']);
            let name = key.split('.').next().unwrap_or(key);
            let package = renamed(value).unwrap_or_else(|| name.to_owned());
            found.push(Dependency { package, table: *table, line: index + 1 });
        }
    }
    found
}

/// Where in the manifest a line stands.
enum Place {
    Elsewhere,
    /// In a table whose every key is a dependency.
    Whole(Table),
    /// In a table that describes one dependency.
    One(Table, String),
}

impl Place {
    fn of(header: &str) -> Self {
        let path = header.trim_matches(['[', ']']);
        if path.starts_with("workspace") {
            return Self::Elsewhere;
        }
        let tables = [
            ("dev-dependencies", Table::Dev),
            ("build-dependencies", Table::Build),
            ("dependencies", Table::Normal),
        ];
        for (name, table) in tables {
            // `[target.'cfg(unix)'.dependencies]` ends like `[dependencies]`.
            if path == name || path.ends_with(&format!(".{name}")) {
                return Self::Whole(table);
            }
            if let Some((before, package)) = path.rsplit_once('.')
                && (before == name || before.ends_with(&format!(".{name}")))
            {
                return Self::One(table, package.trim_matches(['"', '\'']).to_owned());
            }
        }
        Self::Elsewhere
    }
}

/// The value of `package = "..."`, if the text has one.
fn renamed(text: &str) -> Option<String> {
    let (before, after) = text.split_once("package")?;
    let value = after.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
    let is_key = before.trim_end().is_empty() || before.trim_end().ends_with(['{', ',']);
    is_key.then(|| value.split('"').next().unwrap_or_default().to_owned())
}

fn opened(line: &str) -> usize {
    line.matches(['[', '{']).count()
}

fn closed(line: &str) -> usize {
    line.matches([']', '}']).count()
}

#[cfg(test)]
mod tests;
