//! An answer that can be stored: status, Location, ETag and body of a 2xx.

use api::{Response, reply};
use http::{
    HeaderValue, StatusCode,
    header::{ETAG, LOCATION},
};
use serde::Serialize;
use std::fmt;

/// What a successful write answers. It is decided before the commit, stored in it and sent after it.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) entity: Option<(String, String)>,
    pub(super) part: Option<String>,
}

impl fmt::Debug for Answer {
    /// Without the body: it shows a guest.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Answer")
            .field("status", &self.status)
            .field("location", &self.location)
            .field("etag", &self.etag)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// 201 with the new resource, its location (an absolute path of at most 512 ASCII characters), and its version.
    ///
    /// # Panics
    /// When `view` has a map whose keys are not strings: a mistake in its type.
    pub fn created<T: Serialize + ?Sized>(location: String, version: u64, view: &T) -> Self {
        Self {
            status: StatusCode::CREATED,
            location: Some(location),
            ..Self::ok(version, view)
        }
    }

    /// 200 with the resource and its version.
    ///
    /// # Panics
    /// As [`Answer::created`].
    pub fn ok<T: Serialize + ?Sized>(version: u64, view: &T) -> Self {
        Self {
            status: StatusCode::OK,
            location: None,
            etag: Some(format!("\"{version}\"")),
            body: Some(serde_json::to_vec(view).expect("answers are plain data with string keys")),
            entity: None,
            part: None,
        }
    }

    /// 200 with a resource that has no version of its own.
    ///
    /// # Panics
    /// As [`Answer::created`].
    pub fn unversioned<T: Serialize + ?Sized>(view: &T) -> Self {
        Self {
            etag: None,
            ..Self::ok(0, view)
        }
    }

    /// 202 with what was accepted.
    ///
    /// # Panics
    /// As [`Answer::created`].
    pub fn accepted<T: Serialize + ?Sized>(view: &T) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            ..Self::unversioned(view)
        }
    }

    /// 204.
    pub fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            location: None,
            etag: None,
            body: None,
            entity: None,
            part: None,
        }
    }

    /// Names the entity that the answer shows, so that erasing it finds the stored answer.
    #[must_use]
    pub fn about(mut self, kind: impl Into<String>, id: impl Into<String>) -> Self {
        self.entity = Some((kind.into(), id.into()));
        self
    }

    /// Names the part of a scope whose data the answer shows, at most 64 ASCII characters: it is replayed only to a caller who
    /// sees that part. One that names none is replayed to callers who see everything.
    #[must_use]
    pub fn in_part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }

    /// As it is sent.
    pub fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => reply::bytes_of(self.status, "application/json", body),
            None => reply::no_content(),
        };
        *response.status_mut() = self.status;
        // Both were made here, of ids and of digits.
        let headers = [(LOCATION, self.location), (ETAG, self.etag)];
        for (name, text) in headers {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
