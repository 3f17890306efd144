//! The whole server over a stream in memory: pipelines of requests in order and broken ones, bodies that look like
//! requests, cut into pieces anywhere.
//!
//! [`reference`] says where each request begins. Every answer but hyper's own to a head that it cannot read names the
//! request that it answers, so each must be that of the next request of the reference, and none may be that of a body.

mod answers;
mod drafts;
mod reference;

use super::*;
use crate::{Access, Request, Router, body::BodyLimits, get, post, reply};
use bolero::{TypeGenerator, check};
use contract::{Ids, Problem, ProblemCode, SeededEntropy, UnixMillis};
use drafts::{BODIES, Draft, Edit, FRAMINGS, LINES, pipeline};
use http::StatusCode;
use reference::Body;
use std::net::Ipv4Addr;
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    task::yield_now,
};

/// Rounds of each target within the test command.
const ROUNDS: usize = 4_000;
/// Requests of one pipeline, at most.
const REQUESTS_MAX: usize = 5;
/// Changed bytes of one pipeline, at most.
const EDITS_MAX: usize = 3;
/// More than all answers of a pipeline.
const STREAM_LEN: usize = 256 * 1024;
/// The largest body that is read.
const BODY_LEN_MAX: usize = 1024;
const ECHO: &str = "application/octet-stream";

/// Where the bytes are cut into writes.
#[derive(Clone, Debug, TypeGenerator)]
enum Cuts {
    Nowhere,
    Everywhere,
    At(u16),
    Every(u8),
}

async fn read((): (), mut request: Request) -> Result<Response, Problem> {
    let body = request.read_body(BODY_LEN_MAX).await?;
    Ok(reply::bytes_of(StatusCode::OK, ECHO, body.to_vec()))
}

async fn early((): (), _: Request) -> Result<Response, Problem> {
    Err(Problem::new(ProblemCode::Unauthorized))
}

async fn plain((): (), _: Request) -> Result<Response, Problem> {
    Ok(reply::ok("plain"))
}

fn shared() -> Arc<Shared> {
    let endpoints = vec![
        post("/read", Access::Public, &(), read),
        post("/early", Access::Public, &(), early),
        get("/plain", Access::Public, &(), plain),
    ];
    let ids = Ids::new(Arc::new(UnixMillis(0)), Arc::new(SeededEntropy::new(1)));
    Arc::new(Shared {
        server: Server::new(Router::new().mount("", endpoints), ids, BodyLimits::default()),
        settings: ServeSettings::default(),
        stop: StopSignal::default(),
    })
}

/// Writes piece by piece, each seen by the server before the next, and reads until the server closes.
async fn converse(mut stream: DuplexStream, bytes: &[u8], cuts: &Cuts) -> Vec<u8> {
    let len = match cuts {
        Cuts::Nowhere => bytes.len(),
        Cuts::Everywhere => 1,
        Cuts::At(place) => usize::from(*place) % (bytes.len() + 1),
        Cuts::Every(len) => usize::from(*len),
    };
    let first = bytes.split_at(len.min(bytes.len()));
    let pieces: Vec<&[u8]> = match cuts {
        Cuts::At(_) => vec![first.0, first.1],
        _ => bytes.chunks(len.max(1)).collect(),
    };
    for piece in pieces {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        yield_now().await;
    }
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    said
}

/// What comes back for these bytes from such a server. The clock runs by itself only while nothing else does.
fn said_to<F>(
    bytes: &[u8],
    cuts: &Cuts,
    server: impl FnOnce(DuplexStream, SocketAddr, Arc<Shared>) -> F,
) -> Vec<u8>
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ours, theirs) = duplex(STREAM_LEN);
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let serving = server(ours, remote, shared());
        tokio::join!(converse(theirs, bytes, cuts), serving).0
    })
}

/// Panics where the answers are not right, with all that was said.
fn assert_answers_are_right(bytes: &[u8], cuts: &Cuts) {
    let said = said_to(bytes, cuts, serve);
    if let Err(why) = check_answers(bytes, &said) {
        let (sent, said) = (String::from_utf8_lossy(bytes), String::from_utf8_lossy(&said));
        panic!(
            "{why}\n{cuts:?}\n{sent:?}\n{:?}\n{said:?}",
            reference::read(bytes)
        );
    }
}

/// Each answer is that of the next request, and they may end early only where the RFC lets them.
fn check_answers(bytes: &[u8], said: &[u8]) -> Result<(), String> {
    let reading = reference::read(bytes);
    let methods: Vec<&str> = reading.requests.iter().map(|request| &*request.method).collect();
    let answers = answers::read(said, &methods)?;
    let mut answers = answers.iter();
    let mut may_end = false;
    for request in &reading.requests {
        let Some(answer) = answers.next() else {
            let allowed = may_end || request.doubtful;
            return allowed
                .then_some(())
                .ok_or_else(|| format!("no answer to {request:?}"));
        };
        let named = answer.id.as_deref();
        if named.is_none() && !request.doubtful {
            return Err(format!("refused: {request:?}"));
        }
        let made_here = request.id.is_none() && named.is_some_and(|id| id.starts_with("req_"));
        let is_its = made_here || named.is_none() || named == request.id.as_deref();
        if !is_its || (named.is_some() && !is_right(request, answer)) {
            return Err(format!("{answer:?} to {request:?}"));
        }
        if named.is_none() || answer.closes {
            return no_more(answers.next());
        }
        may_end = request.body != Body::None && !answer.is_echo();
    }
    // After the last request there may be bytes that are no request, and are refused.
    match answers.next() {
        Some(refusal) if refusal.id.is_none() && reading.rest => no_more(answers.next()),
        other => no_more(other),
    }
}

fn no_more(behind: Option<&answers::Answer>) -> Result<(), String> {
    behind.map_or(Ok(()), |answer| Err(format!("an answer to nothing: {answer:?}")))
}

/// Whether a request may be answered so.
fn is_right(request: &reference::Request, answer: &answers::Answer) -> bool {
    if request.refused {
        return answer.status == 400 && answer.closes;
    }
    let absolute = request
        .target
        .strip_prefix("http://")
        .and_then(|rest| Some(&rest[rest.find('/')?..]));
    let target = absolute.unwrap_or(&request.target);
    if request.doubtful || target.contains('?') {
        return answer.status < 500;
    }
    let allowed: &[u16] = match (&*request.method, target, &request.body) {
        ("CONNECT", ..) => &[405],
        ("POST", "/read", Body::None) => return answer.status == 200 && answer.body.is_empty(),
        ("POST", "/read", Body::Whole(body)) if body.len() <= BODY_LEN_MAX => {
            return answer.status == 200 && answer.body == *body;
        }
        ("POST", "/read", Body::Whole(_)) => &[413],
        ("POST", "/read", Body::Unfinished) => &[400, 408, 413],
        // Where its end may be seen all the same, nothing follows it.
        ("POST", "/read", Body::Malformed) => return answer.closes && answer.status < 500,
        ("POST", "/early", _) => &[401],
        ("GET" | "HEAD", "/plain", _) => &[200],
        (_, "/read" | "/early" | "/plain", _) => &[405],
        _ => &[404],
    };
    allowed.contains(&answer.status)
}

#[test]
fn fuzz_every_answer_is_that_of_the_next_request() {
    check!()
        .with_iterations(ROUNDS)
        .with_type::<(Vec<Draft>, Vec<Edit>, Cuts)>()
        .for_each(|(drafts, edits, cuts)| {
            let count = drafts.len().min(1 + drafts.len() % REQUESTS_MAX);
            let edits = &edits[..edits.len() % (EDITS_MAX + 1)];
            assert_answers_are_right(&pipeline(&drafts[..count], edits), cuts);
        });
}

/// Every line, framing and body, with a request behind it: what a body ends with is where the next request begins.
fn pairs() -> impl Iterator<Item = Vec<u8>> {
    /// In order, with a request in its body.
    const BEHIND: Draft = Draft {
        line: 0,
        host: 0,
        extra: 0,
        framing: 0,
        body: 3,
    };
    let places = |len: usize| 0..u8::try_from(len).unwrap();
    let lines = places(LINES.len()).flat_map(move |line| {
        places(FRAMINGS.len())
            .flat_map(move |framing| places(BODIES.len()).map(move |body| (line, framing, body)))
    });
    lines.map(|(line, framing, body)| {
        let draft = Draft {
            line,
            framing,
            body,
            ..BEHIND
        };
        pipeline(&[draft, BEHIND], &[])
    })
}

#[test]
fn fuzz_every_framing_of_every_body_ends_where_it_should() {
    for bytes in pairs() {
        for cuts in [Cuts::Nowhere, Cuts::Every(64)] {
            assert_answers_are_right(&bytes, &cuts);
        }
    }
}

/// An earlier bug: the unread bytes of a body are taken for the beginning of the next request.
async fn serve_again(stream: DuplexStream, remote: SocketAddr, shared: Arc<Shared>) {
    if let Some(left) = serve_until_closed(stream, remote, &shared).await {
        drop(serve_until_closed(left, remote, &shared).await);
    }
}

#[test]
fn a_body_that_is_served_as_a_request_is_found() {
    let found = pairs().filter(|bytes| {
        // The rest comes when the head is answered.
        let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let cuts = Cuts::At(u16::try_from(head_len).unwrap());
        check_answers(bytes, &said_to(bytes, &cuts, serve)).unwrap();
        let why = check_answers(bytes, &said_to(bytes, &cuts, serve_again));
        why.is_err_and(|why| why.contains(r#"id: Some("within")"#))
    });
    assert!(found.count() > 0, "the mistake shows");
}
