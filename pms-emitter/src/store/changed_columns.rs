//! An UPDATE that writes what differs and nothing else.
//!
//! SQLite writes every index whose column an UPDATE names, whether its value differs or not.

use db::Params;

/// The SET clause and the parameters of those columns whose values differ. The versions always do.
pub(super) fn changed_columns(names: &[&str], before: &Params, after: Params) -> (String, Params) {
    debug_assert!(
        names.len() == before.len() && names.len() == after.len(),
        "a value for each"
    );
    let differ = names.iter().zip(before).zip(after);
    let differ = differ.filter(|((_, before), after)| *before != after);
    let (set, params): (Vec<_>, Params) = differ
        .map(|((name, _), after)| (format!("{name} = ?"), after))
        .unzip();
    (set.join(", "), params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use db::params;

    #[test]
    fn a16_only_what_differs_is_set() {
        let names = ["version", "email", "body", "deleted_at"];
        let before = params![1, "a@b.pt", "{}", Option::<i64>::None];
        let (set, params) = changed_columns(&names, &before, params![2, "a@b.pt", "[]", Option::<i64>::None]);
        assert_eq!(set, "version = ?, body = ?");
        assert!(params == params![2, "[]"]);
    }
}
