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
use std::collections::{HashMap, HashSet};
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

/// An event of a batch that the rules allow, with its place in the request.
struct Checked {
    place: usize,
    receipt: Receipt,
    content: ContentDigest,
    digest: Vec<u8>,
}

/// The events of a batch on their way.
#[derive(Default)]
struct Batch {
    /// What becomes of each of the request, as far as it is known.
    results: Vec<Option<Result<Receipt, Refusal>>>,
    /// The first of each id.
    first: Vec<Checked>,
    /// What is written of them, in the same order.
    new: Vec<NewPublication>,
    /// Further ones of an id.
    repeats: Vec<Checked>,
    ids: HashSet<EventId>,
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
            let mut batch = self.check_all(origin, &publications).await?;
            let written: Arc<[NewPublication]> = std::mem::take(&mut batch.new).into();
            let Some(published) = self.store.publish_all(written).await? else {
                for one in &batch.first {
                    self.catalogue.forget(&one.receipt.event_type);
                }
                return Ok(Decision::Overtaken);
            };
            Ok(Decision::Stands(batch.results(published)))
        })
        .await
    }

    /// Those that the rules allow, and what becomes of the others.
    async fn check_all(
        &self,
        origin: &Origin,
        publications: &[Result<Publication, Refusal>],
    ) -> Result<Batch, DeskError> {
        let now = self.clock.now();
        let mut batch = Batch::default();
        for (place, publication) in publications.iter().enumerate() {
            if place % CHECKED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            let of_one = match publication {
                Ok(publication) => self.check_one(origin, publication, now).await,
                Err(refusal) => Err(refusal.clone().into()),
            };
            match of_one {
                Ok((receipt, content, new)) => batch.push(receipt, content, new),
                Err(DeskError::Refused(refusal)) => batch.results.push(Some(Err(refusal))),
                Err(other) => return Err(other),
            }
        }
        Ok(batch)
    }

    async fn check_one(
        &self,
        origin: &Origin,
        publication: &Publication,
        now: UnixMillis,
    ) -> Result<(Receipt, ContentDigest, NewPublication), DeskError> {
        self.check_property(&origin.scope, &publication.property_id)
            .await?;
        let known = self.known_type(&publication.event_type).await?;
        publication.check(known.schema.as_ref())?;
        let (receipt, content, new) = self.new_publication(origin, publication, now);
        let new = NewPublication {
            revision: known.revision.clone(),
            ..new
        };
        Ok((receipt, content, new))
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

impl Batch {
    fn push(&mut self, receipt: Receipt, content: ContentDigest, new: NewPublication) {
        let is_first = self.ids.insert(receipt.id.clone());
        let checked = Checked {
            place: self.results.len(),
            receipt,
            content,
            digest: new.digest.clone(),
        };
        self.results.push(None);
        if is_first {
            self.first.push(checked);
            self.new.push(new);
        } else {
            self.repeats.push(checked);
        }
    }

    /// What becomes of each, once it is known of the first ones.
    fn results(self, published: Vec<Published>) -> Vec<Result<Receipt, Refusal>> {
        let mut results = self.results;
        let mut there: HashMap<EventId, Option<Vec<u8>>> = HashMap::new();
        for (one, published) in self.first.into_iter().zip(published) {
            let id = one.receipt.id.clone();
            match published {
                Published::New => {
                    there.insert(id, Some(one.digest));
                    results[one.place] = Some(Ok(one.receipt));
                }
                Published::There(digest) => {
                    results[one.place] = Some(one.as_repeat(digest.as_deref()));
                    there.insert(id, digest);
                }
            }
        }
        for one in self.repeats {
            let digest = there.get(&one.receipt.id).and_then(Option::as_deref);
            results[one.place] = Some(one.as_repeat(digest));
        }
        let known = results
            .into_iter()
            .map(|one| one.expect("each was refused or pushed"));
        known.collect()
    }
}

impl Checked {
    /// What it is beside an event of the same id and this digest.
    fn as_repeat(&self, digest: Option<&[u8]>) -> Result<Receipt, Refusal> {
        check_repeat(&self.content, digest)?;
        Ok(Receipt {
            duplicate: true,
            ..self.receipt.clone()
        })
    }
}

/// Refuses an event whose id another one has. One without a digest was not published.
fn check_repeat(content: &ContentDigest, digest: Option<&[u8]>) -> Result<(), Refusal> {
    if digest.is_some_and(|digest| content.is_of(digest)) {
        Ok(())
    } else {
        Err(Refusal::EventIdReused)
    }
}
