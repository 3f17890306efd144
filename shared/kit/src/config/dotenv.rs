//! The `.env` file: the environment takes precedence over it, and is never changed by it.
//!
//! Only the file in the working folder is read. A line is text: nothing in it is expanded. An ambiguous line is
//! refused; the message names file and line, never the content, which may be a secret.
//!
//! Setting variables of a running process races with every thread that reads one, so the values go to the command
//! line's parser as defaults instead.

use super::ConfigError;
use db::files::{self, Tightened};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The file, in the working folder.
const FILE: &str = ".env";
/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Set when the file was open to others: logged later, since its settings configure the log.
static TIGHTENED: Mutex<Option<Tightened>> = Mutex::new(None);

/// Logs, once, that the file was open to others and is no longer.
pub(crate) fn warn_of_env_file() {
    let tightened = TIGHTENED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(tightened) = tightened {
        tightened.warn();
    }
}

/// The variables of a file, by name.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// As messages name it.
    file: String,
    by_name: HashMap<String, Variable>,
}

#[derive(Debug)]
struct Variable {
    value: String,
    line: usize,
    /// An earlier line that gives another value.
    differs_from: Option<usize>,
}

impl Variables {
    /// The value of a variable in the file.
    ///
    /// # Errors
    /// When two lines give different values.
    pub fn get(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.by_name.get(name) {
            None => Ok(None),
            Some(Variable {
                value,
                differs_from: None,
                ..
            }) => Ok(Some(value)),
            Some(Variable {
                line,
                differs_from: Some(other),
                ..
            }) => {
                let problem = format!("lines {other} and {line} of {} give it two values", self.file);
                Err(ConfigError::new(name, problem))
            }
        }
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Variables {
    fn from(variables: [(&str, &str); N]) -> Self {
        let mut all = Self::default();
        for (line, (name, value)) in variables.into_iter().enumerate() {
            all.set(name, value.to_owned(), line + 1);
        }
        all
    }
}

impl Variables {
    pub(super) fn set(&mut self, name: &str, value: String, line: usize) {
        let earlier = self.by_name.get(name);
        let differs_from = earlier.and_then(|earlier| {
            let differs = earlier.value != value;
            earlier.differs_from.or_else(|| differs.then_some(earlier.line))
        });
        let variable = Variable {
            value,
            line,
            differs_from,
        };
        self.by_name.insert(name.to_owned(), variable);
    }
}

/// Reads the `.env` of the working folder. Without one there are no variables.
///
/// # Errors
/// When the file or a line of it cannot be read, or the file is open to others and cannot be closed to them.
pub(super) fn read() -> Result<Variables, ConfigError> {
    let path = std::env::current_dir().map_or_else(|_| FILE.into(), |folder| folder.join(FILE));
    read_file(&path)
}

fn read_file(path: &Path) -> Result<Variables, ConfigError> {
    let file = path.display().to_string();
    let contents = match files::read(path, FILE_BYTES_MAX) {
        Ok(Some(contents)) => contents,
        Ok(None) => return Ok(Variables::default()),
        Err(refused) => return Err(ConfigError::new(file, refused.problem())),
    };
    if let Some(tightened) = contents.tightened {
        *TIGHTENED.lock().unwrap_or_else(PoisonError::into_inner) = Some(tightened);
    }
    let text = decode(&contents.bytes).map_err(|problem| ConfigError::new(&file, problem))?;
    let mut variables = parse(text).map_err(|BadLine { line, reason }| {
        ConfigError::new(&file, format!("line {line} cannot be read: {reason}"))
    })?;
    variables.file = file;
    Ok(variables)
}

/// The text after its byte order mark.
fn decode(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("it is UTF-16; it must be UTF-8".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("line {line} cannot be read: it is not UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[derive(Debug, PartialEq, Eq)]
struct BadLine {
    line: usize,
    reason: &'static str,
}

fn parse(text: &str) -> Result<Variables, BadLine> {
    let mut variables = Variables::default();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match assignment(line) {
            Ok(None) => {}
            Ok(Some((name, value))) => variables.set(name, value, index + 1),
            Err(reason) => {
                return Err(BadLine {
                    line: index + 1,
                    reason,
                });
            }
        }
    }
    Ok(variables)
}

/// `NAME=value`, with `export` before it or not. None for an empty line and a comment.
fn assignment(line: &str) -> Result<Option<(&str, String)>, &'static str> {
    if line.contains(|character: char| character.is_control() && character != '\t') {
        return Err("it holds a control character");
    }
    let line = line.trim_matches(BLANK);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(BLANK) => rest.trim_start_matches(BLANK),
        _ => line,
    };
    let (name, value) = line.split_once('=').ok_or("it is no NAME=value")?;
    let name = name.trim_end_matches(BLANK);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(plain) {
        return Err("before = stands no name of a variable");
    }
    Ok(Some((name, read_value(value)?)))
}

/// White space between the words of a line.
const BLANK: [char; 2] = [' ', '\t'];

fn read_value(text: &str) -> Result<String, &'static str> {
    let value = text.trim_start_matches(BLANK);
    match value.chars().next() {
        None => Ok(String::new()),
        Some('\'') => {
            let (inside, after) = value[1..].split_once('\'').ok_or(UNCLOSED)?;
            ends_after(after)?;
            Ok(inside.to_owned())
        }
        Some('"') => double_quoted(&value[1..]),
        // `NAME= # a comment` is empty; `NAME=#secret` may be either.
        Some('#') if value.len() < text.len() => Ok(String::new()),
        Some('#') => Err("a value that begins with # must stand in quotes"),
        Some(_) => Ok(before_comment(value).trim_end_matches(BLANK).to_owned()),
    }
}

const UNCLOSED: &str = "its quote is not closed on the same line";

/// Between double quotes a backslash may only precede a quote or another backslash: some programs would expand more,
/// others nothing.
fn double_quoted(text: &str) -> Result<String, &'static str> {
    let mut inside = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next().ok_or(UNCLOSED)? {
            '"' => break,
            '\\' => match rest.next().ok_or(UNCLOSED)? {
                escaped @ ('"' | '\\') => inside.push(escaped),
                _ => {
                    return Err(
                        "in double quotes a backslash stands only before \" or \\: use single quotes",
                    );
                }
            },
            character => inside.push(character),
        }
    }
    ends_after(rest.as_str())?;
    Ok(inside)
}

/// Only a comment may follow the closing quote.
fn ends_after(text: &str) -> Result<(), &'static str> {
    let rest = text.trim_start_matches(BLANK);
    if rest.is_empty() || rest.starts_with('#') && rest.len() < text.len() {
        Ok(())
    } else {
        Err("something follows the closing quote")
    }
}

/// Without quotes, a # after a blank begins a comment, as everywhere else; any other is a part of the value.
fn before_comment(value: &str) -> &str {
    let begins = value
        .match_indices('#')
        .find(|(at, _)| value[..*at].ends_with(BLANK));
    begins.map_or(value, |(at, _)| &value[..at])
}

#[cfg(test)]
mod tests;
