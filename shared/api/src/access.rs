//! Who may do what: what each line of the route table asks of its caller, and what a caller may.
//!
//! This crate checks a line against a caller; who the caller is says a [`Gate`], which knows the keys. A server without a gate
//! answers nobody on a line that asks for anything.

mod credential;
mod permission;

pub use credential::{Credential, sent_credential};
pub use permission::{InvalidPermission, Level, Permissions};

use super::{Response, context::RequestContext};
use contract::{Problem, ProblemCode, Scope};
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use std::{fmt, sync::Arc, time::Duration};

/// What a line of the route table asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anyone may ask, or the handler authenticates by other means.
    Public,
    /// A key that has this level in this area.
    Asks {
        /// The area.
        area: Area,
        /// The level.
        level: Level,
    },
    /// Any key.
    AnyKey,
}

/// A part of an API that a permission may name: `events`, `guests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area(&'static str);

impl Area {
    /// An area by its name, in lower case.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Asks for a key that may read here.
    pub const fn read(self) -> Access {
        self.asks(Level::Read)
    }

    /// Asks for a key that may write here.
    pub const fn write(self) -> Access {
        self.asks(Level::Write)
    }

    /// Asks for a key that may administer here.
    pub const fn admin(self) -> Access {
        self.asks(Level::Admin)
    }

    const fn asks(self, level: Level) -> Access {
        Access::Asks { area: self, level }
    }
}

impl Access {
    /// Refuses a caller who may not do this.
    ///
    /// # Errors
    /// 403 `forbidden`, or `demo_mode` where the caller's own permissions would do.
    pub fn check(self, caller: &Caller) -> Result<(), Problem> {
        let Self::Asks { area, level } = self else {
            return Ok(());
        };
        if !caller.permissions.allow(area.as_str(), level) {
            let detail = format!("it needs the permission {level} or {}:{level}", area.as_str());
            return Err(Problem::new(ProblemCode::Forbidden).with_detail(detail));
        }
        if level > caller.level_max {
            return Err(Problem::new(ProblemCode::DemoMode));
        }
        Ok(())
    }
}

/// Who sent a request, and what that caller may do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The id of the API key; of a caller without one a name that is no id of a key.
    pub id: Arc<str>,
    /// What was chosen as the key's name.
    pub name: String,
    /// What it may do.
    pub permissions: Permissions,
    /// The level that the service grants to anyone at most.
    pub level_max: Level,
    /// What it may see.
    pub scope: Scope,
    /// Which state of the key this is: it grows with each change.
    pub version: i64,
}

impl Caller {
    /// Who this is in the audit log: the name with the id, since a name can be chosen like another.
    pub fn actor(&self) -> String {
        format!("{} ({})", self.name, self.id)
    }

    /// The caller of a public line, who has proved nothing and sees nothing but what the line is for.
    pub fn unknown() -> Self {
        Self {
            id: "unknown".into(),
            name: "unknown".to_owned(),
            permissions: Permissions::default(),
            level_max: Level::Read,
            scope: Scope::Parts(Default::default()),
            version: 0,
        }
    }
}

/// What a gate sees of a request.
#[derive(Clone, Copy)]
pub struct Visit<'v> {
    /// Who asks what.
    pub context: &'v RequestContext,
    /// Its headers.
    pub headers: &'v HeaderMap,
    /// Its raw query.
    pub query: &'v str,
    /// Whether it is for a name or address of the loopback.
    pub is_for_loopback: bool,
    /// Whether a browser says that a page of another origin sends it, one that may call with a key included.
    pub is_cross_origin: bool,
}

impl fmt::Debug for Visit<'_> {
    /// Neither headers nor query: they hold the key.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Visit")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// A gate's decision.
pub struct Admission {
    /// The caller, or why the request is refused.
    pub caller: Result<Arc<Caller>, Problem>,
    /// Headers of the answer, whichever it is: those that name the caller's rate limit.
    pub headers: HeaderMap,
}

impl Admission {
    /// A caller without a rate limit.
    pub fn of(caller: Arc<Caller>) -> Self {
        Self {
            caller: Ok(caller),
            headers: HeaderMap::new(),
        }
    }

    /// A refusal without headers of its own.
    pub fn refused(problem: Problem) -> Self {
        Self {
            caller: Err(problem),
            headers: HeaderMap::new(),
        }
    }
}

/// Says who the caller of a request is.
pub trait Gate: Send + Sync {
    /// Authenticates a request and counts it against its caller's rate limit.
    fn admit<'v>(&'v self, visit: Visit<'v>) -> BoxFuture<'v, Admission>;

    /// Is called after the answer to an admitted request. `route` is the method and the pattern.
    fn answered(&self, caller: &Arc<Caller>, route: &Arc<str>, status: StatusCode, took: Duration);

    /// Whether a caller that was admitted still is who it was, and may still do and see the same. An answer that goes on for
    /// long asks again and again; None: it is not known at present.
    fn is_unchanged<'c>(&'c self, caller: &'c Caller) -> BoxFuture<'c, Option<bool>>;
}

/// The uniform refusal of everyone without a valid key: it does not say what is wrong with the key.
pub fn key_required() -> Problem {
    let detail = "send one API key, in X-API-Key or as Authorization: Bearer";
    Problem::new(ProblemCode::KeyRequired).with_detail(detail)
}

/// Adds a decision's headers to an answer.
pub(super) fn with_headers(mut response: Response, headers: HeaderMap) -> Response {
    response.headers_mut().extend(headers);
    response
}
