//! Checks what a request says about a guest, and makes the guest's details of it.

mod reading;

use super::{
    body::{filled, free_text},
    email::Email,
    guest::{Address, Consent, ExternalId, GuestDetails, Loyalty},
    guest_document::{DigestKey, Document},
    guest_input::{AddressInput, ConsentInput, DocumentInput, GuestInput},
    language::language_tag,
    property::Property,
};
use contract::{FieldError, UnixMillis};

/// The longest type of a document, in characters.
const DOCUMENT_TYPE_LEN_MAX: usize = 32;

/// The longest preference, in characters.
const PREFERENCE_LEN_MAX: usize = 200;

/// What a command needs besides the guest itself.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// The guest's property.
    pub property: &'a Property,
    /// The instant of the change.
    pub now: UnixMillis,
    /// The key of document digests.
    pub digest_key: &'a DigestKey,
}

/// Details that passed every rule, with warnings about what was not taken as it stands.
pub type Judged = (GuestDetails, Vec<FieldError>);

/// Makes details of what a client sent, or says everything that is wrong with it. `consent` is what was said before.
pub fn judge(
    input: GuestInput,
    situation: Situation<'_>,
    consent: &[Consent],
) -> Result<Judged, Vec<FieldError>> {
    let mut rules = Rules {
        situation,
        consent,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let details = rules.details(input);
    if rules.errors.is_empty() {
        Ok((details, rules.warnings))
    } else {
        Err(rules.errors)
    }
}

struct Rules<'a> {
    situation: Situation<'a>,
    consent: &'a [Consent],
    errors: Vec<FieldError>,
    warnings: Vec<FieldError>,
}

impl Rules<'_> {
    fn details(&mut self, input: GuestInput) -> GuestDetails {
        let email = self.read("/email", "not_an_email", input.email, Email::parse);
        let phone = self.phone(input.phone);
        let language = self.read("/language", "not_a_language_tag", input.language, language_tag);
        let nationality = self.country("/nationality", input.nationality);
        let date_of_birth = self.birth(input.date_of_birth);
        let documents: Vec<Document> = input
            .documents
            .into_iter()
            .enumerate()
            .map(|(index, document)| self.document(index, document))
            .collect();
        let external_ids: Vec<ExternalId> = input
            .external_ids
            .into_iter()
            .map(|id| ExternalId {
                system: id.system,
                value: id.value,
            })
            .collect();
        let loyalty: Vec<Loyalty> = input
            .loyalty
            .into_iter()
            .map(|membership| Loyalty {
                programme: membership.programme,
                number: membership.number,
                level: membership.level,
            })
            .collect();
        self.refuse_repeated("external_ids", &external_ids, |one, other| one == other);
        self.refuse_repeated("documents", &documents, |one, other| one.digest == other.digest);
        self.refuse_repeated("loyalty", &loyalty, |one, other| {
            (&one.programme, &one.number) == (&other.programme, &other.number)
        });
        GuestDetails {
            external_ids,
            title: input.title,
            first_name: input.first_name,
            last_name: input.last_name.unwrap_or_default(),
            second_last_name: input.second_last_name,
            email,
            phone,
            date_of_birth,
            nationality,
            address: input.address.and_then(|address| self.address(address)),
            language,
            documents,
            loyalty,
            vip_level: input.vip_level,
            blacklisted: input.blacklisted,
            consent: self.consent(input.consent),
            preferences: self.preferences(input.preferences),
            notes: input.notes,
        }
    }

    fn address(&mut self, input: AddressInput) -> Option<Address> {
        let address = Address {
            line1: input.line1,
            line2: input.line2,
            city: input.city,
            region: input.region,
            postal_code: input.postal_code,
            country: self.country("/address/country", input.country),
        };
        (address != Address::default()).then_some(address)
    }

    fn document(&mut self, index: usize, input: DocumentInput) -> Document {
        let at = |field: &str| format!("/documents/{index}/{field}");
        if !is_document_type(&input.kind) {
            let message = "is not made of lower-case letters, digits and _";
            self.refuse(at("type"), "invalid", message);
        }
        if !input.number.chars().any(char::is_alphanumeric) {
            self.refuse(at("number"), "invalid", "has neither a letter nor a digit");
        }
        let issuing_country = self.country(&at("issuing_country"), input.issuing_country);
        let expires_on = self.expiry(&at("expires_on"), input.expires_on);
        Document {
            digest: self
                .situation
                .digest_key
                .digest(&input.kind, issuing_country.as_ref(), &input.number),
            kind: input.kind,
            issuing_country,
            number: input.number,
            expires_on,
        }
    }

    fn consent(&mut self, given: Vec<ConsentInput>) -> Vec<Consent> {
        let mut consent: Vec<Consent> = Vec::with_capacity(given.len());
        for (index, input) in given.into_iter().enumerate() {
            if input.at.is_some_and(|at| at > self.situation.now) {
                self.refuse(format!("/consent/{index}/at"), "in_future", "lies in the future");
            }
            if consent.iter().any(|earlier| earlier.channel == input.channel) {
                self.refuse(format!("/consent/{index}"), "duplicate", "stands here twice");
            }
            let same = |before: &&Consent| {
                before.channel == input.channel
                    && before.status == input.status
                    && before.source == input.source
            };
            let before = self.consent.iter().find(same).map(|before| before.at);
            consent.push(Consent {
                at: input.at.or(before).unwrap_or(self.situation.now),
                channel: input.channel,
                status: input.status,
                source: input.source,
            });
        }
        consent.sort_by_key(|item| item.channel);
        consent
    }

    fn preferences(&mut self, preferences: Vec<String>) -> Vec<String> {
        for (index, text) in preferences.iter().enumerate() {
            let pointer = format!("/preferences/{index}");
            if filled(text).is_err() {
                self.refuse(pointer, "required", "there is nothing to be seen in it");
            } else if text.chars().count() > PREFERENCE_LEN_MAX {
                self.refuse(pointer, "length", "is too long");
            } else if free_text(text).is_err() {
                self.refuse(pointer, "control_character", "has a control character");
            }
        }
        preferences
    }

    fn refuse_repeated<T>(&mut self, list: &str, items: &[T], same: impl Fn(&T, &T) -> bool) {
        for (index, item) in items.iter().enumerate() {
            if items[..index].iter().any(|earlier| same(earlier, item)) {
                self.refuse(format!("/{list}/{index}"), "duplicate", "stands here twice");
            }
        }
    }

    fn refuse(&mut self, pointer: impl Into<String>, code: &str, message: &str) {
        self.errors.push(FieldError::new(pointer, code, message));
    }
}

fn is_document_type(text: &str) -> bool {
    (1..=DOCUMENT_TYPE_LEN_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
