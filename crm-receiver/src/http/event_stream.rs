//! `GET /events/stream`: what happens to events, as server-sent events.

use super::{Api, malformed};
use crate::stream::{CLIENTS_MAX, CLIENTS_OF_ONE_MAX, Follower, Place, Resumed, StreamFilter};
use api::{Request, Response, event_stream::event_stream, list::parse_parameters};
use contract::{Problem, ProblemCode, Scope};
use kit::database_problem;

/// Filters, those of `GET /events` that a change can be asked for at once.
const FILTERS: [&str; 7] = [
    "source",
    "type",
    "status",
    "property_id",
    "entity_kind",
    "entity_id",
    "correlation_id",
];
const LAST_EVENT_ID: &str = "last-event-id";
/// The `Retry-After` when every place is taken.
const RETRY_AFTER_SECONDS: u32 = 10;

/// `GET /events/stream`
pub async fn open(api: Api, request: Request) -> Result<Response, Problem> {
    let filter = filter(request.query(), &request.caller.scope)?;
    let place = last_event_id(&request)?;
    let resumed = Follower::resume(&api.feed, &request.caller.id, place)
        .await
        .map_err(database_problem)?;
    let follower = match resumed {
        Resumed::At(follower) => follower,
        Resumed::Crowded => {
            let detail = format!("{CLIENTS_MAX} streams are open, or {CLIENTS_OF_ONE_MAX} of yours");
            return Err(Problem::new(ProblemCode::Overloaded)
                .with_detail(detail)
                .with_retry_after(RETRY_AFTER_SECONDS));
        }
        Resumed::Gone => {
            let detail = "what follows this Last-Event-ID is not kept any more: begin again without it, and read what came \
                          between from GET /events";
            return Err(Problem::new(ProblemCode::PositionGone).with_detail(detail));
        }
    };
    let (sink, response) = event_stream();
    // It ends with the answer, whose body ends it.
    tokio::spawn(follower.follow(filter, sink));
    Ok(response)
}

/// The message that the client had last. An empty header is none, as browsers send it.
fn last_event_id(request: &Request) -> Result<Option<Place>, Problem> {
    let text = request.header(LAST_EVENT_ID)?.filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse().map_err(|error| {
            Problem::new(ProblemCode::InvalidRequest).with_detail(format!("Last-Event-ID: {error}"))
        })
    })
    .transpose()
}

fn filter(query: &str, scope: &Scope) -> Result<StreamFilter, Problem> {
    let mut filter = StreamFilter {
        scope: scope.clone(),
        ..StreamFilter::default()
    };
    for (name, value) in parse_parameters(&FILTERS, query)? {
        let place = match name {
            "status" => {
                filter.status = Some(value.parse().map_err(|_| malformed(name))?);
                continue;
            }
            "source" => &mut filter.source,
            "type" => &mut filter.event_type,
            "property_id" => &mut filter.property_id,
            "entity_kind" => &mut filter.entity_kind,
            "entity_id" => &mut filter.entity_id,
            _ => &mut filter.correlation_id,
        };
        *place = Some(value);
    }
    Ok(filter)
}
