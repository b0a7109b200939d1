//! Paths of requests and the files behind them: a server reads no file outside of its folder, a client writes none.

use std::path::{Component, Path, PathBuf};

/// The file that `path` of a request means below `root`; `None` if it means none.
pub(crate) fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path.strip_prefix('/')?);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && relative.components().next().is_some() && !path.contains('\0')).then(|| root.join(relative))
}

#[cfg(test)]
mod tests {
    use super::below;
    use std::path::Path;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let root = Path::new("/www");
        assert_eq!(below(root, "/file"), Some("/www/file".into()));
        assert_eq!(below(root, "/a/file"), Some("/www/a/file".into()));
        for path in ["", "/", "file", "/../file", "/a/../../file", "//etc/passwd", "/a\0b"] {
            assert_eq!(below(root, path), None, "{path:?}");
        }
    }
}
