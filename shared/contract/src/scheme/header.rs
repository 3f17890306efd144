//! The headers that prove a delivery, read strictly: each at most once and well-formed, then the time, then the number of
//! signatures.
//!
//! All of it is done before the body is read and before any HMAC is computed, so that a flood of invalid requests stays
//! cheap.

use super::{
    Algorithm, Cause, Place, Scheme, Unauthentic,
    definition::{AttemptTime, SignatureRule, TimeForm},
};
use crate::{
    clock::{UnixMillis, UnixSeconds},
    id::IdempotencyKey,
};
use std::{fmt, sync::Arc};

/// The most signatures that a header may carry; a rotation needs two.
pub const SIGNATURES_MAX: usize = 8;
/// The most of them that are Ed25519, which cost a computation for each pair of a signature and a key.
const ED25519_SIGNATURES_MAX: usize = 2;
/// The longest id that nobody signed, in bytes; a longer one is as good as none.
const UNSIGNED_ID_LEN_MAX: usize = 255;

/// The headers of a scheme, each seen once and well-formed.
#[derive(Clone, Debug)]
pub struct SignedHeaders {
    scheme: Arc<Scheme>,
    named: Named,
    proof: Raw,
}

/// Headers whose time lies within the allowed skew, and whose signatures can be compared.
#[derive(Clone, Debug)]
pub struct TimelyHeaders {
    pub(super) scheme: Arc<Scheme>,
    pub(super) named: Named,
    pub(super) proof: Proof,
}

/// What the headers say beside the proof.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// As far as it is signed.
    pub id: Option<IdempotencyKey>,
    /// An id that is not signed: of a delivery, or with a token, which vouches for it.
    pub unsigned_id: Option<String>,
    pub event_type: Option<String>,
    pub timestamp: Option<Stamp>,
}

/// The time of an attempt, as it is written and as it is meant.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub text: String,
    pub at: UnixSeconds,
}

#[derive(Clone, Debug)]
pub(super) enum Proof {
    Signatures(Vec<(Algorithm, Vec<u8>)>),
    Token(Raw),
}

/// The bytes of a header that may be a token: its `Debug` shows nothing of them.
#[derive(Clone)]
pub(super) struct Raw(pub Vec<u8>);

impl fmt::Debug for Raw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Raw(..)")
    }
}

/// The values of a scheme's headers, each at the place of its name.
struct Lines<'a, 's> {
    scheme: &'s Scheme,
    values: Vec<Option<&'a [u8]>>,
}

impl Scheme {
    /// Reads its headers from the request's header lines. Names are compared without regard to case; values are raw bytes.
    ///
    /// # Errors
    /// Which of the rules is broken.
    pub fn read<'a>(
        self: &Arc<Self>,
        lines: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<SignedHeaders, Unauthentic> {
        let lines = Lines::read(self, lines)?;
        let proof = match &self.definition.signature {
            Some(rule) => lines.of(&rule.header),
            None => Some(lines.token()?),
        };
        let proof = proof.ok_or(Cause::MissingHeader)?;
        let (id, unsigned_id) = lines.id()?;
        let timestamp = self.definition.timestamp.as_ref();
        let timestamp = timestamp.map(|place| lines.timestamp(place)).transpose()?;
        Ok(SignedHeaders {
            named: Named {
                id,
                unsigned_id,
                event_type: lines.event_type(),
                timestamp,
            },
            proof: Raw(proof.to_vec()),
            scheme: Arc::clone(self),
        })
    }
}

impl<'a, 's> Lines<'a, 's> {
    fn read(
        scheme: &'s Scheme,
        lines: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, Unauthentic> {
        let mut values = vec![None; scheme.headers.len()];
        for (name, value) in lines {
            let mut names = scheme.headers.iter();
            let Some(place) = names.position(|wanted| name.eq_ignore_ascii_case(wanted)) else {
                continue;
            };
            if values[place].replace(value).is_some() {
                return Err(Cause::RepeatedHeader.into());
            }
        }
        Ok(Self { scheme, values })
    }

    fn of(&self, header: &str) -> Option<&'a [u8]> {
        let mut names = self.scheme.headers.iter();
        let place = names.position(|name| name.eq_ignore_ascii_case(header))?;
        self.values[place]
    }

    /// The one token, in whichever of its headers it stands.
    fn token(&self) -> Result<&'a [u8], Unauthentic> {
        let places = self.scheme.definition.token.iter();
        let mut tokens =
            places.filter_map(|part| self.of(&part.header)?.strip_prefix(part.prefix.as_bytes()));
        match (tokens.next(), tokens.next()) {
            (Some(token), None) => Ok(token),
            (None, _) => Err(Cause::MissingHeader.into()),
            (Some(_), Some(_)) => Err(Cause::RepeatedHeader.into()),
        }
    }

    /// The id that is signed, or the text of one that is not.
    fn id(&self) -> Result<(Option<IdempotencyKey>, Option<String>), Unauthentic> {
        let definition = &self.scheme.definition;
        let Some(Place::Header(name)) = &definition.id else {
            return Ok((None, None));
        };
        let text = self.of(name).map(|value| std::str::from_utf8(value).ok());
        if definition.signs_id() {
            let text = text.ok_or(Cause::MissingHeader)?;
            let id = text.and_then(|text| text.parse().ok());
            return Ok((Some(id.ok_or(Cause::MalformedId)?), None));
        }
        let visible = |text: &&str| {
            (1..=UNSIGNED_ID_LEN_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        Ok((None, text.flatten().filter(visible).map(ToOwned::to_owned)))
    }

    fn event_type(&self) -> Option<String> {
        let mut places = self.scheme.definition.types.iter();
        places.find_map(|place| match place {
            Place::Header(name) => String::from_utf8(self.of(name)?.to_vec()).ok(),
            Place::Pointer(_) => None,
        })
    }

    fn timestamp(&self, place: &AttemptTime) -> Result<Stamp, Unauthentic> {
        let value = self.of(&place.header).ok_or(Cause::MissingHeader)?;
        let value = match place.separator {
            Some(separator) => {
                let mut parts = split(value, Some(separator))
                    .take(SIGNATURES_MAX + 1)
                    .filter_map(|part| part.strip_prefix(place.prefix.as_bytes()));
                match (parts.next(), parts.next()) {
                    (Some(part), None) => part,
                    _ => return Err(Cause::MalformedTimestamp.into()),
                }
            }
            None => value,
        };
        let text = std::str::from_utf8(value).map_err(|_| Cause::MalformedTimestamp)?;
        let at = instant(text, place.form).ok_or(Cause::MalformedTimestamp)?;
        Ok(Stamp {
            text: text.to_owned(),
            at,
        })
    }
}

impl SignedHeaders {
    /// Checks the time against our clock, where the headers have one, as strictly ahead as behind; exactly the limit is
    /// inside. Then reads the signatures.
    ///
    /// # Errors
    /// Which of the rules is broken.
    pub fn within(self, now: UnixSeconds, max_skew_seconds: u32) -> Result<TimelyHeaders, Unauthentic> {
        let skew = self.named.timestamp.as_ref().map(|stamp| stamp.at.0 - now.0);
        let unauthentic = |cause| Unauthentic {
            cause,
            skew_seconds: skew,
        };
        if skew.is_some_and(|skew| skew.unsigned_abs() > u64::from(max_skew_seconds)) {
            return Err(unauthentic(Cause::Skew));
        }
        let proof = match &self.scheme.definition.signature {
            Some(rule) => Proof::Signatures(signatures(&self.proof.0, rule).map_err(unauthentic)?),
            None => Proof::Token(self.proof),
        };
        Ok(TimelyHeaders {
            named: self.named,
            proof,
            scheme: self.scheme,
        })
    }
}

fn split(value: &[u8], separator: Option<char>) -> impl Iterator<Item = &[u8]> {
    value.split(move |byte| separator.is_some_and(|separator| char::from(*byte) == separator))
}

/// `^[1-9][0-9]{9}$` for seconds: no sign, no blank, no leading zero, so that one instant has one spelling. Likewise 13 digits
/// for milliseconds.
fn instant(text: &str, form: TimeForm) -> Option<UnixSeconds> {
    let digits =
        |len| text.len() == len && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(10) {
        return text.parse().ok().map(UnixSeconds);
    }
    if form == TimeForm::Seconds {
        return None;
    }
    if digits(13) {
        return text.parse().ok().map(|millis| UnixMillis(millis).seconds());
    }
    UnixMillis::parse_rfc3339(text).map(UnixMillis::seconds)
}

fn signatures(raw: &[u8], rule: &SignatureRule) -> Result<Vec<(Algorithm, Vec<u8>)>, Cause> {
    let parts = || split(raw, rule.separator);
    if parts().take(SIGNATURES_MAX + 1).count() > SIGNATURES_MAX {
        return Err(Cause::TooManySignatures);
    }
    let found: Vec<_> = parts().filter_map(|part| signature(part, rule)).collect();
    let of_ed25519 = found
        .iter()
        .filter(|(algorithm, _)| *algorithm == Algorithm::Ed25519);
    if of_ed25519.count() > ED25519_SIGNATURES_MAX {
        Err(Cause::TooManySignatures)
    } else if found.is_empty() {
        Err(Cause::MalformedSignature)
    } else {
        Ok(found)
    }
}

/// A signature of a known version, of exactly its length.
fn signature(part: &[u8], rule: &SignatureRule) -> Option<(Algorithm, Vec<u8>)> {
    rule.versions.iter().find_map(|version| {
        let encoded = part.strip_prefix(version.prefix.as_bytes())?;
        let bytes = rule.encoding.decode(encoded)?;
        (bytes.len() == version.algorithm.len()).then_some((version.algorithm, bytes))
    })
}
