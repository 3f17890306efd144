//! The pages that list tests by the rows that these prove: each test stands in the rows of its name, and each name on a page
//! is a test.

use std::collections::BTreeSet;
use std::fs;

use super::source::{Source, below, root, sources};

/// The crates whose tests stand beside their code, with the folder of it.
const CRATES: [(&str, &str); 11] = [
    ("contract", "shared/contract/src/"),
    ("db", "shared/db/src/"),
    ("api", "shared/api/src/"),
    ("kit", "shared/kit/src/"),
    ("pms-emitter", "pms-emitter/src/"),
    ("crm-receiver", "crm-receiver/src/"),
    ("harness", "tests/harness/src/"),
    ("demo", "tests/demo/src/"),
    ("load", "tests/load/src/"),
    ("chaos", "tests/chaos/src/"),
    ("conform", "tests/conform/src/"),
];
/// Where the suite's cases stand.
const SUITE: &str = "tests/suite/tests/suite/";

/// A page with a table whose first column is a row's name.
struct Page {
    file: &'static str,
    /// How a test's name spells a row, and how the table does: `r` and `R` of `r05_...` and R5.
    kinds: &'static [(&'static str, &'static str)],
    /// Rows that must be there, as the table names them: a letter, the first number and the last.
    whole: &'static [(&'static str, u32, u32)],
}

const FAULTS: Page = Page {
    file: "docs/faults.md",
    kinds: &[("f", "F")],
    whole: &[],
};
const ATTACKS: Page = Page {
    file: "docs/security.md",
    kinds: &[("r", "R"), ("a", "A"), ("e", "E")],
    whole: &[
        ("R", 42, 46),
        ("A", 1, 7),
        ("A", 9, 9),
        ("A", 13, 18),
        ("E", 1, 7),
        ("E", 10, 11),
        ("E", 14, 15),
    ],
};
const CASES: Page = Page {
    file: "docs/cases.md",
    kinds: &[("case", "")],
    whole: &[("", 1, 26)],
};

/// A row and a test as a page names it.
type Entry = (String, String);

impl Page {
    /// The rows of the table, each with the tests that its line names: `module::function` of the suite, `crate: function` of
    /// a test beside its code.
    fn rows(&self) -> Vec<(String, Vec<String>)> {
        let text = fs::read_to_string(root().join(self.file)).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("| "));
        lines
            .filter_map(|line| {
                let (row, rest) = line.split_once(" |")?;
                let known = |(_, letter): &(&str, &str)| row.strip_prefix(letter).is_some_and(is_number);
                self.kinds.iter().any(known).then(|| {
                    let words = rest.split('`').skip(1).step_by(2);
                    let tests = words.filter(|word| self.is_test(word)).map(str::to_owned);
                    (row.to_owned(), tests.collect())
                })
            })
            .collect()
    }

    fn is_test(&self, word: &str) -> bool {
        !self.rows_of(function_of(word)).is_empty()
    }

    /// The rows that a function's name begins with: F1 and F3 for `f1_f3_a_name`.
    fn rows_of(&self, function: &str) -> Vec<String> {
        let rows = function.split('_').map_while(|part| {
            self.kinds.iter().find_map(|(spelled, letter)| {
                let number = part.strip_prefix(spelled).filter(|number| is_number(number))?;
                Some(format!("{letter}{}", number.trim_start_matches('0')))
            })
        });
        rows.collect()
    }

    /// Every test below these sources whose name begins with rows of this page, under each of them.
    fn entries(&self, sources: &[Source]) -> BTreeSet<Entry> {
        let mut entries = BTreeSet::new();
        for source in sources {
            for function in functions(source) {
                for row in self.rows_of(function) {
                    entries.insert((row, reference(source, function)));
                }
            }
        }
        entries
    }

    fn named(&self) -> BTreeSet<Entry> {
        let rows = self.rows().into_iter();
        rows.flat_map(|(row, tests)| tests.into_iter().map(move |test| (row.clone(), test)))
            .collect()
    }

    fn missing_rows(&self) -> Vec<String> {
        let there: BTreeSet<String> = self.rows().into_iter().map(|(row, _)| row).collect();
        let wanted = self.whole.iter().flat_map(|(letter, first, last)| {
            (*first..=*last).map(move |number| format!("{letter}{number}"))
        });
        wanted.filter(|row| !there.contains(row)).collect()
    }

    /// Each row names a test, each name is a test of its row, and none of `listed` is missing.
    fn assert_holds(&self, listed: &[Source]) {
        let file = self.file;
        let bare: Vec<String> = self
            .rows()
            .into_iter()
            .filter_map(|(row, tests)| tests.is_empty().then_some(row))
            .collect();
        assert!(bare.is_empty(), "{file}: no test in row {bare:?}");
        let missing = self.missing_rows();
        assert!(missing.is_empty(), "{file}: no row {missing:?}");
        let named = self.named();
        let there = self.entries(&everything());
        let unknown: Vec<&Entry> = named.difference(&there).collect();
        assert!(unknown.is_empty(), "{file} names, but there is not: {unknown:#?}");
        let wanted = self.entries(listed);
        let missing: Vec<&Entry> = wanted.difference(&named).collect();
        assert!(missing.is_empty(), "{file} does not name: {missing:#?}");
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The suite and what stands beside the code.
fn everything() -> Vec<Source> {
    let mut all = suite();
    all.extend(sources());
    all.extend(below(&[
        "tests/harness/src",
        "tests/demo/src",
        "tests/load/src",
        "tests/chaos/src",
        "tests/conform/src",
    ]));
    all
}

fn suite() -> Vec<Source> {
    below(&["tests/suite/tests/suite"])
}

/// The last part of a reference.
fn function_of(test: &str) -> &str {
    test.rsplit([':', ' ']).next().unwrap_or(test)
}

/// The names of the functions that a file declares.
fn functions(source: &Source) -> impl Iterator<Item = &str> {
    let lines = source.code().map(|(_, line)| line.trim_start());
    lines.filter_map(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")?.split(['(', '<']).next()
    })
}

/// How a page names a function: by its module in the suite, else by its crate.
fn reference(source: &Source, function: &str) -> String {
    if let Some(file) = source.path.strip_prefix(SUITE) {
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
        return format!("{}::{function}", module.replace('/', "::"));
    }
    let in_crate = CRATES
        .into_iter()
        .find(|(_, folder)| source.path.starts_with(folder));
    let (name, _) = in_crate.expect("every source is below a crate's folder");
    format!("{name}: {function}")
}

#[test]
fn every_case_of_a_fault_stands_under_its_row() {
    FAULTS.assert_holds(&suite());
}

#[test]
fn every_attack_that_is_listed_has_its_test_and_every_test_its_row() {
    ATTACKS.assert_holds(&below(&[
        "tests/suite/tests/suite/access",
        "tests/suite/tests/suite/attacks",
    ]));
}

#[test]
fn every_situation_from_practice_has_its_test_and_every_test_its_row() {
    CASES.assert_holds(&everything());
}

#[test]
fn what_a_page_names_of_the_suite_is_registered_there() {
    for page in [FAULTS, ATTACKS, CASES] {
        for source in suite() {
            for function in functions(&source).filter(|function| page.is_test(function)) {
                let mentions = source.text.matches(function).count();
                assert!(mentions > 1, "{}: {function} is in no list of cases", source.path);
            }
        }
    }
}
