use crate::cli::{Cli, ClientCommand, Command, Up};
use crate::scratch::Scratch;
use crate::token::tests::example;
use clap::Parser;
use std::fs;

fn up(words: &[&str]) -> Up {
    let words = ["quicbond", "client", "up"].iter().chain(words);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Client { command: ClientCommand::Up(up) } => up,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_alone_is_a_whole_configuration() {
    let text = example().encoded();
    let (config, token) = up(&[&text]).config().unwrap();
    assert_eq!((token, config.links.len(), config.tcp_lane), (example(), 0, true));
}

#[test]
fn words_win_over_the_file() {
    let scratch = Scratch::new();
    let file = scratch.path("client.toml");
    let text = format!(
        "token = \"{}\"\nexclude = [\"eth9\"]\nlinks = [\"eth0\"]\nstate_dir = \"s\"",
        example().encoded()
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (config, token) = up(&["--config", file]).config().unwrap();
    assert_eq!((token, &config.links[..], config.ipv6), (example(), &["eth0".to_owned()][..], true));
    assert_eq!(config.state_dir, scratch.path("s"));
    let words = [
        "--config",
        file,
        "--link",
        "eth9",
        "--no-ipv6",
        "--no-tcp-lane",
        "--state-dir",
        "/s",
        "--control",
        "/c",
    ];
    let (config, _) = up(&words).config().unwrap();
    assert_eq!((&config.links[..], config.exclude.len()), (&["eth9".to_owned()][..], 0));
    assert_eq!((config.ipv6, config.tcp_lane), (false, false));
    assert_eq!((config.state_dir, config.control), ("/s".into(), "/c".into()));
}

#[test]
fn a_token_is_read_from_its_own_file_and_beside_the_configuration() {
    let scratch = Scratch::new();
    fs::write(scratch.path("token"), format!("{}\n", example().encoded())).unwrap();
    fs::write(scratch.path("client.toml"), "token_file = \"token\"").unwrap();
    for words in [["--token-file", "token"], ["--config", "client.toml"]] {
        let path = scratch.path(words[1]);
        assert_eq!(up(&[words[0], path.to_str().unwrap()]).config().unwrap().1, example(), "{words:?}");
    }
}

#[test]
fn without_a_usable_token_it_is_told_what_to_do() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    fs::write(scratch.path("empty.toml"), "").unwrap();
    fs::write(scratch.path("bad"), "hello").unwrap();
    for (words, told) in [
        (["--config", &path("empty.toml")], "neither token nor token_file"),
        (["--config", &path("absent")], "absent: cannot be read"),
        (["--token-file", &path("bad")], "bad: this is no token"),
        (["--token-file", &path("absent")], "absent: cannot be read"),
    ] {
        let error = up(&words).config().unwrap_err();
        assert!(error.contains(told), "{words:?}: {error}");
    }
    assert!(up(&["hello"]).config().unwrap_err().contains("this is no token"));
}

#[test]
fn two_tokens_or_a_name_that_is_no_interface_are_wrong_words() {
    for words in [&["qb1x", "--config", "f"][..], &["qb1x", "--token-file", "f"], &["qb1x", "--link", "a/b"]]
    {
        let all = ["quicbond", "client", "up"].iter().chain(words);
        assert_eq!(Cli::try_parse_from(all).unwrap_err().exit_code(), 2, "{words:?}");
    }
}
