use super::{Options, Url};
use crate::case::Case;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn options(variables: &[(&str, &str)]) -> Result<Options, crate::Failure> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Options::from_environment(Case::Transfer, |name| variables.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn without_any_variable_the_runners_places_hold() {
    let options = options(&[]).unwrap();
    assert_eq!(options, Options::new(Case::Transfer));
    assert_eq!(options.listen(), ["0.0.0.0:443".parse().unwrap(), "[::]:443".parse().unwrap()]);
}

#[test]
fn every_variable_has_its_place() {
    let options = options(&[
        ("REQUESTS", "https://server4:443/one  https://[::1]:4433/two\n"),
        ("CERTS", "c"),
        ("WWW", "w"),
        ("DOWNLOADS", "d"),
        ("SSLKEYLOGFILE", "k"),
        ("IP", "127.0.0.1"),
        ("PORT", "7000"),
    ])
    .unwrap();
    let folders = [&options.certs, &options.www, &options.downloads];
    assert_eq!(folders.map(|p| p.to_str().unwrap()), ["c", "w", "d"]);
    assert_eq!(options.key_log, Some(PathBuf::from("k")));
    assert_eq!(options.addresses, ["127.0.0.1:7000".parse().unwrap()]);
    let url = |host: &str, port, path: &str| Url { host: host.into(), port, path: path.into() };
    assert_eq!(options.requests, [url("server4", 443, "/one"), url("::1", 4433, "/two")]);
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (name, value) in [("PORT", "70000"), ("IP", "here"), ("REQUESTS", "http://server/x")] {
        let failure = options(&[(name, value)]).unwrap_err();
        assert!(failure.0.contains(value), "{failure}");
    }
    for text in ["https://server", "https:///x", "https://server:port/x", ""] {
        assert!(Url::parse(text).is_err(), "{text}");
    }
}
