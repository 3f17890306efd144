//! Answers to a delivery that are no proper HTTP but for their status line.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::rig::{Rig, Setup};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![case16_a_delivery_is_what_its_status_line_says]
}

async fn case16_a_delivery_is_what_its_status_line_says(ctx: Ctx) {
    let answers: [&str; 4] = [
        "HTTP/1.1 200 OK\r\nx-folded: one\r\n two\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nno colon\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-space : 1\r\ncontent-length: 99\r\n\r\nhalf",
        "HTTP/1.0 204 No Content\r\n\r\n",
    ];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let served = tokio::spawn(odd_receiver(listener, answers.map(str::to_owned).to_vec()));
    let setup = Setup {
        url: Some(url),
        concurrency: 1,
        ..Setup::default()
    };
    let rig = Rig::start(&ctx, setup).await;
    rig.emit(0..4).await;
    let status = rig.until_delivered(4).await;
    assert_eq!(status.dead, 0);
    served.await.unwrap();
    rig.stop().await;
}

/// A receiver that answers one request on each connection with the next of these, and closes.
async fn odd_receiver(listener: TcpListener, answers: Vec<String>) {
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap();
            assert_ne!(read, 0, "cut off");
            request.extend_from_slice(&chunk[..read]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let declared = head.to_ascii_lowercase();
    let declared = declared
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next()?.parse().ok());
    declared.is_some_and(|len: usize| body.len() >= len)
}
