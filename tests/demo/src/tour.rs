//! Where to look once the demo has loaded everything: three commands about a real profile, and the addresses.

use anyhow::{Context, Result};
use harness::client::Client;
use harness::expected::Totals;
use harness::loader::Loaded;
use harness::people::Cast;
use std::collections::HashMap;

/// Commands about the guest with the most stays who has an e-mail address. `emitter` and `receiver` are the addresses
/// of the APIs.
///
/// # Errors
/// When the receiver does not know that guest.
pub async fn where_to_look(
    emitter: &str,
    receiver: &str,
    cast: &Cast,
    loaded: &Loaded,
    expected: &HashMap<String, Totals>,
) -> Result<String> {
    let guests = cast.people.iter().zip(&loaded.guests);
    let with_mail = guests.filter_map(|(person, guest)| Some((person.email.as_ref()?, guest.as_ref()?)));
    let regular = with_mail.max_by_key(|(_, guest)| expected.get(*guest).map(|totals| totals.stays));
    let (email, guest) = regular.context("nobody has an e-mail address")?;
    let profile = profile_of(&Client::new(receiver), email)
        .await?
        .context("the guest has no profile")?;
    Ok(format!(
        "Look at the guest with the most stays, at what became of them, and change them:
  curl {receiver}/guest-profiles/{profile}
  curl '{receiver}/events?entity_id={guest}'
  curl -X PUT {emitter}/guests/{guest} -H 'Content-Type: application/json' -d '{{\"vip_level\":1}}'
Everything: {receiver}/guest-profiles  {receiver}/events  {emitter}/reservations  {emitter}/guests/webhook/status"
    ))
}

/// The profile of an address: an empty page says nothing while there are more.
async fn profile_of(receiver: &Client, email: &str) -> Result<Option<String>> {
    let mut cursor = String::new();
    loop {
        let page = receiver
            .get(&format!("/guest-profiles?email={email}{cursor}"))
            .await?;
        let pagination = &page.body["pagination"];
        if let Some(profile) = page.body["data"][0]["profile_id"].as_str() {
            return Ok(Some(profile.to_owned()));
        }
        match pagination["next_cursor"].as_str() {
            Some(next) if pagination["has_more"] == true => cursor = format!("&cursor={next}"),
            _ => return Ok(None),
        }
    }
}
