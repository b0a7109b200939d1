use super::{Author, Journal, boot, network, started};
use crate::host::change::Change;
use crate::host::error::Kind;
use crate::host::sandbox::{Folder, Namespace, shell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{self, Command};

fn run(test: impl AsyncFnOnce(PathBuf)) {
    let folder = Folder::new();
    let path = folder.0.join("run/quicbond/journal");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test(path));
}

/// A change that is made anywhere without root.
fn harmless() -> Change {
    Change::SwitchAlong { key: "net/ipv4/conf/no-such-interface/forwarding".into(), before: "0".into() }
}

fn lines(path: &PathBuf) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn the_file_and_its_folder_are_for_their_owner_alone() {
    run(async |path| {
        let journal = Journal::open(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        journal.undo_all().await.unwrap();
        assert!(!path.exists());
    });
}

#[test]
fn a_change_that_fails_leaves_no_line() {
    run(async |path| {
        let mut journal = Journal::open(&path).await.unwrap();
        journal.make(harmless()).await.unwrap();
        assert_eq!(lines(&path), 2);
        let impossible =
            Change::Switch { key: "net/no/such/switch".into(), before: "0".into(), after: "1".into() };
        journal.make(impossible).await.unwrap_err();
        assert_eq!((lines(&path), journal.len()), (2, 1));
        journal.make(harmless()).await.unwrap();
        assert_eq!(lines(&path), 3);
        journal.roll_back(1).await;
        assert_eq!((lines(&path), journal.len()), (2, 1));
        journal.undo_all().await.unwrap();
    });
}

#[test]
fn a_running_quicbond_is_not_robbed_of_its_journal() {
    run(async |path| {
        let journal = Journal::open(&path).await.unwrap();
        let error = Journal::open(&path).await.unwrap_err();
        assert_eq!(error.kind, Kind::Running);
        assert!(error.to_string().contains(&process::id().to_string()), "{error}");
        assert!(path.exists());
        drop(journal);
        assert_eq!(Journal::recover(&path).await.unwrap(), 0);
    });
}

#[test]
fn what_a_child_inherited_keeps_nobody_out() {
    run(async |path| {
        let journal = Journal::open(&path).await.unwrap();
        let inherited = journal.file.try_clone().unwrap();
        drop(journal);
        assert_eq!(Journal::recover(&path).await.unwrap(), 0);
        drop(inherited);
    });
}

#[test]
fn a_process_that_lives_under_the_same_number_counts_only_if_it_is_a_quicbond() {
    // A process of this name, without the lock, as on a file system that has none.
    let folder = Folder::new();
    let program = folder.0.join("quicbond-sleeps");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut child = Command::new(&program).arg("60").spawn().unwrap();
    let named = || {
        fs::read_to_string(format!("/proc/{}/comm", child.id()))
            .is_ok_and(|name| name.starts_with("quicbond"))
    };
    while !named() {
        std::thread::yield_now();
    }
    let author = Author {
        quicbond: 1,
        pid: child.id(),
        started: started(child.id()).unwrap(),
        boot: boot(),
        network: network(),
    };
    let alive = author.is_alive();
    let younger = Author { started: author.started + 1, ..author.clone() }.is_alive();
    let other_boot = Author { boot: "another".into(), ..author.clone() }.is_alive();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((alive, younger, other_boot, author.is_alive()), (true, false, false, false));
}

#[test]
fn a_file_cut_anywhere_by_a_kill_can_be_recovered() {
    run(async |path| {
        let mut journal = Journal::open(&path).await.unwrap();
        journal.make(harmless()).await.unwrap();
        journal.make(harmless()).await.unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let found =
                Journal::recover(&path).await.unwrap_or_else(|error| panic!("cut at {length}: {error}"));
            assert!(found <= 2);
            assert!(!path.exists(), "cut at {length}");
        }
    });
}

#[test]
fn a_file_that_is_not_ours_is_not_removed() {
    run(async |path| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "dear diary\n").unwrap();
        let error = Journal::open(&path).await.unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary\n");
    });
}

#[test]
fn changes_of_another_boot_are_not_undone_in_this_one() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    let path = folder.0.join("journal");
    namespace.run(move |runtime| {
        runtime.block_on(async {
            let mut journal = Journal::open(&path).await.unwrap();
            let key = "net/ipv4/conf/lo/forwarding".to_owned();
            journal.make(Change::Switch { key, before: "0".into(), after: "1".into() }).await.unwrap();
            drop(journal);
            let text =
                fs::read_to_string(&path).unwrap().replace(&boot(), "00000000-0000-0000-0000-000000000000");
            fs::write(&path, text).unwrap();
            assert_eq!(Journal::recover(&path).await.unwrap(), 1);
            assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/conf/lo/forwarding").unwrap(), "1\n");
            assert!(!path.exists());
        });
    });
}

#[test]
fn nothing_is_changed_when_the_disk_is_full() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = Folder::new();
    let disk = folder.0.join("disk");
    namespace.run(move |runtime| {
        fs::create_dir(&disk).unwrap();
        let shown = disk.display();
        // Two pages: one for the journal's first lines, one for what fills the disk.
        shell(&format!("mount -t tmpfs -o size=8k tmpfs {shown}"));
        let path = disk.join("journal");
        runtime.block_on(async {
            let mut journal = Journal::open(&path).await.unwrap();
            shell(&format!("head -c 8192 /dev/zero > {shown}/filling 2>/dev/null || true"));
            let mut error = None;
            // The journal's own page takes some more lines.
            for _ in 0..200 {
                let change = Change::Switch {
                    key: "net/ipv4/conf/lo/forwarding".into(),
                    before: "0".into(),
                    after: "1".into(),
                };
                shell("echo 0 > /proc/sys/net/ipv4/conf/lo/forwarding");
                if let Err(refused) = journal.make(change).await {
                    error = Some(refused);
                    break;
                }
            }
            let error = error.expect("the disk never was full");
            assert!(error.to_string().contains("nothing was changed"), "{error}");
            assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/conf/lo/forwarding").unwrap(), "0\n");
            assert!(fs::read_to_string(&path).unwrap().ends_with('\n'));
            journal.undo_all().await.unwrap();
            assert!(!path.exists());
        });
    });
}
