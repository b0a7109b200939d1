use super::{PRIVATE, PUBLIC, create, replace};
use crate::scratch::Scratch;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn a_file_is_created_once_and_with_its_mode() {
    let scratch = Scratch::new();
    let path = scratch.path("key");
    create(&path, "one", PRIVATE).unwrap();
    assert_eq!(create(&path, "two", PRIVATE).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(scratch.names(), ["key"], "nothing is left beside it");
}

#[test]
fn a_file_is_replaced_in_one_step_and_nothing_is_left_beside_it() {
    let scratch = Scratch::new();
    let path = scratch.path("list");
    replace(&path, "one", PUBLIC).unwrap();
    replace(&path, "two", PRIVATE).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(scratch.names(), ["list"]);
}

#[test]
fn replacing_through_a_link_leaves_the_link() {
    let scratch = Scratch::new();
    let (path, link) = (scratch.path("real"), scratch.path("link"));
    fs::write(&path, "one").unwrap();
    symlink(&path, &link).unwrap();
    replace(&link, "two", PRIVATE).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}
