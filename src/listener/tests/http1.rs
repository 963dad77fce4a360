//! HTTP/1.1: keep-alive, pipelining, bodies, and the refusal of ambiguous heads.

use super::*;

#[tokio::test]
async fn a_connection_is_kept_alive() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
        assert!(!says_close(&answer), "must be kept alive: {answer}");
    }
    assert_eq!(rig.stats.accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn http_1_0_is_served_and_closed() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let text = client.rest().await.expect("a clean close");
    assert!(text.starts_with("HTTP/1.0 200 OK") && text.ends_with("hello"), "{text}");
}

#[tokio::test]
async fn the_peer_is_in_the_request() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    let own = client.0.local_addr().expect("connected").to_string();
    assert!(client.get("/peer").await.ends_with(&own));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    let requests = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst\
        POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.send(requests).await;
    assert!(client.answer().await.ends_with("first"));
    assert!(client.answer().await.ends_with("second"));
    assert!(client.rest().await.expect("a clean close").ends_with("hello"));
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    for _ in 0..2 {
        let request = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
            2;x=y\r\nab\r\n0\r\nT: v\r\n\r\n";
        for byte in request.bytes() {
            client.send([byte]).await;
            tokio::task::yield_now().await;
        }
        assert!(client.answer().await.ends_with("ab"));
    }
}

#[tokio::test]
async fn a_client_may_wait_for_100_continue() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("ab").await;
    assert!(client.answer().await.ends_with("ab"));
}

/// One row for each rule, over the wire; the full table is in `head`.
#[tokio::test]
async fn ambiguous_heads_are_answered_and_the_connection_is_closed() {
    let rig = Rig::start(ListenerOptions::default());
    let rows = [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: four\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\n\u{1}", 400),
    ];
    for (n_before, (head, status)) in rows.into_iter().enumerate() {
        let mut client = rig.connect().await;
        client.send(head).await;
        // A second, legal request behind it: it must never be answered.
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let text = client.rest().await.unwrap_or_else(|error| panic!("{head:?}: {error}"));
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {text}");
        assert!(says_close(&text), "{head:?}: {text}");
        assert!(text.contains("\r\ncontent-type: application/json\r\n"), "{head:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1 + text.matches("and HTTP/1.1 or").count());
        let body = text.split_once("\r\n\r\n").expect("a head").1;
        let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
        assert_eq!(body["code"], "invalid_request");
        let counted = rig.stats.closed_framing.load(Ordering::Relaxed);
        assert_eq!(counted, n_before as u64 + 1, "{head:?}");
    }
}

#[tokio::test]
async fn a_large_head_is_431() {
    let options =
        ListenerOptions { max_header_bytes: 1000, max_headers: 10, ..ListenerOptions::default() };
    let rig = Rig::start(options);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "x".repeat(3000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(10));
    for head in [long, many] {
        let mut client = rig.connect().await;
        client.send(head).await;
        let text = client.rest().await.expect("a clean close");
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }
}

/// Hyper's own limit of 100 must not be the lower one.
#[tokio::test]
async fn more_than_100_headers_can_be_allowed() {
    let rig = Rig::start(ListenerOptions { max_headers: 200, ..ListenerOptions::default() });
    let mut client = rig.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(150))).await;
    assert!(client.answer().await.ends_with("hello"));
}

#[tokio::test]
async fn a_refusal_waits_for_the_answers_before_it() {
    let mut rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until_held(1).await;
    client.send("GET / HTTP/1.1\nHost: a\n\n").await;
    rig.gate.add_permits(1);
    assert!(client.answer().await.ends_with("held"));
    let text = client.rest().await.expect("a clean close");
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
}

#[tokio::test]
async fn a_broken_chunk_fails_the_body_and_nothing_after_it_is_served() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n")
        .await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let text = client.rest().await.expect("a clean close");
    assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("broken body"), "{text}");
}

/// The answer must arrive although the client is still sending: no reset may overtake it.
#[tokio::test]
async fn an_early_answer_survives_an_unread_body() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n").await;
    client.send(vec![b'x'; 4_000_000]).await;
    let text = client.rest().await.expect("a clean close");
    assert!(text.starts_with("HTTP/1.1 413 ") && text.ends_with("too large"), "{text}");
}

#[tokio::test]
async fn a_panic_closes_one_connection_only() {
    let rig = Rig::start(ListenerOptions::default());
    let mut other = rig.connect().await;
    other.get("/").await;
    let mut client = rig.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.closes().await;
    rig.until(|stats| &stats.panicked, 1).await;
    rig.until(|stats| &stats.open, 1).await;
    assert!(other.get("/").await.ends_with("hello"));
    assert!(rig.connect().await.get("/").await.ends_with("hello"));
}
