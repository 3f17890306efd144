//! The `.env` file: what it says stands behind the environment, and never enters it.
//!
//! Setting variables of a running process races with every thread that reads one, so the values go to the command
//! line's parser as defaults instead.

use super::ConfigError;
use std::{collections::HashMap, fs::File, io::Read};

/// The name of a variable and its value.
pub(super) type Variables = HashMap<String, String>;

/// Reads the nearest `.env` from the working folder upwards. Without one there are no variables.
///
/// # Errors
/// When the file or a line of it cannot be read.
pub(super) fn read() -> Result<Variables, ConfigError> {
    match dotenvy::dotenv_iter() {
        Ok(lines) => collect::<File>(lines),
        Err(error) if error.not_found() => Ok(Variables::new()),
        Err(error) => Err(explain(&error)),
    }
}

fn collect<R: Read>(lines: dotenvy::Iter<R>) -> Result<Variables, ConfigError> {
    let mut variables = Variables::new();
    for line in lines {
        let (name, value) = line.map_err(|error| explain(&error))?;
        variables.entry(name).or_insert(value);
    }
    variables.retain(|_, value| !value.is_empty());
    Ok(variables)
}

/// The error itself quotes the line, which may hold a secret.
fn explain(error: &dotenvy::Error) -> ConfigError {
    let problem = match error {
        dotenvy::Error::LineParse(_, column) => format!("a line cannot be read near its column {column}"),
        _ => "the file cannot be read".to_owned(),
    };
    ConfigError::new(".env", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Variables, ConfigError> {
        collect(dotenvy::from_read_iter(text.as_bytes()))
    }

    #[test]
    fn a_file_is_read_and_its_first_word_stands() {
        let read = parse("# a comment\nA=1\nexport B=\"two words\"\nA=2\nEMPTY=\n").unwrap();
        let expected =
            [("A", "1"), ("B", "two words")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read, Variables::from(expected));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_not_quoted() {
        let error = parse("SECRET='hunter2").unwrap_err().to_string();
        assert!(
            error.starts_with(".env: a line cannot be read") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
