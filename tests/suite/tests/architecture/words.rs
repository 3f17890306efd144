//! The words that docs/glossary.md gives up: none of them comes back in an identifier, a comment or a document.

use std::fs;
use std::path::Path;

use super::source::root;

/// The page with the table, which may name its own words.
const GLOSSARY: &str = "docs/glossary.md";
/// The heading above the table.
const HEADING: &str = "## Words that were given up";
/// What kinds of files are read.
const ENDINGS: [&str; 8] = [".rs", ".md", ".sql", ".toml", ".sh", ".yaml", ".c", ".lua"];
/// Folders of which every file is read: what stands there mostly has no ending.
const WHOLE: [&str; 3] = ["docker/", ".ci/", ".cargo/"];

/// A line of the table: the words in a row that are given up, and longer rows of words in which they may stay.
#[derive(Debug, PartialEq, Eq)]
struct GivenUp {
    words: Vec<String>,
    exceptions: Vec<Vec<String>>,
}

/// The words of a text in lower case, each with its line. An identifier is as many words as it has parts.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut before = ' ';
        for letter in line.chars() {
            if letter.is_alphabetic() {
                let begins = !before.is_alphabetic() || (before.is_lowercase() && letter.is_uppercase());
                if begins {
                    words.push((index + 1, String::new()));
                }
                let (_, word) = words.last_mut().unwrap();
                word.extend(letter.to_lowercase());
            }
            before = letter;
        }
    }
    words
}

fn row(text: &str) -> Vec<String> {
    words(text).into_iter().map(|(_, word)| word).collect()
}

/// Reads the table. An exception is what stands between backticks in the last column and has the words in it.
fn given_up(glossary: &str) -> Vec<GivenUp> {
    let (_, table) = glossary.split_once(HEADING).unwrap();
    let lines = table.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let read = cells.filter(|cells| cells[0] != "word").map(|cells| {
        let words = row(cells[0]);
        let quoted = cells[2].split('`').skip(1).step_by(2).map(row);
        let exceptions = quoted.filter(|row| holds(row, &words)).collect();
        GivenUp { words, exceptions }
    });
    read.collect()
}

fn holds(long: &[String], short: &[String]) -> bool {
    long.windows(short.len()).any(|part| part == short)
}

/// Where a text uses a word that is given up: the line and the word.
fn found(text: &str, table: &[GivenUp]) -> Vec<(usize, String)> {
    let text = words(text);
    let is_at = |at: usize, row: &[String]| {
        text.get(at..at + row.len())
            .is_some_and(|part| part.iter().map(|(_, word)| word).eq(row))
    };
    let mut found = Vec::new();
    for (at, (line, _)) in text.iter().enumerate() {
        for GivenUp { words, exceptions } in table.iter().filter(|entry| is_at(at, &entry.words)) {
            let may_stay = exceptions.iter().any(|longer| {
                let earliest = at.saturating_sub(longer.len() - words.len());
                (earliest..=at).any(|begin| is_at(begin, longer))
            });
            if !may_stay {
                found.push((*line, words.join(" ")));
            }
        }
    }
    found
}

/// Calls `check` with the path and the text of each file of these kinds.
fn each_file(folder: &Path, check: &mut impl FnMut(&str, &str)) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let from_root = path.strip_prefix(root()).unwrap().to_string_lossy();
        let from_root = from_root.replace('\\', "/");
        if path.is_dir() {
            // What the build makes, and what tools keep, is not source.
            let kept = from_root.starts_with('.') && !WHOLE.contains(&format!("{from_root}/").as_str());
            if from_root != "target" && !kept {
                each_file(&path, check);
            }
        } else if is_read(&from_root) {
            check(&from_root, &fs::read_to_string(&path).unwrap());
        }
    }
}

fn is_read(path: &str) -> bool {
    ENDINGS.iter().any(|ending| path.ends_with(ending)) || WHOLE.iter().any(|folder| path.starts_with(folder))
}

#[test]
fn no_word_that_was_given_up_comes_back() {
    let table = given_up(&fs::read_to_string(root().join(GLOSSARY)).unwrap());
    assert!(
        table.len() > 10,
        "the table of {GLOSSARY} was not read: {table:?}"
    );
    let (mut all, mut read) = (Vec::new(), Vec::new());
    each_file(root(), &mut |path, text| {
        read.push(path.to_owned());
        if path != GLOSSARY {
            let here = found(text, &table);
            all.extend(here.iter().map(|(line, word)| format!("{path}:{line}: {word}")));
        }
    });
    for path in [
        "README.md",
        ".ci/run",
        ".cargo/config.toml",
        "docker/Dockerfile",
        "docker/skeleton.sh",
    ] {
        assert!(read.iter().any(|read| read == path), "{path} was not read");
    }
    assert!(
        all.is_empty(),
        "given up by {GLOSSARY}, which says what to write instead:\n{}",
        all.join("\n")
    );
}

#[test]
fn a_word_is_found_in_every_spelling_and_not_inside_of_another() {
    let table = given_up(&format!(
        "{HEADING}\n\n| word | instead | except |\n|---|---|---|\n| zig zag | bend | `two zig zags`: no |\n\
         | zog | zig | `the zog_code`: a code |\n"
    ));
    let lines = |text: &str| {
        found(text, &table)
            .iter()
            .map(|(line, _)| *line)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines("zog\na ZOG_COUNT\nfn is_zog()\nstruct AnyZog;"),
        [1, 2, 3, 4]
    );
    assert_eq!(lines("/// a zig\n/// zag, and ZigZag"), [1, 2]);
    assert!(lines("zogs, herzog, zigzag, zig zags").is_empty());
    assert_eq!(lines("the zog code\nTheZogCode\nzog code"), [3]);
}
