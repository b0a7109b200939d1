use super::command::{likely_role, of_client, of_server};
use super::section::Chapter;
use super::{Client, Paths, Section, Server, load, parse, reference};
use crate::cli::Role;
use crate::scratch::Scratch;
use core::fmt::Debug;
use core::time::Duration;
use std::fs;
use std::path::Path;

fn server(text: &str) -> Server {
    parse(text, "server.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn client(text: &str) -> Client {
    parse(text, "client.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems<C: Paths + Debug>(text: &str) -> String {
    parse::<C>(text, "f").unwrap_err().to_string()
}

/// A file of defaults with every key for real: `#key = value` loses its `#`, explanations keep theirs.
fn uncommented(text: &str, without: &[&str]) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') && !without.iter().any(|w| key.starts_with(w)) => key,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_empty_file_is_all_defaults() {
    assert_eq!(server(""), Server::default());
    assert_eq!(client(""), Client::default());
}

#[test]
fn the_file_of_defaults_says_the_defaults_with_and_without_its_comment_marks() {
    assert_eq!(server(&of_server()), Server::default());
    assert_eq!(server(&uncommented(&of_server(), &[])), Server::default());
    assert_eq!(client(&of_client()), Client::default());
    assert_eq!(client(&uncommented(&of_client(), &["token"])), Client::default());
    let named = of_server().lines().filter(|line| line.starts_with('#') && !line.starts_with("# ")).count();
    assert_eq!(named, Server::chapters("").iter().map(|c| c.keys.len()).sum::<usize>());
}

#[test]
fn the_reference_page_is_the_one_in_docs() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let is_same = fs::read_to_string(page).unwrap() == reference();
    assert!(is_same, "run `quicbond config defaults --markdown > docs/configuration.md`");
}

#[test]
fn every_key_is_explained_in_a_sentence() {
    let chapters = [Server::chapters(""), Client::chapters("")].concat();
    for Chapter { name, about, keys } in chapters {
        assert!(about.ends_with('.'), "[{name}]");
        for key in keys {
            assert!(key.about.ends_with('.') && key.about.len() > 15, "{name}.{}", key.name);
            assert!(!key.accepts.is_empty() && !key.shown().is_empty(), "{name}.{}", key.name);
        }
    }
}

#[test]
fn values_of_every_kind_are_read() {
    let read = server(
        "listen = \"192.0.2.1:8443\"\n\
         [network]\ninterface = \"qb0\"\nipv4 = \"10.9.0.0/24\"\nipv6 = \"fd00:9::/112\"\nnat = false\n\
         [targets]\nallow = [\"10.0.0.0/8\", \"192.0.2.9\"]\n\
         [limits]\nclients = 0x10\nflows_per_tenant = 1_000\nsession_buffer = \"1.5MiB\"\nidle_timeout = \"2m\"\n\
         [transport]\nscheduler = \"roundrobin\"\ncontroller = \"cubic\"\n\
         [log]\nlevel = \"debug\"\nformat = \"json\"\n",
    );
    assert_eq!(read.listen, ["192.0.2.1:8443".parse().unwrap()]);
    assert_eq!((read.network.interface.as_str(), read.network.nat), ("qb0", false));
    assert_eq!(read.network.ipv4.to_string(), "10.9.0.0/24");
    assert_eq!(read.network.ipv6.to_string(), "fd00:9::/112");
    assert_eq!(read.targets.allow[1].to_string(), "192.0.2.9/32");
    assert_eq!((read.limits.clients, read.limits.flows_per_tenant), (16, 1000));
    assert_eq!((read.limits.session_buffer, read.limits.idle_timeout), (1_572_864, Duration::from_secs(120)));
    assert_eq!((read.transport.scheduler().name, read.transport.controller().name), ("roundrobin", "cubic"));
    let mut transport = mpquic::TransportConfig::default();
    read.transport.apply(&mut transport);
    assert_eq!((transport.scheduler.name, transport.controller.name), ("roundrobin", "cubic"));
    assert_eq!((read.log.level, read.log.format), ("debug", "json"));
    let read = client(
        "links = [\"eth0\", \"wwan0\"]\nexclude = []\ndns = [\"9.9.9.9\"]\nmark = 7\ntcp_lane = false",
    );
    assert_eq!(
        (read.links, read.mark, read.tcp_lane),
        (vec!["eth0".to_owned(), "wwan0".to_owned()], 7, false)
    );
}

#[test]
fn every_wrong_value_is_told_with_its_line_and_what_would_be_right() {
    for (text, parts) in [
        ("\nlisten = \"0.0.0.0\"", &["f:2: listen: \"0.0.0.0\"", "0.0.0.0:443"][..]),
        ("listen = []", &["f:1: listen: a list of 0", "at least 1, at most 16"]),
        ("listen = [\n  \"[::]:443\",\n  5\n]", &["f:3: listen: 5 will not do"]),
        ("listen = [\"[::]:443\", \"[::]:443\"]", &["f: listen names [::]:443 twice"]),
        ("[limits]\nclients = 0", &["f:2: limits.clients: 0 ", "from 1 to 65536"]),
        ("[limits]\nclients = -1", &["f:2: limits.clients: -1 "]),
        ("[limits]\nclients = 99999999999999999999", &["f:2: limits.clients: 9999"]),
        ("[limits]\nclients = \"many\"", &["f:2: limits.clients: \"many\" ", "a whole number"]),
        ("[limits]\nclients = 1.5", &["f:2: limits.clients: 1.5 "]),
        ("[limits]\nclients = [1]", &["f:2: limits.clients: a list "]),
        ("[limits]\nsession_buffer = \"1KiB\"", &["limits.session_buffer: \"1KiB\" ", "from 1MiB to 1GiB"]),
        ("[limits]\nsession_buffer = 262144", &["limits.session_buffer: 262144 ", "such as \"512KiB\""]),
        ("[limits]\nidle_timeout = \"1s\"", &["limits.idle_timeout: \"1s\" ", "from 5s to 1h"]),
        ("[network]\nipv4 = \"10.181.0.1/16\"", &["network.ipv4", "did you mean \"10.181.0.0/16\"?"]),
        ("[network]\nipv4 = \"10.0.0.0/31\"", &["network.ipv4", "from /8 to /30"]),
        ("[network]\nipv4 = \"fd51::/64\"", &["network.ipv4", "10.181.0.0/16"]),
        ("[network]\ninterface = \"much-too-long-for-linux\"", &["network.interface", "1 to 15 characters"]),
        ("[network]\nnat = \"yes\"", &["network.nat: \"yes\" ", "true or false"]),
        ("[targets]\ndeny = [\"10.0.0.0/33\"]", &["targets.deny", "192.168.0.0/16"]),
        (
            "[transport]\nscheduler = \"minrt\"",
            &["transport.scheduler: \"minrt\"", "did you mean \"minrtt\"?"],
        ),
        ("[log]\nlevel = \"loud\"", &["log.level: \"loud\"", "\"info\""]),
        ("key = \"\"", &["f:1: key: \"\" ", "a path"]),
        ("limits = 5", &["f:1: limits is a section", "[limits]"]),
        ("a =", &["f:1: this is no TOML"]),
    ] {
        let problems = problems::<Server>(text);
        for part in parts {
            assert!(problems.contains(part), "{text:?}: {part:?} is not in: {problems}");
        }
    }
}

#[test]
fn an_unknown_key_is_told_which_one_was_meant() {
    for (text, told) in [
        ("lisen = 5", "f:1: there is no key lisen; did you mean listen?"),
        ("[limits]\n\nclient = 5", "f:3: there is no key limits.client; did you mean clients?"),
        (
            "[network]\nallow_private = true",
            "f:2: there is no key network.allow_private; allow_private belongs to the section [targets]",
        ),
        ("nat = true", "f:1: there is no key nat; nat belongs to the section [network]"),
        ("[log]\nlisten = []", "listen belongs at the top of the file"),
        ("[limit]\nclients = 5", "f:1: there is no key limit; did you mean limits?"),
        ("[transport]\nxyzzy = 1", "here may stand: scheduler, controller"),
    ] {
        let problems = problems::<Server>(text);
        assert!(problems.contains(told), "{text:?}: {problems}");
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_lines() {
    let all = problems::<Client>("tcp_lane = 1\nipv7 = true\n[limits]\nflows = 0\n[log]\nlevel = 3\n");
    let lines: Vec<&str> = all.lines().map(|line| &line[..4]).collect();
    assert_eq!(lines, ["f:1:", "f:2:", "f:4:", "f:6:"], "{all}");
}

#[test]
fn a_wrong_token_is_told_without_repeating_it() {
    let problems = problems::<Client>("token = \"qb1secretsecret\"");
    assert!(problems.contains("f:1: token: the token is damaged"), "{problems}");
    assert!(!problems.contains("secretsecret"), "{problems}");
}

#[test]
fn keys_that_contradict_each_other_are_told() {
    let token = crate::token::tests::example().encoded();
    let both = problems::<Client>(&format!("token = \"{token}\"\ntoken_file = \"t\""));
    assert!(both.contains("token and token_file are both set"), "{both}");
    let both = problems::<Client>("links = [\"a\", \"b\"]\nexclude = \"b\"");
    assert!(both.contains("\"b\" is in links and in exclude"), "{both}");
}

#[test]
fn paths_count_from_the_folder_of_the_file() {
    let scratch = Scratch::new();
    fs::write(scratch.path("s.toml"), "key = \"sub/k.pem\"\ntenants = \"/abs/t.toml\"").unwrap();
    let read: Server = load(&scratch.path("s.toml")).unwrap();
    assert_eq!(read.key, scratch.path("sub/k.pem"));
    assert_eq!(read.certificate, scratch.path("certificate.pem"));
    assert_eq!((read.tenants, read.control), ("/abs/t.toml".into(), super::SERVER_CONTROL.into()));
    fs::write(scratch.path("c.toml"), "token_file = \"t\"").unwrap();
    let read: Client = load(&scratch.path("c.toml")).unwrap();
    assert_eq!(read.token_file, Some(scratch.path("t")));
}

#[test]
fn what_is_no_configuration_at_all_is_told_so() {
    let scratch = Scratch::new();
    let told = |name: &str| load::<Server>(&scratch.path(name)).unwrap_err().to_string();
    assert!(told("absent").contains("absent: cannot be read"));
    fs::write(scratch.path("binary"), [0xff, 0xfe]).unwrap();
    assert!(told("binary").contains("is no text"));
    fs::write(scratch.path("large"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(told("large").contains("larger than 1 MiB"));
    assert!(load::<Server>(scratch.folder()).is_err());
}

#[test]
fn whose_file_it_is_shows_in_its_names() {
    for (text, file, role) in [
        ("listen = []\ntcp_lane = 1\ncertificate = 1", "x", Role::Server),
        ("tcp_lane = true", "server.toml", Role::Client),
        ("[network]\n", "client.toml", Role::Server),
        ("[log]\n", "client.toml", Role::Client),
        ("", "x.toml", Role::Server),
    ] {
        assert_eq!(likely_role(text, file), role, "{text:?}");
    }
}
