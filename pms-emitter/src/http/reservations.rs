//! `/reservations`: list and make, show, change and delete one.

use super::{
    Api,
    reservation_query::{self, LIST},
    write::{expected_version, once, origin, read_object, read_optional_object},
};
use crate::{
    desk::{AnswerToKeep, DatedReservation},
    domain::{
        guest_command::take_property, refusal::Refusal, reservation::Reservation,
        reservation_command::Command,
    },
};
use api::{Request, Response, etag, reply};
use contract::{Problem, ReservationId};
use jiff::civil::Date;
use kit::{
    database_problem,
    idempotency::{Answer, Key, Slot},
    listing,
};
use std::sync::Arc;

/// `GET /reservations`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let filter = reservation_query::filter(&query, &request.caller.scope)?;
    let rows = api.desk.store.reservations(&filter, &query).await;
    let rows = rows.map_err(database_problem)?;
    let show = |(reservation, business_date): (Reservation, Date)| reservation.view(business_date);
    listing::answer(&request.answers, &query, rows, show).await
}

/// `POST /reservations`
pub async fn create(api: Api, mut request: Request) -> Result<Response, Problem> {
    let key = Key::of(&request)?;
    let (raw, mut body) = read_object(&mut request).await?;
    let property_id = take_property(&mut body)?;
    let (desk, base_path, origin) = (api.desk.clone(), Arc::clone(&api.base_path), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, move |made: &DatedReservation| created(&base_path, made));
        desk.book(&origin, &property_id, &body, &answer).await
    };
    once(&api, &request.caller, &request.context, key, raw, work).await
}

/// `GET /reservations/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let id: ReservationId = request.id("id")?;
    let found = api.desk.reservation(&request.caller.scope, id).await?;
    // What follows from the date is no part of the version, so a client that has only the version has not seen it.
    let beside = found.computed_status_beside();
    let response = reply::ok(&found.view());
    Ok(etag::with_etag_beside(
        response,
        found.reservation.version,
        beside,
    ))
}

/// `PUT /reservations/{id}` and `PATCH /reservations/{id}`: both merge.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, Problem> {
    let id: ReservationId = request.id("id")?;
    let expected = expected_version(&request)?;
    let (_held, body) = read_object(&mut request).await?;
    let answer = AnswerToKeep::new(Slot::without_key(), changed);
    let command = Command::Merge(body);
    let answer = api
        .desk
        .change_reservation(&origin(&request), &id, &command, &expected, &answer)
        .await?;
    Ok(answer.into_response())
}

/// `DELETE /reservations/{id}`
pub async fn delete(api: Api, request: Request) -> Result<Response, Problem> {
    let id: ReservationId = request.id("id")?;
    let expected = expected_version(&request)?;
    let answer = AnswerToKeep::nothing();
    api.desk
        .change_reservation(&origin(&request), &id, &Command::Delete, &expected, &answer)
        .await?;
    Ok(reply::no_content())
}

/// `POST /reservations/{id}/{transition}`, which may have no body.
pub async fn transition(api: Api, mut request: Request) -> Result<Response, Problem> {
    let id: ReservationId = request.id("id")?;
    let key = Key::of(&request)?;
    let expected = expected_version(&request)?;
    let (raw, body) = read_optional_object(&mut request).await?;
    let command = Command::named(request.param("transition"), body).ok_or(Refusal::NotFound)?;
    let (desk, origin) = (api.desk.clone(), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, changed);
        desk.change_reservation(&origin, &id, &command, &expected, &answer)
            .await
    };
    once(&api, &request.caller, &request.context, key, raw, work).await
}

fn created(base_path: &str, made: &DatedReservation) -> Answer {
    let reservation = &made.reservation;
    let location = format!("{base_path}/reservations/{}", reservation.id);
    about(
        Answer::created(location, reservation.version, &made.view()),
        reservation,
    )
}

fn changed(changed: &DatedReservation) -> Answer {
    let reservation = &changed.reservation;
    about(Answer::ok(reservation.version, &changed.view()), reservation)
}

fn about(answer: Answer, reservation: &Reservation) -> Answer {
    answer
        .about("reservation", reservation.id.as_str())
        .in_part(reservation.property_id.as_str())
}
