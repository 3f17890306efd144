//! R44: lists of the largest records, asked for on many connections and never read.

use super::figures::Line;
use super::{Attacked, Target, largest};
use crate::flood::Flood;
use crate::options::Options;
use crate::service::Service;
use anyhow::Result;
use api::open_files::allow_connections;
use harness::config::BASE_PATH;
use harness::database::EVENTS_ACCEPTED;
use std::time::Duration;
use tokio::time::sleep;

/// Connections that ask for the same list.
const CONNECTIONS: u32 = 2_000;
/// Records of each kind: more than a page has.
const RECORDS: usize = 250;
/// Of the longest page.
const QUERY: &str = "limit=200";

/// The lists of the emitter's two resources.
pub async fn on_emitter(emitter: &Service, options: &Options) -> Result<Attacked> {
    let client = emitter.client();
    let (guest, body) = largest::guest(&client).await?;
    largest::more(&client, "/guests", &body, RECORDS - 1).await?;
    let (_, body) = largest::reservation(&client, &guest).await?;
    largest::more(&client, "/reservations", &body, RECORDS - 1).await?;
    ask(emitter, ["/guests", "/reservations"], options.time()).await
}

/// The lists of the receiver's two.
pub async fn on_receiver(receiver: &Service, options: &Options, secret: &str) -> Result<Attacked> {
    largest::profiles(receiver, secret, RECORDS).await?;
    receiver.drain(EVENTS_ACCEPTED).await?;
    ask(receiver, ["/guest-profiles", "/events"], options.time()).await
}

/// Asks for each list on its connections, and reads none of the answers for its share of the time.
async fn ask(service: &Service, lists: [&str; 2], time: Duration) -> Result<Attacked> {
    allow_connections(CONNECTIONS);
    let mut target = Target::watch(service)?;
    for list in lists {
        let request = format!("GET {BASE_PATH}{list}?{QUERY} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let words = |_| request.clone().into_bytes();
        let flood = Flood::saying(service.address(), CONNECTIONS as usize, words).await?;
        sleep(time / 2).await;
        let tally = flood.tally().await;
        if tally.answered + tally.refused == 0 {
            target.fault(format!("{list}: nobody was answered"));
        }
        target.lines.push(Line::unread(list, tally));
    }
    target.end().await
}
