use super::{Dns, MOST_SERVERS};
use crate::host::journal::Journal;
use crate::host::sandbox::Folder;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn dns(file: &Path) -> Dns {
    Dns { file: file.to_owned(), servers: vec!["10.99.0.1".parse().unwrap(), "fd99::1".parse().unwrap()] }
}

fn run(test: impl AsyncFnOnce(PathBuf, PathBuf)) {
    let folder = Folder::new();
    let (file, journal) = (folder.0.join("resolv.conf"), folder.0.join("state"));
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test(file, journal));
}

#[test]
fn a_plain_file_gets_its_content_back_and_stays_the_same_file() {
    run(async |file, path| {
        fs::write(&file, b"nameserver 9.9.9.9\n\xff").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&file).unwrap();
        let mut journal = Journal::open(&path).await.unwrap();
        dns(&file).apply(&mut journal).await.unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with("nameserver 10.99.0.1\nnameserver fd99::1\n"), "{text}");
        journal.undo_all().await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"nameserver 9.9.9.9\n\xff");
        let after = fs::metadata(&file).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
    });
}

#[test]
fn a_symbolic_link_comes_back_and_what_it_points_to_is_never_written() {
    run(async |file, path| {
        let target = file.with_file_name("stub-resolv.conf");
        fs::write(&target, "nameserver 127.0.0.53\n").unwrap();
        symlink("stub-resolv.conf", &file).unwrap();
        let mut journal = Journal::open(&path).await.unwrap();
        dns(&file).apply(&mut journal).await.unwrap();
        assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
        drop(journal);
        assert_eq!(Journal::recover(&path).await.unwrap(), 1);
        assert_eq!(fs::read_link(&file).unwrap(), Path::new("stub-resolv.conf"));
        assert_eq!(fs::read_to_string(&target).unwrap(), "nameserver 127.0.0.53\n");
    });
}

#[test]
fn a_file_that_was_not_there_is_gone_again() {
    run(async |file, path| {
        let mut journal = Journal::open(&path).await.unwrap();
        dns(&file).apply(&mut journal).await.unwrap();
        assert!(file.exists());
        journal.undo_all().await.unwrap();
        assert!(!file.exists());
    });
}

#[test]
fn what_another_program_wrote_in_the_meantime_stays() {
    run(async |file, path| {
        fs::write(&file, "nameserver 9.9.9.9\n").unwrap();
        let mut journal = Journal::open(&path).await.unwrap();
        dns(&file).apply(&mut journal).await.unwrap();
        fs::write(&file, "nameserver 1.1.1.1\n").unwrap();
        journal.undo_all().await.unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "nameserver 1.1.1.1\n");
    });
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_and_leaves_no_trace() {
    run(async |file, path| {
        let nowhere = file.with_file_name("missing").join("resolv.conf");
        let mut journal = Journal::open(&path).await.unwrap();
        let error = dns(&nowhere).apply(&mut journal).await.unwrap_err();
        assert!(error.to_string().contains("resolv.conf"), "{error}");
        assert_eq!(journal.len(), 0);
        journal.undo_all().await.unwrap();
    });
}

#[test]
fn no_servers_are_refused_and_more_than_a_resolver_reads_are_left_out() {
    run(async |file, path| {
        let mut journal = Journal::open(&path).await.unwrap();
        assert!(Dns { file: file.clone(), servers: Vec::new() }.apply(&mut journal).await.is_err());
        let many = Dns { file, servers: vec!["192.0.2.1".parse().unwrap(); 9] };
        assert_eq!(many.text().matches("nameserver").count(), MOST_SERVERS);
        journal.undo_all().await.unwrap();
    });
}
