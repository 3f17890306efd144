//! Runs a plan through the REST API, like any client.
//!
//! The hotels live side by side; within one, a business date is opened by its night audit, its stages follow one
//! another, and the tasks of a stage run at once, up to a bound. A refusal is the service's right: it is counted by
//! its reason, and the later steps of that booking are skipped and counted too. Anything else stops the load.

use crate::bodies;
use crate::bookings::Booking;
use crate::client::{Answer, Client, Unanswered};
use crate::people::Cast;
use crate::plan::{Command, HotelPlan, Stage, Task};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, future, stream};
use http::StatusCode;
use jiff::ToSpan;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Tasks of one stage that run at once, for each hotel.
const TASKS_AT_ONCE: usize = 16;

/// The result of a plan.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// For each booking whether the service took it.
    pub accepted: Vec<bool>,
    /// For each person their id at the PMS, if the service took them.
    pub guests: Vec<Option<String>>,
    /// Bookings by the reason for which a step of theirs was refused.
    pub refused: BTreeMap<String, u64>,
    /// Steps of refused bookings that could not be tried any more.
    pub skipped: u64,
}

/// Why a load stopped.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The service has no answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The service answered what no rule explains.
    #[error("{step} was answered with {status}: {body}")]
    Unexpected {
        /// What was asked.
        step: String,
        /// The status.
        status: StatusCode,
        /// The body, which is a problem and carries no personal data.
        body: Value,
    },
}

/// Carries `plans` out, which were made of `bookings` and `cast`. `progress` is called after each step with how many of the
/// plan's calls it stands for.
///
/// # Errors
/// When the service stays silent, or answers what no rule explains.
pub fn load<'a>(
    client: &'a Client,
    bookings: &'a [Booking],
    cast: &'a Cast,
    plans: &'a [HotelPlan],
    progress: &'a (dyn Fn(u64) + Sync),
) -> BoxFuture<'a, Result<Loaded, LoadError>> {
    Box::pin(load_hotels(client, bookings, cast, plans, progress))
}

async fn load_hotels(
    client: &Client,
    bookings: &[Booking],
    cast: &Cast,
    plans: &[HotelPlan],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Loaded, LoadError> {
    let hotels: Vec<_> = plans
        .iter()
        .map(|plan| {
            let hotel = HotelLoad {
                client,
                cast,
                plan,
                progress,
                rows: bookings.iter().map(|booking| booking.row).collect(),
                guests: BTreeMap::new(),
                reservations: BTreeMap::new(),
                refused: BTreeMap::new(),
                skipped: 0,
            };
            hotel.run()
        })
        .collect();
    let mut loaded = Loaded {
        accepted: vec![false; bookings.len()],
        guests: vec![None; cast.people.len()],
        ..Loaded::default()
    };
    for hotel in future::try_join_all(hotels).await? {
        for booking in hotel.reservations.into_keys() {
            loaded.accepted[booking] = true;
        }
        for (person, id) in hotel.guests {
            loaded.guests[person] = Some(id);
        }
        for reason in hotel.refused.into_values() {
            *loaded.refused.entry(reason).or_default() += 1;
        }
        loaded.skipped += hotel.skipped;
    }
    Ok(loaded)
}

/// One hotel's plan in progress.
struct HotelLoad<'a> {
    client: &'a Client,
    cast: &'a Cast,
    plan: &'a HotelPlan,
    progress: &'a (dyn Fn(u64) + Sync),
    /// The row of each booking.
    rows: Vec<u32>,
    /// The ids of the people whom the service took.
    guests: BTreeMap<usize, String>,
    /// The ids of the bookings that the service took.
    reservations: BTreeMap<usize, String>,
    /// The bookings of which it refused a step, with the reason.
    refused: BTreeMap<usize, String>,
    skipped: u64,
}

/// The result of a task: the id that it made, or why it ended early, and how many of its steps were not tried.
struct Outcome {
    subject: usize,
    made: Option<String>,
    refused: Option<String>,
    skipped: u64,
}

impl<'a> HotelLoad<'a> {
    async fn run(mut self) -> Result<Self, LoadError> {
        let hotel = self.plan.hotel;
        let body = bodies::property(hotel, self.plan.first_day);
        let key = format!("property-{}", hotel.code());
        let answer = self.client.post("/properties", &body, &key).await?;
        expect(StatusCode::CREATED, "the property", answer)?;
        for (day, number) in self.plan.days.iter().zip(0_i64..) {
            if number > 0 {
                self.audit_the_night(number).await?;
            }
            for (stage, tasks) in day {
                let tasks: Vec<_> = tasks.iter().map(|task| self.carry_out(*stage, task)).collect();
                let outcomes = stream::iter(tasks).buffer_unordered(TASKS_AT_ONCE);
                let outcomes: Vec<Outcome> = outcomes.try_collect().await?;
                for outcome in outcomes {
                    self.remember(*stage, outcome);
                }
            }
        }
        Ok(self)
    }

    /// Opens the `number`-th day after the first, and makes sure that it is that one.
    async fn audit_the_night(&self, number: i64) -> Result<(), LoadError> {
        let code = self.plan.hotel.code();
        let path = format!("/properties/{code}/night-audit");
        let key = format!("night-{code}-{number}");
        let answer = self.client.post(&path, &json!({}), &key).await?;
        let answer = expect(StatusCode::OK, "a night audit", answer)?;
        let today = self.plan.first_day.saturating_add(number.days()).to_string();
        if answer.body["business_date"] != today.as_str() {
            return Err(unexpected("a night audit", answer));
        }
        Ok(())
    }

    fn remember(&mut self, stage: Stage, outcome: Outcome) {
        self.skipped += outcome.skipped;
        let made_here = if stage == Stage::Guests {
            &mut self.guests
        } else {
            &mut self.reservations
        };
        if let Some(id) = outcome.made {
            made_here.insert(outcome.subject, id);
        }
        // A refused guest is counted with each of their bookings.
        if let Some(reason) = outcome.refused.filter(|_| stage != Stage::Guests) {
            self.refused.insert(outcome.subject, reason);
        }
    }

    async fn carry_out(&self, stage: Stage, task: &Task) -> Result<Outcome, LoadError> {
        let mut outcome = Outcome {
            subject: task.subject,
            made: None,
            refused: None,
            skipped: 0,
        };
        if stage != Stage::Guests && self.refused.contains_key(&task.subject) {
            outcome.skipped = task.commands.len() as u64;
        }
        for (command, number) in task.commands.iter().zip(0_u64..) {
            if outcome.skipped > 0 {
                break;
            }
            match self.call(stage, task.subject, number, command).await? {
                Ok(id) => outcome.made = id,
                Err(reason) => {
                    outcome.refused = Some(reason);
                    outcome.skipped = task.commands.len() as u64 - number - 1;
                    break;
                }
            }
        }
        (self.progress)(task.commands.len() as u64);
        Ok(outcome)
    }

    /// One call; the id of what it made, or the reason why it was refused.
    async fn call(
        &self,
        stage: Stage,
        subject: usize,
        number: u64,
        command: &Command,
    ) -> Result<Result<Option<String>, String>, LoadError> {
        let client = self.client;
        let id = self.reservations.get(&subject).map_or("", String::as_str);
        let path = |verb: &str| format!("/reservations/{id}/{verb}");
        let key = |verb: &str| format!("{verb}-{}-{number}", self.rows[subject]);
        let nothing = json!({});
        let answer = match command {
            Command::Guest(body) => client.post("/guests", body, &format!("guest-{subject}")).await?,
            Command::Create(body) => {
                let Some(guest) = self.guests.get(&self.cast.of_booking[subject]) else {
                    return Ok(Err("the guest was refused".to_owned()));
                };
                let mut body = body.clone();
                body.insert("primary_guest_id".to_owned(), guest.clone().into());
                client.post("/reservations", &body.into(), &key("book")).await?
            }
            Command::Update(body) => {
                client
                    .put(&format!("/reservations/{id}"), &body.clone().into())
                    .await?
            }
            Command::Cancel(body) => client.post(&path("cancel"), body, &key("cancel")).await?,
            Command::NoShow => client.post(&path("no-show"), &nothing, &key("no-show")).await?,
            Command::CheckIn(room) => {
                let body = json!({"room_id": room});
                client.post(&path("check-in"), &body, &key("check-in")).await?
            }
            Command::CheckOut => {
                client
                    .post(&path("check-out"), &nothing, &key("check-out"))
                    .await?
            }
        };
        judge(stage, answer)
    }
}

/// Separates what was made and what the rules refused from what should not happen.
fn judge(stage: Stage, answer: Answer) -> Result<Result<Option<String>, String>, LoadError> {
    match answer.refusal() {
        None => {
            let makes = matches!(stage, Stage::Guests | Stage::Created);
            let id = answer.body["id"].as_str().map(ToOwned::to_owned);
            if makes && id.is_none() {
                return Err(unexpected(&format!("{stage:?}"), answer));
            }
            Ok(Ok(id.filter(|_| makes)))
        }
        Some(reason)
            if matches!(
                answer.status,
                StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
            ) =>
        {
            let later = !matches!(stage, Stage::Guests | Stage::Created);
            Ok(Err(if later {
                format!("{stage:?}: {reason}")
            } else {
                reason
            }))
        }
        Some(_) => Err(unexpected(&format!("{stage:?}"), answer)),
    }
}

fn expect(status: StatusCode, step: &str, answer: Answer) -> Result<Answer, LoadError> {
    if answer.status == status {
        Ok(answer)
    } else {
        Err(unexpected(step, answer))
    }
}

fn unexpected(step: &str, answer: Answer) -> LoadError {
    LoadError::Unexpected {
        step: step.to_owned(),
        status: answer.status,
        body: answer.body,
    }
}
