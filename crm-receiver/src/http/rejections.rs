//! `GET /rejections`: a sample of the deliveries that were refused, newest first.

use super::{Api, malformed, typed};
use crate::store::RejectionFilter;
use api::{
    Request, Response,
    list::{ListSpec, SortField},
};
use contract::{Problem, UnixMillis};
use kit::{database_problem, listing};

const REJECTIONS: ListSpec = ListSpec {
    name: "rejections",
    filters: &["source", "cause", "from", "to"],
    sorts: &[SortField::int("at")],
    descending_by_default: true,
    updated_since: false,
};

/// `GET /rejections`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&REJECTIONS)?;
    let instant = |name| {
        let text = query.filter(name);
        text.map(|text| UnixMillis::parse_rfc3339(text).ok_or_else(|| malformed(name)))
            .transpose()
    };
    let cause = query.filter("cause").map(str::to_owned);
    // A cause is a name of ours; MySQL compares nothing but ASCII with it.
    if cause.as_ref().is_some_and(|cause| !cause.is_ascii()) {
        return Err(malformed("cause"));
    }
    let filter = RejectionFilter {
        source: typed(&query, "source")?,
        cause,
        from: instant("from")?,
        to: instant("to")?,
        scope: request.caller.scope.clone(),
    };
    let rows = api.store.rejections(&filter, &query).await;
    let rows = rows.map_err(database_problem)?;
    listing::answer(&request.answers, &query, rows, |row| row).await
}
