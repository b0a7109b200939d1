use super::filter;
use tracing_subscriber::filter::LevelFilter;

#[test]
fn the_configuration_counts_unless_the_environment_says_otherwise() {
    let level = |wish, level| filter(wish, level).unwrap().max_level_hint();
    assert_eq!(level(None, "warn"), Some(LevelFilter::WARN));
    assert_eq!(level(Some(""), "off"), Some(LevelFilter::OFF));
    assert_eq!(level(Some("debug"), "warn"), Some(LevelFilter::DEBUG));
    assert_eq!(level(Some("info,mpquic=trace"), "warn"), Some(LevelFilter::TRACE));
}

#[test]
fn a_wish_that_makes_no_sense_is_told_by_its_name() {
    let error = filter(Some("a=b=c"), "info").unwrap_err();
    assert!(error.contains("QUICBOND_LOG=\"a=b=c\"") && error.contains("info,mpquic=trace"), "{error}");
}
