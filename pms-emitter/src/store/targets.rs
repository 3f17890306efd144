//! Where deliveries of an endpoint go, and what signs them: what a claim reads in its own transaction, so that nothing is sent to an
//! address that is no longer wanted.

use super::{
    Store,
    clock_skew::is_paused,
    endpoint_secrets::{self, EndpointSecret},
    rate_window, shared_breaker,
    webhooks::read_settings,
};
use crate::domain::endpoint::EndpointSettings;
use contract::{UnixMillis, id::EndpointId};
use db::{DbError, InList, Row, Statement, StatementResult};
use std::collections::HashMap;

/// Where an endpoint's deliveries go at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The URL.
    pub url: String,
    /// What was chosen for it; none: the environment's.
    pub settings: Option<EndpointSettings>,
    /// The version of the endpoint that this is.
    pub version: u64,
    /// Its secrets in the tables, the newest first.
    pub secrets: Vec<EndpointSecret>,
    /// Its headers, encrypted.
    pub headers: Option<Vec<u8>>,
}

impl Store {
    /// Where deliveries of an endpoint would go, paused or stopped as it may be; none without an address.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn target(&self, endpoint: EndpointId) -> Result<Option<Target>, DbError> {
        let read = self.reads.read("target", move |tx| {
            let asked = targets([endpoint.as_str()]);
            Box::pin(async move {
                let answers = tx.run(&asked).await.all()?;
                let secrets = Secrets::of(&answers[1])?;
                let row = answers[0].row();
                row.map_or(Ok(None), |row| read_address(row, &secrets))
            })
        });
        read.await
    }
}

/// Asks for the rows of endpoints, and for their secrets.
pub(super) fn targets<'e>(endpoints: impl IntoIterator<Item = &'e str>) -> [Statement; 2] {
    let list = InList::of(endpoints);
    let rows = format!(
        "SELECT p.id, p.url, p.settings, p.version, p.disabled_reason, p.paused_until, p.paused_at, p.paused,
             p.deleted_at, p.probe_owner, {}, {}, h.sealed AS headers
         FROM endpoints p LEFT JOIN endpoint_headers h ON h.id = p.id WHERE p.id IN {list}",
        shared_breaker::COLUMNS,
        rate_window::COLUMNS
    );
    let secrets = endpoint_secrets::of_endpoints(&list);
    [Statement::query(rows, list.into_params()), secrets]
}

/// The rows of secrets, by their endpoints.
pub(super) struct Secrets<'a>(HashMap<String, Vec<&'a Row>>);

impl<'a> Secrets<'a> {
    /// The second answer to [`targets`].
    pub(super) fn of(answer: &'a StatementResult) -> Result<Self, DbError> {
        let mut secrets: HashMap<String, Vec<&Row>> = HashMap::new();
        for row in &answer.rows {
            secrets.entry(row.get("endpoint_id")?).or_default().push(row);
        }
        Ok(Self(secrets))
    }
}

/// Where deliveries of the endpoint of a row go; none when nothing goes there now.
pub(super) fn read_target(
    row: &Row,
    secrets: &Secrets<'_>,
    now: UnixMillis,
) -> Result<Option<Target>, DbError> {
    if takes_none(row, now)? {
        return Ok(None);
    }
    read_address(row, secrets)
}

/// The same, whether anything goes there now or not.
fn read_address(row: &Row, secrets: &Secrets<'_>) -> Result<Option<Target>, DbError> {
    let Some(url) = row.get("url")? else {
        return Ok(None);
    };
    let settings: Option<String> = row.get("settings")?;
    let secrets = secrets.0.get(&row.get::<String>("id")?);
    let secrets = secrets.into_iter().flatten().copied();
    Ok(Some(Target {
        url,
        settings: settings.as_deref().map(read_settings).transpose()?,
        version: row.get("version")?,
        secrets: secrets
            .map(endpoint_secrets::read_secret)
            .collect::<Result<_, _>>()?,
        headers: row.get("headers")?,
    }))
}

/// Whether nothing is sent to an endpoint now, by its row.
pub(super) fn takes_none(row: &Row, now: UnixMillis) -> Result<bool, DbError> {
    let (url, disabled): (Option<String>, Option<String>) = (row.get("url")?, row.get("disabled_reason")?);
    let deleted_at: Option<UnixMillis> = row.get("deleted_at")?;
    Ok(url.is_none()
        || disabled.is_some()
        || deleted_at.is_some()
        || row.get("paused")?
        || is_paused(row.get("paused_until")?, row.get("paused_at")?, now))
}
