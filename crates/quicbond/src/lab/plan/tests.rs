use super::{Emulated, Event, Plan, Wires};
use crate::cli::{Cli, Command};
use clap::Parser;
use mpquic_base::Duration;

fn plan(words: &[&str]) -> Result<Plan, String> {
    let cli = Cli::try_parse_from([&["quicbond", "lab"], words].concat()).map_err(|e| e.to_string())?;
    let Command::Lab(args) = cli.command else { panic!("{cli:?}") };
    Plan::new(&args).map_err(|e| e.to_string())
}

fn emulated(words: &[&str]) -> Emulated {
    match plan(words).unwrap().wires {
        Wires::Emulated(emulated) => *emulated,
        Wires::Plain => panic!("{words:?} has no emulated links"),
    }
}

#[test]
fn without_a_tunnel_traffic_takes_the_fastest_link_or_the_one_that_is_named() {
    let links = "a=50mbit/20ms,b=80mbit/40ms,c=80mbit/30ms";
    assert_eq!(emulated(&["--links", links]).favourite, 2, "the faster, then the shorter");
    let single = emulated(&["--links", links, "--single", "a"]);
    assert_eq!((single.favourite, single.first), (0, vec![0]));
}

#[test]
fn a_link_that_is_plugged_in_later_is_not_there_at_first_and_events_are_in_order() {
    let words =
        ["--links", "a=1mbit/1ms,b=1mbit/1ms", "--unplug", "b@5s", "--unplug", "1@3s", "--plug", "b@2s"];
    let emulated = emulated(&words);
    assert_eq!(emulated.first, [0]);
    let seconds = Duration::from_secs;
    assert_eq!(
        emulated.events,
        [(seconds(2), Event::Plug(1)), (seconds(3), Event::Unplug(0)), (seconds(5), Event::Unplug(1))]
    );
}

#[test]
fn devices_are_called_like_their_links_as_far_as_linux_allows() {
    let words = ["--links", "starlink-on-the-roof=1mbit/1ms,lte=1mbit/1ms"];
    assert_eq!(emulated(&words).devices, ["starlink-on-the", "lte"]);
    let twins = plan(&["--links", "starlink-on-the-roof=1mbit/1ms,starlink-on-the-hill=1mbit/1ms"]);
    assert!(twins.unwrap_err().contains("another name"));
}

#[test]
fn every_profile_can_be_run() {
    for profile in mpquic_sim::profile::Profile::all() {
        let emulated = emulated(&["--profile", profile.name]);
        assert_eq!(emulated.devices.len(), profile.links.len(), "{}", profile.name);
    }
}
