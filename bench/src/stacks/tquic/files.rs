//! Certificates and keys as files, because tquic reads them from nowhere else. They go with their handle.

use crate::Failure;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// A folder that only we may read.
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn new() -> Result<Self, Failure> {
        // A killed process of the same number may have left one.
        let names = (0..100).map(|n| format!("mpquic-bench-{}-{n}", std::process::id()));
        for folder in names.map(|name| std::env::temp_dir().join(name)) {
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self { folder }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("{} could not be made: {error}", folder.display()).into()),
            }
        }
        Err(format!("{} is full of folders left by this benchmark", std::env::temp_dir().display()).into())
    }

    /// Writes it as PEM and says where.
    pub(super) fn write(&self, name: &str, kind: &str, der: &[u8]) -> Result<String, Failure> {
        let path = self.folder.join(name);
        fs::write(&path, pem::encode(&pem::Pem::new(kind, der)))
            .map_err(|error| format!("{} could not be written: {error}", path.display()))?;
        Ok(path
            .into_os_string()
            .into_string()
            .map_err(|_| "the temporary folder has a name that is not UTF-8")?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        fs::remove_dir_all(&self.folder).ok();
    }
}

#[cfg(test)]
#[test]
fn certificates_are_written_as_pem_and_go_with_their_handle() {
    let files = Files::new().unwrap();
    let path = files.write("a.pem", "CERTIFICATE", &[1, 2, 3]).unwrap();
    let read = pem::parse(fs::read(&path).unwrap()).unwrap();
    assert_eq!((read.tag(), read.contents()), ("CERTIFICATE", &[1, 2, 3][..]));
    drop(files);
    assert!(!fs::exists(path).unwrap());
}
