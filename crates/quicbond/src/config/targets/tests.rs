use super::Targets;

fn targets(allow: &[&str], deny: &[&str], allow_private: bool) -> Targets {
    let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    Targets { allow: nets(allow), deny: nets(deny), allow_private }
}

fn permitted<'a>(targets: &Targets, addresses: &[&'a str]) -> Vec<&'a str> {
    addresses.iter().copied().filter(|address| targets.permits(address.parse().unwrap())).collect()
}

const PUBLIC: &[&str] =
    &["1.1.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "2001:4860:4860::8888", "64:ff9b::101:101"];
const PRIVATE: &[&str] = &[
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "fd00::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
];
const HOST: &[&str] = &[
    "127.0.0.1",
    "::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
];

#[test]
fn the_internet_is_open_and_private_networks_are_not() {
    let targets = Targets::default();
    assert_eq!(permitted(&targets, PUBLIC), PUBLIC);
    assert_eq!(permitted(&targets, PRIVATE), [""; 0]);
    assert_eq!(permitted(&targets, HOST), [""; 0]);
}

#[test]
fn private_networks_can_be_opened_but_this_host_only_by_name() {
    let open = targets(&[], &[], true);
    assert_eq!(permitted(&open, PRIVATE), PRIVATE);
    assert_eq!(permitted(&open, HOST), [""; 0]);
    let named = targets(&["127.0.0.0/8"], &[], false);
    assert_eq!(permitted(&named, HOST), ["127.0.0.1", "::ffff:127.0.0.1"]);
}

#[test]
fn what_is_allowed_opens_and_closes_nothing_else() {
    let some = targets(&["192.168.1.0/24", "1.1.1.1/32"], &[], false);
    assert_eq!(permitted(&some, PUBLIC), PUBLIC);
    assert_eq!(permitted(&some, PRIVATE), ["192.168.1.1"]);
}

#[test]
fn what_is_denied_stays_denied_whatever_else_is_said() {
    let mixed = targets(&["10.0.0.0/8"], &["10.0.0.0/24"], true);
    assert!(!mixed.permits("10.0.0.1".parse().unwrap()));
    assert!(!mixed.permits("::ffff:10.0.0.1".parse().unwrap()));
    assert!(mixed.permits("10.0.1.1".parse().unwrap()));
}
