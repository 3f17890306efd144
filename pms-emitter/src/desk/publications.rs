//! What the desk does with events that others publish: takes one, or many at once.

use super::{
    AnswerToKeep, Desk, DeskError,
    decide_again::{Decision, decide_again},
};
use crate::domain::{
    origin::Origin,
    publication::{ContentDigest, Publication, SALT_LEN},
    refusal::Refusal,
};
use crate::store::{NewPublication, PublicationWrite, Published};
use contract::{EventId, PropertyId, UnixMillis};
use kit::idempotency::Answer;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Events of a batch that are checked before others get their turn on the thread.
const CHECKED_AT_ONCE: usize = 32;

/// What a publisher is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The event's id.
    pub id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Whose it is.
    pub property_id: PropertyId,
    /// Whether it was there already.
    pub duplicate: bool,
}

/// An event of a batch on its way, with its place in the request.
struct Checked {
    place: usize,
    receipt: Receipt,
    content: ContentDigest,
    new: NewPublication,
}

impl Desk {
    /// Takes an event.
    ///
    /// # Errors
    /// What the rules refuse; `EventIdReused`; `Overtaken` when its type is changed again and again; those of the database.
    pub async fn publish(
        &self,
        origin: &Origin,
        publication: Publication,
        answer: &AnswerToKeep<Receipt>,
    ) -> Result<Answer, DeskError> {
        self.check_property(&origin.scope, &publication.property_id)
            .await?;
        let now = self.clock.now();
        let (mut receipt, content, new) = self.new_publication(origin, &publication, now);
        let made = answer.of(&receipt);
        let published = decide_again(|| async {
            let known = self.known_type(&publication.event_type).await?;
            publication.check(known.schema.as_ref())?;
            let write = PublicationWrite {
                publication: NewPublication {
                    revision: known.revision.clone(),
                    ..new.clone()
                },
                slot: answer.slot.clone(),
                answer: made.clone(),
            };
            let Some(published) = self.store.publish(write).await? else {
                self.catalogue.forget(&publication.event_type);
                return Ok(Decision::Overtaken);
            };
            Ok(Decision::Stands(published))
        });
        match published.await? {
            Published::New => Ok(made),
            Published::There(digest) => {
                check_repeat(&content, digest.as_deref())?;
                receipt.duplicate = true;
                let repeated = answer.of(&receipt);
                self.store
                    .keep_answer(answer.slot.clone(), repeated.clone())
                    .await?;
                Ok(repeated)
            }
        }
    }

    /// Takes many events in one transaction; what becomes of each, in their order. Those that are refused hold up no others.
    ///
    /// # Errors
    /// `Overtaken` when their types are changed again and again; those of the database.
    pub async fn publish_all(
        &self,
        origin: &Origin,
        publications: Vec<Result<Publication, Refusal>>,
    ) -> Result<Vec<Result<Receipt, Refusal>>, DeskError> {
        decide_again(|| async {
            let (checked, mut results) = self.check_all(origin, &publications).await?;
            let (first, repeats) = without_repeats(&checked);
            let written: Arc<[NewPublication]> = first.iter().map(|one| one.new.clone()).collect();
            let Some(published) = self.store.publish_all(written).await? else {
                for one in &checked {
                    self.catalogue.forget(&one.receipt.event_type);
                }
                return Ok(Decision::Overtaken);
            };
            let mut there: HashMap<&EventId, (&Checked, Published)> = HashMap::new();
            for (one, published) in first.into_iter().zip(published) {
                results[one.place] = match &published {
                    Published::New => Some(Ok(one.receipt.clone())),
                    Published::There(digest) => Some(one.repeat_of(digest.as_deref())),
                };
                there.insert(&one.receipt.id, (one, published));
            }
            for one in repeats {
                let digest = match there.get(&one.receipt.id) {
                    Some((first, Published::New)) => Some(first.new.digest.clone()),
                    Some((_, Published::There(digest))) => digest.clone(),
                    None => None,
                };
                results[one.place] = Some(one.repeat_of(digest.as_deref()));
            }
            let results = results
                .into_iter()
                .map(|one| one.unwrap_or(Err(Refusal::NotFound)));
            Ok(Decision::Stands(results.collect()))
        })
        .await
    }

    /// Those that the rules allow, and what becomes of the others.
    async fn check_all(
        &self,
        origin: &Origin,
        publications: &[Result<Publication, Refusal>],
    ) -> Result<(Vec<Checked>, Vec<Option<Result<Receipt, Refusal>>>), DeskError> {
        let now = self.clock.now();
        let (mut checked, mut results) = (Vec::new(), Vec::new());
        for (place, publication) in publications.iter().enumerate() {
            if place % CHECKED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            let of_one = match publication {
                Ok(publication) => self.check_one(origin, publication, place, now).await,
                Err(refusal) => Err(refusal.clone().into()),
            };
            results.push(match of_one {
                Ok(one) => {
                    checked.push(one);
                    None
                }
                Err(DeskError::Refused(refusal)) => Some(Err(refusal)),
                Err(other) => return Err(other),
            });
        }
        Ok((checked, results))
    }

    async fn check_one(
        &self,
        origin: &Origin,
        publication: &Publication,
        place: usize,
        now: UnixMillis,
    ) -> Result<Checked, DeskError> {
        self.check_property(&origin.scope, &publication.property_id)
            .await?;
        let known = self.known_type(&publication.event_type).await?;
        publication.check(known.schema.as_ref())?;
        let (receipt, content, new) = self.new_publication(origin, publication, now);
        Ok(Checked {
            place,
            receipt,
            content,
            new: NewPublication {
                revision: known.revision.clone(),
                ..new
            },
        })
    }

    fn new_publication(
        &self,
        origin: &Origin,
        publication: &Publication,
        now: UnixMillis,
    ) -> (Receipt, ContentDigest, NewPublication) {
        let id = publication.id.clone().unwrap_or_else(|| self.new_id());
        let content = publication.content();
        let mut salt = [0; SALT_LEN];
        self.vault.entropy.fill(&mut salt);
        let correlation_id = origin.correlation_id.to_string();
        let new = NewPublication {
            body: publication.body(&id, now, &correlation_id),
            id: id.clone(),
            event_type: publication.event_type.clone(),
            revision: None,
            property_id: publication.property_id.clone(),
            subject: publication
                .subject
                .as_ref()
                .map(|subject| (subject.kind.as_str().to_owned(), subject.id.to_string())),
            correlation_id,
            traceparent: origin.traceparent.clone(),
            committed_at: now,
            digest: content.salted(salt),
        };
        let receipt = Receipt {
            id,
            event_type: publication.event_type.clone(),
            property_id: publication.property_id.clone(),
            duplicate: false,
        };
        (receipt, content, new)
    }
}

impl Checked {
    /// What it is beside an event of the same id and this digest.
    fn repeat_of(&self, digest: Option<&[u8]>) -> Result<Receipt, Refusal> {
        check_repeat(&self.content, digest)?;
        Ok(Receipt {
            duplicate: true,
            ..self.receipt.clone()
        })
    }
}

/// The first of each id, and the others.
fn without_repeats(checked: &[Checked]) -> (Vec<&Checked>, Vec<&Checked>) {
    let mut seen = std::collections::HashSet::new();
    checked.iter().partition(|one| seen.insert(&one.receipt.id))
}

/// Refuses an event whose id another one has. One without a digest was not published.
fn check_repeat(content: &ContentDigest, digest: Option<&[u8]>) -> Result<(), Refusal> {
    if digest.is_some_and(|digest| content.is_of(digest)) {
        Ok(())
    } else {
        Err(Refusal::EventIdReused)
    }
}
