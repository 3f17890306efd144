//! The Prometheus text format 0.0.4: of each family its HELP, its TYPE and its samples.

use super::value::Observed;
use std::fmt::{Display, Write};

/// Appends the two lines that begin a family.
pub(super) fn family(text: &mut String, name: &str, help: &str, kind: &str) {
    line(
        text,
        format_args!(
            "# HELP {name} {}",
            escaped(help, &[('\\', "\\\\"), ('\n', "\\n")])
        ),
    );
    line(text, format_args!("# TYPE {name} {kind}"));
}

/// Appends a sample; `labels` as [`labels`] writes them.
pub(super) fn sample(text: &mut String, name: &str, labels: &str, value: impl Display) {
    if labels.is_empty() {
        line(text, format_args!("{name} {value}"));
    } else {
        line(text, format_args!("{name}{{{labels}}} {value}"));
    }
}

/// Appends the samples of a histogram.
pub(super) fn histogram(text: &mut String, name: &str, labels: &str, observed: &Observed) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut all = 0;
    for (end, up_to) in &observed.up_to {
        let end = if end.is_finite() {
            end.to_string()
        } else {
            "+Inf".to_owned()
        };
        let labels = format!("{labels}{comma}le=\"{end}\"");
        sample(text, &format!("{name}_bucket"), &labels, up_to);
        all = *up_to;
    }
    sample(text, &format!("{name}_sum"), labels, observed.sum);
    sample(text, &format!("{name}_count"), labels, all);
}

/// Labels as they stand between braces.
pub(super) fn labels(labels: &[(&str, &str)]) -> String {
    let escapes = [('\\', "\\\\"), ('"', "\\\""), ('\n', "\\n")];
    let written: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value, &escapes)))
        .collect();
    written.join(",")
}

fn escaped(text: &str, escapes: &[(char, &str)]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match escapes.iter().find(|(special, _)| *special == char) {
            Some((_, escape)) => escaped.push_str(escape),
            None => escaped.push(char),
        }
    }
    escaped
}

fn line(text: &mut String, line: impl Display) {
    writeln!(text, "{line}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_escaped() {
        assert_eq!(labels(&[("a", "x\"y\\z\n"), ("b", "")]), r#"a="x\"y\\z\n",b="""#);
        let mut text = String::new();
        family(&mut text, "f", "one\ntwo\\", "gauge");
        assert_eq!(text, "# HELP f one\\ntwo\\\\\n# TYPE f gauge\n");
    }
}
