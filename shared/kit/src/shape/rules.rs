//! The findings of the `validator` crate as `errors[]` of a problem.
//!
//! The crate's own serialisation repeats the offending value. Here only the field's place, the rule's code and the
//! rule's own bounds are taken.

use contract::FieldError;
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// The name that the crate uses for errors of the whole object.
const WHOLE: &str = "__all__";

/// Every broken rule with its JSON pointer, in the order of the pointers.
pub fn field_errors(errors: &ValidationErrors) -> Vec<FieldError> {
    let mut found = Vec::new();
    collect("", errors, &mut found);
    found.sort_by(|one, other| (&one.pointer, &one.code).cmp(&(&other.pointer, &other.code)));
    found
}

fn collect(at: &str, errors: &ValidationErrors, found: &mut Vec<FieldError>) {
    for (field, kind) in errors.errors() {
        let pointer = if field == WHOLE {
            at.to_owned()
        } else {
            format!("{at}/{field}")
        };
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(&pointer, inner, found),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(&format!("{pointer}/{index}"), inner, found);
                }
            }
            ValidationErrorsKind::Field(broken) => {
                found.extend(
                    broken
                        .iter()
                        .map(|rule| FieldError::new(&pointer, rule.code.as_ref(), message(rule))),
                );
            }
        }
    }
}

/// The rule's own message if it has one, else our message for the crate's rule.
fn message(rule: &ValidationError) -> String {
    if let Some(words) = &rule.message {
        return words.clone().into_owned();
    }
    let bound = |name: &str| rule.params.get(name).map(ToString::to_string);
    let bounds = match (bound("min"), bound("max"), bound("equal")) {
        (_, _, Some(equal)) => format!(" exactly {equal}"),
        (Some(min), Some(max), _) => format!(" {min} to {max}"),
        (Some(min), None, _) => format!(" at least {min}"),
        (None, Some(max), _) => format!(" at most {max}"),
        (None, None, None) => String::new(),
    };
    match rule.code.as_ref() {
        "required" => "it is required".to_owned(),
        "length" => format!("its length must be{bounds}"),
        "range" => format!("it must be{bounds}"),
        _ => "it is not valid".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use validator::Validate;

    #[derive(Validate)]
    #[validate(schema(function = "whole", skip_on_field_errors = false))]
    struct Guest {
        #[validate(length(min = 1, max = 5))]
        last_name: String,
        #[validate(email)]
        email: String,
        #[validate(nested)]
        documents: Vec<Document>,
        #[validate(nested)]
        address: Document,
    }

    #[derive(Validate)]
    struct Document {
        #[validate(length(equal = 2), custom(function = "upper"))]
        country: String,
    }

    fn upper(text: &str) -> Result<(), ValidationError> {
        let rule = ValidationError::new("upper_case").with_message("it must be in upper case".into());
        if text.chars().all(char::is_uppercase) {
            Ok(())
        } else {
            Err(rule)
        }
    }

    fn whole(guest: &Guest) -> Result<(), ValidationError> {
        if guest.documents.is_empty() {
            Ok(())
        } else {
            Err(ValidationError::new("too_much"))
        }
    }

    #[test]
    fn every_broken_rule_has_its_place_and_no_value() {
        let document = |country: &str| Document {
            country: country.to_owned(),
        };
        let guest = Guest {
            last_name: "canary".to_owned(),
            email: "canary".to_owned(),
            documents: vec![document("PT"), document("canary")],
            address: document("pt"),
        };
        let errors = field_errors(&guest.validate().unwrap_err());
        let found: Vec<_> = errors
            .iter()
            .map(|e| (e.pointer.as_str(), e.code.as_str(), e.message.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("", "too_much", "it is not valid"),
                ("/address/country", "upper_case", "it must be in upper case"),
                ("/documents/1/country", "length", "its length must be exactly 2"),
                ("/documents/1/country", "upper_case", "it must be in upper case"),
                ("/email", "email", "it is not valid"),
                ("/last_name", "length", "its length must be 1 to 5"),
            ]
        );
        assert!(!format!("{errors:?}").contains("canary"));
    }
}
