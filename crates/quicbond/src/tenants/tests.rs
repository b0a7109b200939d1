use super::{Tenants, add, found, remove, stamp};
use crate::scratch::Scratch;
use crate::token::{ServerAddress, TenantName};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

fn name(text: &str) -> TenantName {
    text.parse().unwrap()
}

fn address() -> ServerAddress {
    "vpn.example.org:443".parse().unwrap()
}

/// A file with one tenant.
fn file(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("tenants.toml");
    found(&path, &name("first"), &address(), "today".to_owned(), false).unwrap();
    path
}

fn names(path: &Path) -> Vec<String> {
    Tenants::load(path).unwrap().iter().map(|tenant| tenant.name.to_string()).collect()
}

#[test]
fn tenants_come_and_go_and_each_has_a_number_and_a_secret_of_its_own() {
    let scratch = Scratch::new();
    let path = file(&scratch);
    let second = add(&path, &name("second"), None, "today".to_owned()).unwrap();
    let third = add(&path, &name("third"), Some(&"h:1".parse().unwrap()), "today".to_owned()).unwrap();
    assert_eq!((second.id, third.id), (2, 3));
    assert_ne!(second.secret, third.secret);
    remove(&path, &name("second")).unwrap();
    assert_eq!(names(&path), ["first", "third"]);
    let tenants = Tenants::load(&path).unwrap();
    assert_eq!(tenants.get(&name("third")), Some(&third));
    assert_eq!(tenants.address().unwrap().to_string(), "h:1", "the last address is remembered");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(scratch.names(), ["tenants.toml"]);
}

#[test]
fn a_tenant_is_not_added_twice_nor_removed_when_it_is_not_there() {
    let scratch = Scratch::new();
    let path = file(&scratch);
    let before = fs::read_to_string(&path).unwrap();
    assert!(add(&path, &name("first"), None, String::new()).unwrap_err().contains("a tenant first already"));
    assert!(remove(&path, &name("other")).unwrap_err().contains("there are: first"));
    assert!(found(&path, &name("x"), &address(), String::new(), false).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    found(&path, &name("x"), &address(), String::new(), true).unwrap();
    assert_eq!(names(&path), ["x"]);
}

#[test]
fn many_changes_at_once_lose_none() {
    let scratch = Scratch::new();
    let path = file(&scratch);
    thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || add(path, &name(&format!("t{n}")), None, String::new()).unwrap());
        }
    });
    let tenants = Tenants::load(&path).unwrap();
    let mut ids: Vec<u32> = tenants.iter().map(|tenant| tenant.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=9).collect::<Vec<u32>>());
}

#[test]
fn a_change_is_noticed_once_and_a_wrong_file_leaves_the_tenants_as_they_were() {
    let scratch = Scratch::new();
    let path = file(&scratch);
    let mut tenants = Tenants::load(&path).unwrap();
    assert_eq!(tenants.reload_if_changed(), Ok(false));
    add(&path, &name("second"), None, String::new()).unwrap();
    assert_eq!(tenants.reload_if_changed(), Ok(true));
    assert!(tenants.get(&name("second")).is_some());
    assert_eq!(tenants.reload_if_changed(), Ok(false));
    fs::write(&path, "nonsense").unwrap();
    assert!(tenants.reload_if_changed().is_err());
    assert_eq!(tenants.reload_if_changed(), Ok(false), "the same error does not come twice");
    assert!(tenants.get(&name("second")).is_some());
    fs::remove_file(&path).unwrap();
    assert!(tenants.reload_if_changed().is_err());
    assert_eq!(stamp(&path), None);
}

#[test]
fn limits_by_hand_are_read_and_survive_a_change() {
    let scratch = Scratch::new();
    let path = file(&scratch);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}clients = 4\nflows = 1000\n")).unwrap();
    add(&path, &name("second"), None, "a \"quoted\" day".to_owned()).unwrap();
    let tenants = Tenants::load(&path).unwrap();
    let limits = tenants.get(&name("first")).unwrap().limits;
    assert_eq!((limits.clients, limits.flows), (Some(4), Some(1000)));
    assert_eq!(tenants.get(&name("second")).unwrap().created, "a \"quoted\" day");
}

#[test]
fn wrong_lines_are_told_by_number_and_without_secrets() {
    let scratch = Scratch::new();
    let path = scratch.path("t.toml");
    let secret = "A".repeat(43) + "=";
    let one = format!("[[tenant]]\nname = \"a\"\nid = 1\nsecret = \"{secret}\"\n");
    for (text, parts) in [
        (one.replace("\"a\"", "\"a b\""), &[":2: name: a name has"][..]),
        (one.replace("AAA=", "AA="), &[":4: secret: 32 bytes in base64"]),
        (one.replace("id = 1", "id = -1"), &[":3: "]),
        (one.replace("id = 1\n", ""), &[":1: missing field `id`"]),
        (format!("{one}color = 3\n"), &[":5: unknown field `color`"]),
        (format!("{one}clients = 0\n"), &[":5: clients: 0 ", "from 1 to 65536"]),
        (format!("{one}{}", one.replace("id = 1", "id = 2")), &[":5: there are two tenants a"]),
        (format!("{one}{}", one.replace("\"a\"", "\"b\"")), &[":5: id 1 is given twice"]),
        (format!("address = \"a b\"\n{one}"), &[":1: address: ", "HOST:PORT"]),
        (one.replace("secret = ", "secret = = "), &[":4: "]),
    ] {
        fs::write(&path, &text).unwrap();
        let told = Tenants::load(&path).unwrap_err().to_string();
        for part in parts {
            assert!(told.contains(part), "{text}: {part:?} is not in: {told}");
        }
        assert!(!told.contains("AAAA"), "{told}");
    }
}
