//! Calls to URLs that a client of an API chose: where they may go, whatever its name means by then, and how many at once.

use super::*;
use futures::FutureExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{RootCertStore, ServerConfig, ServerConnection, crypto::ring, pki_types::PrivateKeyDer};
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::time::{advance, pause, resume};

const NAME: &str = "hooks.example.org";
/// Two of these are longer than an answer of the name service is dialled; one is shorter than an idle connection is kept.
const WHILE: Duration = Duration::from_secs(3);

/// A name service that gives one answer after the other, and the last one for ever; without any it never answers.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers
            .iter()
            .map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect());
        Arc::new(Self {
            answers: Mutex::new(answers.collect()),
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Lookup for Scripted {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        match answer {
            Some(answer) => futures::future::ready(Ok(answer)).boxed(),
            None => futures::future::pending().boxed(),
        }
    }
}

async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

/// May call this machine by http, which nothing else may.
fn local() -> EgressSettings {
    EgressSettings {
        allow: "127.0.0.0/8".parse().unwrap(),
        allow_http: true,
        ..EgressSettings::default()
    }
}

fn calling(settings: EgressSettings, lookup: &Arc<Scripted>) -> Egress {
    Egress::with_lookup("test", settings, Arc::clone(lookup) as Arc<dyn Lookup>).unwrap()
}

async fn send(egress: &Egress, url: &str, total: Duration) -> Result<u16, EgressErrorKind> {
    let target: TargetUrl = url.parse().unwrap();
    let body = Bytes::from_static(b"hello");
    let answered = egress.post(&target, HeaderMap::new(), body, total).await;
    answered
        .map(|answered| answered.status.as_u16())
        .map_err(|error| error.kind)
}

/// A server that answers every request on every connection, and keeps them open; and how many connections there were.
async fn keeping() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                loop {
                    request(&mut stream).await;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn e1_e2_a_literal_in_any_notation_is_refused_when_saved_and_when_called() {
    let egress = calling(EgressSettings::default(), &Scripted::new(&[]));
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "0x7f000001",
        "0x7f.1",
        "0x7f.0x0.0x0.0x1",
        "0177.0.0.1",
        "017700000001",
        "2130706433",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "012.1",
        "0xa000001",
        "167772161",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.100.100.200",
        "192.168.0.1",
        "255.255.255.255",
    ] {
        let url = format!("https://{host}/hook");
        let refused = egress.check(&url).await.unwrap_err();
        assert_eq!(refused, TargetRefusal::ForbiddenAddress, "{host}");
        assert_eq!(
            send(&egress, &url, TOTAL).await,
            Err(EgressErrorKind::Forbidden),
            "{host}"
        );
    }
    // Networks are opened on purpose, and no others with them.
    let open = calling(local(), &Scripted::new(&[]));
    for url in [
        "https://127.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://127.9.9.9:8080/",
    ] {
        assert!(open.check(url).await.is_ok(), "{url}");
    }
    for url in ["https://[::1]/", "https://10.0.0.1/", "https://0.0.0.0/"] {
        assert_eq!(
            open.check(url).await,
            Err(TargetRefusal::ForbiddenAddress),
            "{url}"
        );
    }
}

#[tokio::test]
async fn e6_what_is_saved_is_the_normal_form_of_a_url_that_may_be_called() {
    let lookup = Scripted::new(&[&["8.8.8.8"]]);
    let egress = calling(EgressSettings::default(), &lookup);
    let saved = egress.check("https://HOOKS.example.org.:443/a/../b?c").await;
    assert_eq!(saved.unwrap().as_str(), "https://hooks.example.org/b?c");
    for (url, refused) in [
        (
            "https://user@hooks.example.org/",
            TargetRefusal::Invalid(InvalidTarget::UserInfo),
        ),
        (
            "https://hooks.example.org/#a",
            TargetRefusal::Invalid(InvalidTarget::Fragment),
        ),
        (
            "https:\\\\hooks.example.org/",
            TargetRefusal::Invalid(InvalidTarget::Malformed),
        ),
        (
            "ftp://hooks.example.org/",
            TargetRefusal::Invalid(InvalidTarget::Scheme),
        ),
        ("http://hooks.example.org/", TargetRefusal::HttpsRequired),
    ] {
        assert_eq!(egress.check(url).await, Err(refused), "{url}");
    }
    assert_eq!(
        send(&egress, "http://8.8.8.8/", TOTAL).await,
        Err(EgressErrorKind::Forbidden)
    );
}

#[tokio::test]
async fn e3_one_forbidden_address_refuses_all_of_a_name() {
    let (address, connections) = keeping().await;
    for answer in [
        &["10.0.0.1"][..],
        &["127.0.0.1", "10.0.0.1"],
        &["10.0.0.1", "127.0.0.1"],
        &["127.0.0.1", "8.8.8.8", "::1"],
        &["127.0.0.1", "fd00::1"],
        &["127.0.0.1", "::ffff:10.0.0.1"],
        &["64:ff9b::8.8.8.8", "127.0.0.1"],
    ] {
        let egress = calling(local(), &Scripted::new(&[answer]));
        let url = format!("http://{NAME}:{}/", address.port());
        assert_eq!(
            egress.check(&url).await,
            Err(TargetRefusal::ForbiddenAddress),
            "{answer:?}"
        );
        assert_eq!(
            send(&egress, &url, TOTAL).await,
            Err(EgressErrorKind::Forbidden),
            "{answer:?}"
        );
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    let egress = calling(local(), &Scripted::new(&[&["127.0.0.1"]]));
    let url = format!("http://{NAME}:{}/", address.port());
    assert!(egress.check(&url).await.is_ok());
    assert_eq!(send(&egress, &url, TOTAL).await, Ok(200));
}

#[tokio::test]
async fn e4_a_name_that_means_another_address_by_now_is_refused_when_dialled() {
    // Allowed when it is saved and forbidden when it is called.
    let lookup = Scripted::new(&[&["8.8.8.8"], &["10.0.0.1"]]);
    let egress = calling(EgressSettings::default(), &lookup);
    let url = format!("https://{NAME}/");
    egress.check(&url).await.unwrap();
    pass(2 * WHILE).await;
    assert_eq!(send(&egress, &url, TOTAL).await, Err(EgressErrorKind::Forbidden));
    assert_eq!(lookup.asked(), 2);
}

#[tokio::test]
async fn e4_the_address_that_was_checked_is_the_one_that_is_dialled() {
    // The second answer comes too late to be dialled.
    let (address, connections) = keeping().await;
    let lookup = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let egress = calling(local(), &lookup);
    let url = format!("http://{NAME}:{}/", address.port());
    egress.check(&url).await.unwrap();
    assert_eq!(send(&egress, &url, TOTAL).await, Ok(200));
    assert_eq!((lookup.asked(), connections.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn e4_between_two_attempts_a_name_may_change_and_is_checked_again() {
    let (target, _server) =
        answering(b"HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let port = target.url().port().unwrap();
    let egress = calling(local(), &Scripted::new(&[&["127.0.0.1"], &["10.0.0.1"]]));
    let url = format!("http://{NAME}:{port}/");
    assert_eq!(send(&egress, &url, TOTAL).await, Ok(500));
    pass(2 * WHILE).await;
    assert_eq!(send(&egress, &url, TOTAL).await, Err(EgressErrorKind::Forbidden));
}

#[tokio::test]
async fn e3_a_connection_of_the_operator_serves_nobody_else() {
    let (address, connections) = keeping().await;
    let lookup = Scripted::new(&[&["127.0.0.1"]]);
    let settings = EgressSettings {
        allow_http: true,
        ..EgressSettings::default()
    };
    let egress = calling(settings, &lookup);
    let url = format!("http://{NAME}:{}/", address.port());
    let answered = egress
        .post(
            &operators(&url),
            HeaderMap::new(),
            Bytes::from_static(b"hello"),
            TOTAL,
        )
        .await;
    assert_eq!(answered.unwrap().status.as_u16(), 200);
    assert_eq!(send(&egress, &url, TOTAL).await, Err(EgressErrorKind::Forbidden));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn e14_an_address_of_this_service_is_recognised() {
    let settings = |own: &str| EgressSettings {
        own_address: Some(own.parse().unwrap()),
        ..local()
    };
    for (own, url, is_own) in [
        ("127.0.0.1:4001", "http://127.0.0.1:4001/api/v1/events", true),
        ("127.0.0.1:4001", "http://127.0.0.1:4002/", false),
        ("0.0.0.0:4001", "http://127.3.2.1:4001/", true),
        ("[::]:4001", "http://[::ffff:127.0.0.1]:4001/", true),
        ("127.0.0.1:443", "https://hooks.example.org/", true),
        ("127.0.0.1:443", "https://hooks.example.org:8443/", false),
    ] {
        let egress = calling(settings(own), &Scripted::new(&[&["127.0.0.1"]]));
        let refused = egress.check(url).await.err();
        assert_eq!(
            refused,
            is_own.then_some(TargetRefusal::OwnAddress),
            "{own} {url}"
        );
    }
}

#[tokio::test]
async fn e15_calls_to_one_address_are_bounded_whatever_its_names_are() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = EgressSettings {
        per_address: 1,
        ..local()
    };
    let egress = calling(settings, &Scripted::new(&[&["127.0.0.1"]]));
    let url = |name: &str| format!("http://{name}:{port}/");
    let (first_url, first) = (url("one.example.org"), egress.clone());
    let first = tokio::spawn(async move { send(&first, &first_url, TOTAL).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    request(&mut stream).await;
    assert_eq!(
        send(&egress, &url("two.example.org"), SHORT).await,
        Err(EgressErrorKind::Busy)
    );
    assert_eq!(
        send(&egress, &url("127.0.0.1"), SHORT).await,
        Err(EgressErrorKind::Busy)
    );
    // An operator's own is not counted.
    let beside = operators(&url("three.example.org"));
    let beside = egress.post(&beside, HeaderMap::new(), Bytes::new(), SHORT).await;
    assert_eq!(beside.unwrap_err().kind, EgressErrorKind::Timeout);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    assert_eq!(first.await.unwrap(), Ok(200));
    // There is room again, and nobody answers.
    assert_eq!(
        send(&egress, &url("two.example.org"), SHORT).await,
        Err(EgressErrorKind::Timeout)
    );
}

#[tokio::test(start_paused = true)]
async fn f51_a_name_service_that_never_answers_is_given_up_and_asked_once_for_all_who_wait() {
    let lookup = Scripted::new(&[]);
    let egress = calling(EgressSettings::default(), &lookup);
    let url = format!("https://{NAME}/");
    let (checked, sent) = tokio::join!(egress.check(&url), send(&egress, &url, TOTAL));
    assert_eq!(checked, Err(TargetRefusal::Unresolvable));
    assert_eq!(sent, Err(EgressErrorKind::Dns));
    assert_eq!(lookup.asked(), 1);
    assert_eq!(egress.check(&url).await, Err(TargetRefusal::Unresolvable));
    assert_eq!(lookup.asked(), 2);
}

#[tokio::test]
async fn f51_calls_over_a_kept_connection_wait_for_no_name_service() {
    let (address, connections) = keeping().await;
    let lookup = Scripted::new(&[&["127.0.0.1"]]);
    let egress = calling(local(), &lookup);
    let url = format!("http://{NAME}:{}/", address.port());
    assert_eq!(send(&egress, &url, TOTAL).await, Ok(200));
    lookup.answers.lock().unwrap().clear();
    // Behind the second of these begins a look-up that never ends.
    for _ in 0..3 {
        pass(WHILE).await;
        assert_eq!(send(&egress, &url, TOTAL).await, Ok(200));
    }
    assert_eq!((lookup.asked(), connections.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn f51_a_name_that_moves_or_is_lost_for_a_time_is_followed() {
    // Both on one port, as a service that moves to another machine.
    let closing = b"HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (target, _old) = answering(closing.to_vec()).await;
    let port = target.url().port().unwrap();
    let new = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let egress = calling(local(), &Scripted::new(&[&["127.0.0.1"], &[], &["127.0.0.2"]]));
    let url = format!("http://{NAME}:{port}/");
    assert_eq!(send(&egress, &url, TOTAL).await, Ok(500));
    pass(2 * WHILE).await;
    assert_eq!(send(&egress, &url, TOTAL).await, Err(EgressErrorKind::Dns));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = new.accept().await.unwrap();
        request(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    });
    assert_eq!(send(&egress, &url, TOTAL).await, Ok(200));
    serving.await.unwrap();
}

#[tokio::test]
async fn e7_a_proxy_that_is_set_on_purpose_gets_the_calls_and_resolves_their_names() {
    let (proxy, server) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let settings = EgressSettings {
        proxy: Some(proxy.origin().parse().unwrap()),
        allow_http: true,
        ..EgressSettings::default()
    };
    let lookup = Scripted::new(&[]);
    let egress = calling(settings, &lookup);
    assert!(egress.check(&format!("http://{NAME}/a")).await.is_ok());
    assert_eq!(send(&egress, &format!("http://{NAME}/a"), TOTAL).await, Ok(200));
    let seen = server.await.unwrap();
    assert!(
        seen.starts_with(&format!("POST http://{NAME}/a HTTP/1.1\r\n")),
        "{seen}"
    );
    assert_eq!(lookup.asked(), 0);
    // What can be known here is refused here.
    assert_eq!(
        send(&egress, "http://127.0.0.1/", TOTAL).await,
        Err(EgressErrorKind::Forbidden)
    );
}

/// A server with a certificate for one connection; the answer it was asked for, if it came to that.
fn with_certificate(certificate: &rcgen::Certificate, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") {
            let mut chunk = [0; 1024];
            match stream.read(&mut chunk) {
                Ok(len) if len > 0 => seen.extend_from_slice(&chunk[..len]),
                _ => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    port
}

#[tokio::test]
async fn e10_only_a_valid_certificate_for_the_name_is_sent_to() {
    let authority = |_| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority(()), authority(()));
    let mut roots = RootCertStore::empty();
    roots.add(ours.der().clone()).unwrap();
    let tls = tls::trusting(roots);
    let params = |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap();
    let mut expired = params(NAME);
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let mut future = params(NAME);
    future.not_before = date_time_ymd(4000, 1, 1);
    for (what, params, issuer, expected) in [
        ("valid", params(NAME), Some(&ours), Ok(200)),
        (
            "wrong host",
            params("other.example.org"),
            Some(&ours),
            Err(EgressErrorKind::Tls),
        ),
        ("expired", expired, Some(&ours), Err(EgressErrorKind::Tls)),
        ("not yet valid", future, Some(&ours), Err(EgressErrorKind::Tls)),
        (
            "of another authority",
            params(NAME),
            Some(&other),
            Err(EgressErrorKind::Tls),
        ),
        ("self-signed", params(NAME), None, Err(EgressErrorKind::Tls)),
    ] {
        let key = KeyPair::generate().unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        let port = with_certificate(&certificate.unwrap(), &key);
        let lookup = Scripted::new(&[&["127.0.0.1"]]);
        let egress = Egress::build("test", local(), lookup, &tls).unwrap();
        let sent = send(&egress, &format!("https://{NAME}:{port}/"), TOTAL).await;
        assert_eq!(sent, expected, "{what}");
    }
}
