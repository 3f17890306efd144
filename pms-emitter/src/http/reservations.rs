//! `/reservations`: list and make, show, change and delete one.

use super::{
    Api, ApiError,
    reservation_query::{self, LIST},
    reservation_writes as writes,
    write::{CALLER, read_object, read_optional_object},
};
use crate::domain::{
    guest_command::take_property, refusal::Refusal, reservation::Reservation, reservation_command::Command,
};
use api::{
    Request, Response,
    etag::{self, Preconditions},
    reply,
};
use contract::ReservationId;
use jiff::civil::Date;
use kit::{
    idempotency::{Key, Slot},
    listing,
};
use std::sync::Arc;

/// `GET /reservations`
pub async fn list(api: Api, request: Request) -> Result<Response, ApiError> {
    let query = LIST.parse(request.query())?;
    let rows = api
        .store
        .reservations(&reservation_query::filter(&query)?, &query)
        .await?;
    let show = |(reservation, business_date): (Reservation, Date)| reservation.view(business_date);
    Ok(listing::answer(&request.answers, &query, rows, show).await?)
}

/// `POST /reservations`
pub async fn create(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let key = Key::of(&request)?;
    let (raw, mut body) = read_object(&mut request).await?;
    let property_id = take_property(&mut body)?;
    let context = Arc::clone(&request.context);
    let (worker, told, held) = (api.clone(), Arc::clone(&context), Arc::clone(&raw));
    let work = |slot| async move {
        let _held = held;
        writes::make(&worker, &told, property_id, body, slot).await
    };
    Ok(api.idempotency.run(CALLER, &context, key, &raw, work).await?)
}

/// `GET /reservations/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, ApiError> {
    let id: ReservationId = request.id("id")?;
    let found = api.store.for_reads().reservation(id).await?;
    let (reservation, property) = found.ok_or(Refusal::NotFound)?;
    let response = reply::ok(&reservation.view(property.business_date));
    // What follows from the date is no part of the version, so a client that has only the version has not seen it.
    let computed = reservation.computed_status(property.business_date);
    let beside = (computed != reservation.status().as_str()).then_some(computed);
    Ok(etag::with_etag_beside(response, reservation.version, beside))
}

/// `PUT /reservations/{id}` and `PATCH /reservations/{id}`: both merge.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let id = request.id("id")?;
    let expected = Preconditions::from_headers(&request.headers)?;
    let (_held, body) = read_object(&mut request).await?;
    let slot = Slot::without_key();
    let answer = writes::change(&api, &request.context, id, Command::Merge(body), expected, slot).await?;
    Ok(answer.into_response())
}

/// `DELETE /reservations/{id}`
pub async fn delete(api: Api, request: Request) -> Result<Response, ApiError> {
    let id = request.id("id")?;
    let expected = Preconditions::from_headers(&request.headers)?;
    let slot = Slot::without_key();
    let answer = writes::change(&api, &request.context, id, Command::Delete, expected, slot).await?;
    Ok(answer.into_response())
}

/// `POST /reservations/{id}/{transition}`, which may have no body.
pub async fn transition(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let id: ReservationId = request.id("id")?;
    let key = Key::of(&request)?;
    let expected = Preconditions::from_headers(&request.headers)?;
    let (raw, body) = read_optional_object(&mut request).await?;
    let command = Command::named(request.param("transition"), body).ok_or(Refusal::NotFound)?;
    let context = Arc::clone(&request.context);
    let (worker, told, held) = (api.clone(), Arc::clone(&context), Arc::clone(&raw));
    let work = |slot| async move {
        let _held = held;
        writes::change(&worker, &told, id, command, expected, slot).await
    };
    Ok(api.idempotency.run(CALLER, &context, key, &raw, work).await?)
}
