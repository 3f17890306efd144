//! The values that cross to and from SQL: integers, text, bytes, NULL.
//!
//! No floats, dates or decimals: time is Unix milliseconds, money is minor units, so both engines keep both exactly.

use std::fmt;

use contract::clock::{UnixMillis, UnixSeconds};

/// The parameters of one statement, one for each `?`.
pub type Params = Vec<Value>;

/// One parameter or one column. `Debug` shows its kind and size, never its content.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// A BIGINT.
    Int(i64),
    /// UTF-8 text.
    Text(String),
    /// A blob; on MySQL also text, since its protocol does not distinguish them.
    Bytes(Vec<u8>),
    /// An unsigned number over `i64::MAX`: the statement that gets it is refused.
    TooLarge,
}

impl Value {
    /// The number of bytes of its content; 0 for a number.
    pub(super) fn content_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Null | Self::Int(_) | Self::TooLarge => 0,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("Null"),
            Self::Int(_) => out.write_str("Int"),
            Self::Text(text) => write!(out, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(out, "Bytes({})", bytes.len()),
            Self::TooLarge => out.write_str("TooLarge"),
        }
    }
}

macro_rules! from_small_integers {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Int(i64::from(number))
            }
        }
        impl From<&$kind> for Value {
            fn from(number: &$kind) -> Self {
                Self::from(*number)
            }
        }
    )*};
}
from_small_integers!(bool, u8, u16, u32, i8, i16, i32, i64, UnixMillis);

macro_rules! from_large_integers {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                i64::try_from(number).map_or(Self::TooLarge, Self::Int)
            }
        }
        impl From<&$kind> for Value {
            fn from(number: &$kind) -> Self {
                Self::from(*number)
            }
        }
    )*};
}
from_large_integers!(u64, usize);

macro_rules! from_texts {
    ($($kind:ty => $variant:ident by $convert:ident),*) => {$(
        impl From<$kind> for Value {
            fn from(content: $kind) -> Self {
                Self::$variant(content.$convert())
            }
        }
    )*};
}
from_texts!(
    String => Text by into, &String => Text by clone, &str => Text by to_owned, &&str => Text by to_string,
    Vec<u8> => Bytes by into, &Vec<u8> => Bytes by clone, &[u8] => Bytes by to_vec
);

impl From<UnixSeconds> for Value {
    fn from(at: UnixSeconds) -> Self {
        Self::Int(at.0)
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(content: Option<T>) -> Self {
        content.map_or(Self::Null, Into::into)
    }
}

macro_rules! from_borrowed_options {
    ($($kind:ty),*) => {$(
        impl From<&Option<$kind>> for Value {
            fn from(content: &Option<$kind>) -> Self {
                content.as_ref().map_or(Self::Null, Into::into)
            }
        }
    )*};
}
from_borrowed_options!(String, Vec<u8>, bool, u32, i64, UnixMillis);

/// The parameters of one statement: `params![id, &name, version]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::Value::from($value)),*]
    };
}

/// What a column can be read as. A NULL is only ever an `Option`.
pub trait FromValue: Sized {
    /// What it is called in an error.
    const EXPECTED: &'static str;

    /// The value, or None when it is another kind or out of range.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! to_integers {
    ($($kind:ty),*) => {$(
        impl FromValue for $kind {
            const EXPECTED: &'static str = stringify!($kind);

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
to_integers!(i64, i32, i16, u64, u32, u16, u8, usize);

impl FromValue for bool {
    const EXPECTED: &'static str = "bool";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromValue for UnixMillis {
    const EXPECTED: &'static str = "time";

    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(UnixMillis)
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Bytes(bytes) => Self::from_utf8(bytes.clone()).ok(),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    const EXPECTED: &'static str = "blob";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone().into_bytes()),
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_take_what_stores_have_at_hand() {
        let (name, missing) = ("Ana".to_owned(), None::<String>);
        let values = params![
            1_u32,
            &name,
            missing.as_deref(),
            &missing,
            true,
            UnixMillis(5),
            &[1_u8, 2],
            u64::MAX
        ];
        let expected = [
            Value::Int(1),
            Value::Text("Ana".to_owned()),
            Value::Null,
            Value::Null,
            Value::Int(1),
            Value::Int(5),
            Value::Bytes(vec![1, 2]),
            Value::TooLarge,
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn a_null_and_a_number_out_of_range_are_refused_not_guessed() {
        assert_eq!(i64::from_value(&Value::Null), None);
        assert_eq!(Option::<i64>::from_value(&Value::Null), Some(None));
        assert_eq!(u32::from_value(&Value::Int(-1)), None);
        assert_eq!(bool::from_value(&Value::Int(2)), None);
        assert_eq!(String::from_value(&Value::Bytes(vec![0xff])), None);
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(
            format!("{:?}", params!["secret", vec![1_u8]]),
            "[Text(6 bytes), Bytes(1)]"
        );
    }
}
