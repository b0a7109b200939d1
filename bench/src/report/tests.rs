use super::*;
use crate::{stacks, tests};

fn measured(gbps: f64) -> Measured {
    ["gbps", "cpu_client_s_per_gb", "cpu_server_s_per_gb"].map(|key| (key.to_owned(), gbps)).into()
}

fn stack(name: &str) -> &'static Stack {
    stacks::ALL.iter().find(|stack| stack.name == name).unwrap()
}

#[test]
fn medians_of_odd_and_even_counts() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(median(Vec::new()).is_nan());
}

#[test]
fn a_failed_stack_is_named_with_its_reason_and_the_others_are_shown() {
    let test = tests::BULK[0];
    let mut report = Report::begin();
    report.failed(test, stack("limit"), "out of luck".to_owned());
    report.add(test, stack("mpquic"), measured(8.0));
    let table = report.to_string();
    assert!(table.contains("| limit | failed |"), "{table}");
    assert!(table.contains("limit: 1 of 1 rounds failed: out of luck"), "{table}");
    assert!(table.contains("| mpquic | 8.00 |"), "{table}");
    let json: Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["results"][0]["gbps"], 8.0);
    assert_eq!(json["results"].as_array().unwrap().len(), 1);
    assert_eq!(json["failures"][0]["error"], "out of luck");
}

#[cfg(all(feature = "quinn", feature = "noq"))]
#[test]
fn each_column_is_compared_with_its_own_best_peer() {
    let test = tests::BULK[0];
    let mut report = Report::begin();
    report.add(test, stack("mpquic"), measured(8.0));
    report.add(test, stack("quinn"), measured(4.0));
    report.add(test, stack("noq"), measured(2.0));
    report.add(test, stack("limit"), measured(16.0));
    let table = report.to_string();
    assert!(table.contains("| mpquic / best peer | 2.00 (quinn) | 4.00 (noq) | 4.00 (noq) |"), "{table}");
    assert!(table.contains("| mpquic / limit | 0.50 | 0.50 | 0.50 |"), "{table}");
}
