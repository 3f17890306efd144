//! A migration file as its statements.

/// The statements of a file: ended by `;`, without comment lines. Quoted text may hold a `;`.
pub(super) fn statements(file: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut quote = None;
    for line in file.lines().filter(|line| !line.trim_start().starts_with("--")) {
        for letter in line.chars() {
            match (letter, quote) {
                (';', None) => {
                    statements.push(String::new());
                    continue;
                }
                ('\'' | '"' | '`', None) => quote = Some(letter),
                (_, Some(open)) if open == letter => quote = None,
                _ => {}
            }
            statements.last_mut().expect("never empty").push(letter);
        }
        statements.last_mut().expect("never empty").push('\n');
    }
    statements
        .into_iter()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_falls_into_its_statements() {
        let file =
            "-- why; not\nCREATE TABLE a (x TEXT DEFAULT ';');\n\n  -- more\nCREATE INDEX b\n  ON a (x);\n";
        assert_eq!(
            statements(file),
            [
                "CREATE TABLE a (x TEXT DEFAULT ';')",
                "CREATE INDEX b\n  ON a (x)"
            ]
        );
    }
}
