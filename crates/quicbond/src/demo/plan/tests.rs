use super::{Direction, Plan};
use crate::cli::{Cli, Command};
use clap::Parser;
use mpquic_base::Duration;

fn try_plan(options: &[&str]) -> Result<Plan, clap::Error> {
    let words = ["quicbond", "demo"].into_iter().chain(options.iter().copied());
    match Cli::try_parse_from(words)?.command {
        Command::Demo(args) => Plan::new(&args),
        _ => unreachable!("the words say demo"),
    }
}

fn plan(options: &[&str]) -> Plan {
    try_plan(options).unwrap()
}

fn mbit(plan: &Plan) -> u64 {
    plan.capacity(Direction::Down).bits_per_second() / 1_000_000
}

#[test]
fn nothing_said_means_three_links_and_200_mb_both_ways() {
    let plan = plan(&[]);
    assert_eq!((plan.profile.name, plan.profile.links.len()), ("three_wan", 3));
    assert_eq!((mbit(&plan), plan.payload.bytes), (440, 200_000_000));
    assert_eq!(plan.directions, [Direction::Down, Direction::Up]);
    assert!(plan.compare && !plan.json);
}

#[test]
fn links_behind_one_bottleneck_carry_no_more_than_it() {
    assert_eq!(mbit(&plan(&["--profile", "shared_neck"])), 60);
    assert_eq!(mbit(&plan(&["--profile", "baseline"])), 100);
}

#[test]
fn the_best_link_is_the_fastest_and_of_equals_the_nearest() {
    let best = |links| plan(&["--links", links]).best_link(Direction::Up);
    assert_eq!(best("10mbit/1ms,50mbit/90ms"), 1);
    assert_eq!(best("50mbit/40ms,50mbit/20ms"), 1);
    assert_eq!(best("50mbit/20ms,50mbit/20ms"), 0);
}

#[test]
fn a_comparison_never_takes_for_ever() {
    let bytes =
        |size| plan(&["--links", "8mbit/1ms,1mbit/1ms", "--size", size]).compare_bytes(0, Direction::Down);
    // 8 Mbit/s are 1 MB/s.
    assert_eq!(bytes("2MB"), 2_000_000);
    assert_eq!(bytes("10MB"), 3_000_000);
    assert_eq!(bytes("20MB"), 5_000_000);
    assert_eq!(bytes("1GB"), 8_000_000);
}

#[test]
fn the_link_left_alone_keeps_its_bottleneck_and_loses_its_faults() {
    let cut = plan(&["--profile", "cut"]).alone(2);
    assert_eq!((cut.links.len(), cut.links[0].name.as_str()), (1, "starlink"));
    assert!(cut.schedule.faults.is_empty());
    let neck = plan(&["--profile", "shared_neck"]).alone(1).neck.unwrap();
    assert_eq!(neck.links, [0]);
}

#[test]
fn cuts_add_to_the_profile_and_those_that_came_too_late_are_told() {
    let plan = plan(&["--profile", "cut", "--cut", "lte@1s-2s", "--cut", "3@30s-31s"]);
    assert_eq!(plan.profile.schedule.faults.len(), 3);
    let late = plan.cuts_after(Duration::from_secs(10));
    assert_eq!(late, ["the cut of starlink at 30 s never came: the data was through before"]);
}

#[test]
fn one_link_needs_no_comparison() {
    assert!(!plan(&["--links", "50mbit/1ms"]).compare);
    assert!(!plan(&["--no-compare"]).compare);
}

#[test]
fn wrong_values_name_option_value_and_what_would_be_right() {
    for (options, parts) in [
        (&["--size", "20mbit"][..], ["--size <SIZE>", "'20mbit'", "such as 200MB"]),
        (&["--links", "50mbt/20ms"], ["--links <LINKS>", "\"50mbt\" is no rate", "such as 50mbit"]),
        (&["--links", "50mbit"], ["--links <LINKS>", "the delay is missing", "50mbit/20ms"]),
        (&["--profile", "dsl"], ["--profile <NAME>", "'dsl'", "three_wan"]),
        (&["--scheduler", "best"], ["--scheduler <NAME>", "'best'", "minrtt"]),
        (&["--cc", "vegas"], ["--cc <NAME>", "'vegas'", "cubic"]),
        (&["--direction", "left"], ["--direction <WAY>", "'left'", "up, down, both"]),
        (&["--seed", "x"], ["--seed <N>", "'x'", "invalid digit"]),
        (
            &["--cut", "dsl@3s-8s"],
            ["--cut <LINK@FROM-TO>", "'dsl@3s-8s'", "1 to 3 or one of fibre, lte, starlink"],
        ),
        (&["--cut", "1@8s-3s"], ["--cut <LINK@FROM-TO>", "ends before it begins", "such as 3s-8s"]),
        (
            &["--file", "/nowhere/at all"],
            ["--file <PATH>", "'/nowhere/at all'", "name a file that can be read"],
        ),
        (&["--file", "/"], ["--file <PATH>", "no regular file", "name a file"]),
    ] {
        let error = try_plan(options).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.exit_code(), 2, "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
    }
}

#[test]
fn options_that_exclude_each_other_say_so() {
    for options in [["--links", "1mbit/1ms", "--profile", "cut"], ["--file", "/etc/hosts", "--size", "1MB"]] {
        let error = try_plan(&options).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
    }
}
