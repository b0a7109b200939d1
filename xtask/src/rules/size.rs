//! Size: what no longer fits a head is cut before it grows further.

use super::{Finding, is_test_file};
use crate::repo::Repo;

const RULE: &str = "size";
const FILE_LINES: usize = 600;
const TEST_FILE_LINES: usize = 900;
/// From the line of `fn` to the line of the closing brace.
const FUNCTION_LINES: usize = 70;

pub(super) fn files(repo: &Repo) -> Vec<Finding> {
    let too_long = |(path, lines): (&str, usize)| {
        let limit = if is_test_file(path) { TEST_FILE_LINES } else { FILE_LINES };
        let advice = || format!("{lines} lines, at most {limit}: cut the file where its subjects part");
        (lines > limit).then(|| Finding::new(path, limit + 1, RULE, advice()))
    };
    repo.sources().map(|(path, source)| (path, source.lines())).filter_map(too_long).collect()
}

pub(super) fn functions(repo: &Repo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in repo.sources().filter(|(path, _)| !is_test_file(path)) {
        for function in source.functions() {
            let first = source.line(function.span.start);
            let lines = source.line(function.span.end - 1) - first + 1;
            if lines > FUNCTION_LINES && !source.in_tests(function.span.start) {
                let advice = format!(
                    "`{}` has {lines} lines, at most {FUNCTION_LINES}: give a step of it a name of its own",
                    function.name
                );
                findings.push(Finding::new(path, first, RULE, advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests;
