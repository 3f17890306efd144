//! Serving HTTP: an accept loop with limits, routes, requests, answers.
//!
//! The way of a request: [`serve()`] accepts and bounds the connection, gives the request its [`RequestContext`], and
//! hands it to the [`Router`], whose [`Endpoint`]s call a handler with a [`Request`] and turn its result, an answer or
//! a problem, into a [`Response`]. Handlers see no framework: only this crate names warp.

pub mod access;
pub mod answers;
pub mod body;
mod connection;
pub mod context;
mod cors;
pub mod etag;
pub mod event_stream;
mod head;
mod host;
pub mod json_body;
pub mod list;
pub mod media_type;
pub mod open_files;
mod origin;
pub mod reply;
pub mod request;
pub mod route;
pub mod router;
mod serve;
mod serve_settings;
mod server;
mod stop;
mod traffic;
mod write_deadline;

pub use access::{Access, Area, Caller, Level};
pub use answers::AnswerBudget;
pub use body::Body;
pub use context::RequestContext;
pub use cors::Origins;
pub use etag::Preconditions;
pub use host::{HostList, Hosts, InvalidHostList};
pub use list::{ListQuery, ListSpec, Position, SortField};
pub use request::Request;
pub use route::{Endpoint, delete, get, patch, post, put};
pub use router::{Line, Router};
pub use serve::{listen, serve};
pub use serve_settings::{CONNECTIONS_MAX, ServeSettings};
pub use server::Server;
pub use stop::StopSignal;
pub use traffic::Traffic;

/// An HTTP answer.
pub type Response = warp::reply::Response;

/// One endpoint, or all of them, as warp sees it.
pub type Route = warp::filters::BoxedFilter<(Response,)>;
