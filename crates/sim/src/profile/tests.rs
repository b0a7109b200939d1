use super::{Cut, NamedLink, PUBLISHED, Profile, ROWS};
use crate::link::{Limit, LinkSpec, Loss, Schedule, Way, Ways};
use mpquic_base::{Duration, Rate};

/// Per profile: each link as Mbit/s, one-way delay and deviation in ms, loss in thousandths.
type Numbers = (u64, u64, u64, u64);
const TABLE: [(&str, &[Numbers]); 26] = [
    ("baseline", &[(50, 20, 0, 0), (50, 20, 0, 0)]),
    ("rtt_40", &[(50, 20, 0, 0), (50, 40, 0, 0)]),
    ("rtt_70", &[(50, 20, 0, 0), (50, 70, 0, 0)]),
    ("rtt_120", &[(50, 20, 0, 0), (50, 120, 0, 0)]),
    ("rtt_320", &[(50, 20, 0, 0), (50, 320, 0, 0)]),
    ("jit_5", &[(50, 20, 5, 0), (50, 20, 5, 0)]),
    ("jit_20", &[(50, 20, 20, 0), (50, 20, 20, 0)]),
    ("loss_05", &[(50, 20, 0, 5), (50, 20, 0, 5)]),
    ("loss_2", &[(50, 20, 0, 20), (50, 20, 0, 20)]),
    ("bw_4to1", &[(50, 20, 0, 0), (12, 20, 0, 0)]),
    ("bw_10to1", &[(100, 20, 0, 0), (10, 20, 0, 0)]),
    ("dual_lte", &[(40, 30, 5, 5), (25, 45, 8, 5)]),
    ("fiber_lte", &[(300, 8, 0, 0), (30, 40, 8, 5)]),
    ("lte_starlink", &[(40, 35, 8, 0), (100, 50, 25, 10)]),
    ("lte_geo", &[(40, 35, 0, 0), (20, 320, 20, 5)]),
    ("congested", &[(20, 50, 20, 20), (15, 60, 25, 20)]),
    ("twin_gig", &[(1000, 2, 0, 0), (1000, 2, 0, 0)]),
    ("geo_600", &[(100, 10, 0, 0), (20, 600, 0, 0)]),
    ("three_wan", &[(300, 8, 0, 0), (40, 35, 8, 5), (100, 50, 25, 10)]),
    ("shared_neck", &[(50, 20, 0, 0), (50, 20, 0, 0)]),
    ("cut", &[(300, 8, 0, 0), (40, 35, 8, 5), (100, 50, 25, 10)]),
    ("brownout", &[(50, 20, 0, 0), (50, 20, 0, 0)]),
    ("flap", &[(50, 20, 0, 0), (50, 20, 0, 0)]),
    ("asym_cut", &[(300, 8, 0, 0), (40, 35, 8, 5), (100, 50, 25, 10)]),
    ("blackhole_mtu", &[(50, 20, 0, 0), (50, 20, 0, 0)]),
    ("nat_rebind", &[(50, 20, 0, 0), (50, 20, 0, 0)]),
];

fn spec(numbers: Numbers) -> LinkSpec {
    let (mbit, delay, deviation, loss) = numbers;
    let loss = if loss == 0 { Loss::None } else { Loss::Bernoulli(loss as f64 / 1000.0) };
    LinkSpec::new(Rate::from_bits_per_second(mbit * 1_000_000), Duration::from_millis(delay))
        .jitter(Duration::from_millis(deviation))
        .loss(loss)
}

fn wrong(text: &str) -> String {
    NamedLink::parse_list(text).unwrap_err().to_string()
}

#[test]
fn every_profile_parses_and_matches_the_table() {
    for ((name, _, links, _), (expected_name, numbers)) in ROWS.iter().zip(TABLE) {
        assert_eq!(*name, expected_name);
        let parsed = NamedLink::parse_list(links).unwrap_or_else(|e| panic!("{name}: {e}"));
        let specs: Vec<LinkSpec> = parsed.into_iter().map(|l| l.spec).collect();
        let expected: Vec<LinkSpec> = numbers.iter().copied().map(spec).collect();
        assert_eq!(specs, expected, "{name}");
        assert!(Profile::find(name).is_some_and(|p| p.links.len() == numbers.len() && !p.about.is_empty()));
    }
    assert_eq!(Profile::all().len(), TABLE.len());
    assert_eq!(Profile::all()[PUBLISHED].name, "twin_gig");
    assert!(Profile::find("no_such").is_none());
}

#[test]
fn only_the_profiles_with_a_fault_have_a_schedule_or_a_neck() {
    let faulty: Vec<&str> = Profile::all()
        .into_iter()
        .filter(|p| p.neck.is_some() || p.schedule != Schedule::new())
        .map(|p| p.name)
        .collect();
    assert_eq!(faulty, ["shared_neck", "cut", "brownout", "flap", "asym_cut", "blackhole_mtu", "nat_rebind"]);
    let cut = Profile::find("cut").unwrap();
    assert_eq!(cut.links[0].name, "fibre");
    let expected = Schedule::new().cut(0, Ways::Both, Duration::from_secs(3), Duration::from_secs(8));
    assert_eq!(cut.schedule, expected);
    assert_eq!(Cut::parse("fibre@3s-8s", &cut.links).unwrap().on(Schedule::new()), expected);
    let one_way = Profile::find("asym_cut").unwrap().schedule.faults[0].clone();
    assert_eq!(one_way.ways, Ways::Only(Way::Up));
}

#[test]
fn netem_terms_change_jitter_and_queue_only() {
    let ours = Profile::find("lte_starlink").unwrap();
    let theirs = ours.clone().as_netem();
    for (ours, theirs) in ours.links.iter().zip(&theirs.links) {
        let (ours, theirs) = (&ours.spec.down, &theirs.spec.down);
        assert!(theirs.jitter.reorders && !ours.jitter.reorders);
        assert_eq!((ours.queue.limit, theirs.queue.limit), (Limit::Rule, Limit::PacketsInAll(1000)));
        assert_eq!((ours.rate, ours.delay, ours.loss), (theirs.rate, theirs.delay, theirs.loss));
    }
}

#[test]
fn links_are_read_in_every_spelling() {
    for (text, numbers) in [
        ("50mbit/20ms", (50, 20, 0, 0)),
        ("50mbit/40ms/0.5%", (50, 40, 0, 5)),
        ("40mbit/35±8ms/0.5%", (40, 35, 8, 5)),
        ("40mbit/35+-8ms/0.5%", (40, 35, 8, 5)),
        ("40mbit/35ms±8ms", (40, 35, 8, 0)),
        ("1gbit/2ms", (1000, 2, 0, 0)),
        ("1.5Gbit/0.04s", (1500, 40, 0, 0)),
        ("2000kbit/1s/0%", (2, 1000, 0, 0)),
    ] {
        assert_eq!(LinkSpec::parse(text), Ok(spec(numbers)), "{text}");
    }
    let links = NamedLink::parse_list("50mbit/20ms, lte=40mbit/35ms,10mbit/1ms").unwrap();
    assert_eq!(links.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["a", "lte", "c"]);
}

#[test]
fn a_wrong_link_is_told_what_would_be_right() {
    assert_eq!(
        LinkSpec::parse("50mbt/20ms").unwrap_err().to_string(),
        r#"link "50mbt/20ms": "50mbt" is no rate; write a number and kbit, mbit or gbit, such as 50mbit"#
    );
    for (text, part, right) in [
        ("50mbit/20ms,50mbit", "the delay is missing", "50mbit/20ms"),
        ("", "the rate is missing", "50mbit/20ms"),
        ("50mbit/20ms,", "the rate is missing", "50mbit/20ms"),
        ("mbit/20ms", "\"mbit\" is no rate", "such as 50mbit"),
        ("-5mbit/20ms", "\"-5mbit\" is no rate", "such as 50mbit"),
        ("infmbit/20ms", "\"infmbit\" is no rate", "such as 50mbit"),
        ("0mbit/20ms", "\"0mbit\" is out of range", "above 0"),
        ("9999gbit/20ms", "\"9999gbit\" is out of range", "at most 1000gbit"),
        ("50mbit/20", "\"20\" is no delay", "20ms or 35±8ms"),
        ("50mbit/20±ms", "\"20±ms\" is no delay", "35±8ms"),
        ("50mbit/20+-x", "\"20+-x\" is no delay", "35±8ms"),
        ("50mbit/61s", "\"61s\" is out of range", "at most 60s"),
        ("50mbit/20ms/0.5", "\"0.5\" is no loss", "such as 0.5%"),
        ("50mbit/20ms/101%", "\"101%\" is no loss", "from 0 to 100"),
        ("50mbit/20ms/1%/2", "\"2\" is one part too many", "RATE/DELAY/LOSS"),
        ("1a=50mbit/20ms", "\"1a\" is no name", "a letter first"),
        ("x=1mbit/1ms,x=1mbit/1ms", "another link called \"x\"", "its own name"),
    ] {
        let message = wrong(text);
        assert!(message.contains(part) && message.contains(right), "{text:?}: {message}");
        let named = text.split(',').next_back().unwrap();
        assert!(message.starts_with(&format!("link {named:?}: ")), "{text:?}: {message}");
    }
}

#[test]
fn cuts_are_read_by_number_and_by_name() {
    let links = NamedLink::parse_list("fibre=50mbit/20ms,lte=40mbit/35ms").unwrap();
    let (from, to) = (Duration::from_millis(300), Duration::from_secs(8));
    assert_eq!(Cut::parse("2@300ms-8s", &links), Ok(Cut { link: 1, from, to }));
    assert_eq!(Cut::parse("fibre@0.3s-8s", &links), Ok(Cut { link: 0, from, to }));
    for (text, part, right) in [
        ("lte", "there is no @", "1@3s-8s"),
        ("dsl@3s-8s", "\"dsl\" is no link", "1 to 2 or one of fibre, lte"),
        ("0@3s-8s", "\"0\" is no link", "1 to 2"),
        ("3@3s-8s", "\"3\" is no link", "1 to 2"),
        ("lte@3s", "\"3s\" is no span of time", "1@3s-8s"),
        ("lte@3-8s", "\"3\" is no time", "300ms or 3s"),
        ("lte@8s-3s", "\"8s-3s\" ends before it begins", "3s-8s"),
    ] {
        let message = Cut::parse(text, &links).unwrap_err().to_string();
        assert!(message.starts_with(&format!("cut {text:?}: ")), "{message}");
        assert!(message.contains(part) && message.contains(right), "{text:?}: {message}");
    }
}
