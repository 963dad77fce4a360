//! HTTP/2 by prior knowledge on the same port.

use h2::client::{self, SendRequest};

use super::*;

/// A client connection whose driver runs as a task and ends when the connection does.
async fn connect(rig: &Rig, builder: &client::Builder) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let socket = rig.connect().await.0;
    let (sender, connection) = builder.handshake(socket).await.expect("HTTP/2 is spoken");
    let driver = tokio::spawn(async move {
        // A GOAWAY without an error and a close are both an end.
        let _ = connection.await;
    });
    (sender, driver)
}

fn request(path: &str) -> Request<()> {
    Request::get(format!("http://a{path}")).body(()).expect("a request")
}

async fn get(sender: &mut SendRequest<Bytes>, path: &str) -> Result<String, h2::Error> {
    timeout(PATIENCE, ask(sender, path)).await.expect("an answer must come, or an end")
}

async fn ask(sender: &mut SendRequest<Bytes>, path: &str) -> Result<String, h2::Error> {
    let mut ready = sender.clone().ready().await?;
    let (response, _) = ready.send_request(request(path), true)?;
    let mut body = response.await?.into_body();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        text.extend_from_slice(&data);
    }
    Ok(String::from_utf8(text).expect("ASCII"))
}

#[tokio::test]
async fn both_protocols_share_the_port() {
    let rig = Rig::start(ListenerOptions::default());
    let (mut sender, _driver) = connect(&rig, &client::Builder::new()).await;
    assert_eq!(get(&mut sender, "/").await.expect("an answer"), "hello");
    assert!(rig.connect().await.get("/").await.ends_with("hello"));
    let peer = get(&mut sender, "/peer").await.expect("an answer");
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    let big = get(&mut sender, "/big").await.expect("an answer");
    assert_eq!(big.len(), BIG_ANSWER_BYTES);
}

#[tokio::test]
async fn in_the_lame_duck_connections_are_sent_away_after_an_answer() {
    let rig = Rig::start(ListenerOptions::default());
    let (mut old, old_driver) = connect(&rig, &client::Builder::new()).await;
    get(&mut old, "/").await.expect("an answer");
    rig.enter(DrainPhase::LameDuck);
    // An idle one hears it at once, and nothing is lost by that.
    timeout(PATIENCE, old_driver).await.expect("must be sent away").expect("no panic");
    // A new one is served first.
    let (mut new, new_driver) = connect(&rig, &client::Builder::new()).await;
    assert_eq!(get(&mut new, "/").await.expect("an answer"), "hello");
    timeout(PATIENCE, new_driver).await.expect("must be sent away").expect("no panic");
}

#[tokio::test]
async fn closing_answers_the_streams_in_progress() {
    let mut rig = Rig::start(ListenerOptions::default());
    let (_idle, idle_driver) = connect(&rig, &client::Builder::new()).await;
    let (sender, driver) = connect(&rig, &client::Builder::new()).await;
    let mut busy = sender.clone();
    let answer = tokio::spawn(async move { get(&mut busy, "/hold").await });
    rig.until_held(1).await;
    rig.until(|stats| &stats.accepted, 2).await;
    rig.enter(DrainPhase::Closing);
    timeout(PATIENCE, idle_driver).await.expect("idle must be closed").expect("no panic");
    rig.gate.add_permits(1);
    assert_eq!(answer.await.expect("no panic").expect("an answer"), "held");
    timeout(PATIENCE, driver).await.expect("must be closed").expect("no panic");
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}

#[tokio::test]
async fn a_stream_in_progress_is_dropped_at_the_deadline() {
    let mut rig = Rig::start(ListenerOptions::default());
    let (mut sender, _driver) = connect(&rig, &client::Builder::new()).await;
    let answer = tokio::spawn(async move { get(&mut sender, "/hold").await });
    rig.until_held(1).await;
    rig.enter(DrainPhase::Closing);
    rig.enter(DrainPhase::Aborting);
    assert_eq!(rig.report().await, DrainReport { aborted: 1 });
    assert!(answer.await.expect("no panic").is_err());
}

/// A client that says hello and then nothing, not even the answer to our ping.
#[tokio::test]
async fn a_dead_client_does_not_hold_up_the_drain() {
    let rig = Rig::start(short());
    let mut client = rig.connect().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let settings = timeout(PATIENCE, client.0.read_u8()).await;
    settings.expect("must come").expect("the server's settings");
    rig.enter(DrainPhase::Closing);
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let rig = Rig::start(short());
    let (mut sender, driver) = connect(&rig, &client::Builder::new()).await;
    get(&mut sender, "/").await.expect("an answer");
    timeout(PATIENCE, driver).await.expect("must be closed").expect("no panic");
    assert_eq!(rig.stats.closed_keep_alive_timeout.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_idle_connection_makes_way_at_the_cap() {
    let rig = Rig::start(ListenerOptions { max_connections: 1, ..ListenerOptions::default() });
    let (mut sender, driver) = connect(&rig, &client::Builder::new()).await;
    get(&mut sender, "/").await.expect("an answer");
    assert!(rig.connect().await.get("/").await.ends_with("hello"), "must be served");
    timeout(PATIENCE, driver).await.expect("must be sent away").expect("no panic");
    assert_eq!(rig.stats.closed_capacity.load(Ordering::Relaxed), 1);
}

/// The client connected before the listener closed and sends its first request after that.
#[tokio::test]
async fn a_first_request_in_the_drain_is_answered() {
    let rig = Rig::start(ListenerOptions::default());
    let socket = rig.connect().await.0;
    rig.until(|stats| &stats.accepted, 1).await;
    rig.enter(DrainPhase::Closing);
    rig.until_closed().await;
    let (mut sender, connection) = client::handshake(socket).await.expect("HTTP/2 is spoken");
    let driver = tokio::spawn(async move { drop(connection.await) });
    assert_eq!(get(&mut sender, "/").await.expect("an answer"), "hello");
    timeout(PATIENCE, driver).await.expect("must be sent away").expect("no panic");
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}

const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The quiet client's deadline would be the keep-alive time, which is long here.
#[tokio::test]
async fn half_a_head_or_frame_is_closed() {
    let rig = Rig::start(ListenerOptions { keep_alive_timeout: PATIENCE, ..short() });
    let halves: [(usize, &[u8]); 5] = [
        // HEADERS without their end, half of them, half a PING, half a frame's header.
        (HELLO.len(), b"\0\0\x06\x01\x01\0\0\0\x01\x82\x86\x84\x41\x01a"),
        (HELLO.len(), b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86"),
        (HELLO.len(), b"\0\0\x08\x06\0\0\0\0\0abc"),
        (HELLO.len(), b"\0\0\x08"),
        // The preface without the settings that belong to it.
        (24, b""),
    ];
    for (n_hello, half) in halves {
        let mut client = rig.connect().await;
        client.send([&HELLO[..n_hello], half].concat()).await;
        // The server's settings, and the end.
        client.rest().await.expect("a close");
    }
    assert_eq!(rig.stats.closed_header_timeout.load(Ordering::Relaxed), 5);
}

/// The client's frames, until the server has had enough.
async fn flood(rig: &Rig, frame: &[u8]) {
    let mut client = rig.connect().await;
    client.send(HELLO).await;
    let (mut answers, mut frames) = client.0.split();
    let bytes = frame.repeat(100);
    // What is answered is read, so that the server never waits for the client.
    let flooded = async { while frames.write_all(&bytes).await.is_ok() {} };
    let read = async {
        let mut space = [0; 8192];
        while answers.read(&mut space).await.is_ok_and(|n_bytes| n_bytes > 0) {}
    };
    let both = async { tokio::join!(flooded, read) };
    timeout(PATIENCE, both).await.expect("the server must close the connection");
}

#[tokio::test]
async fn floods_end_the_connection() {
    let rig = Rig::start(ListenerOptions::default());
    let frames: [&[u8]; 5] = [
        // PING, SETTINGS, WINDOW_UPDATE by one, PRIORITY, a frame that nobody knows.
        b"\0\0\x08\x06\0\0\0\0\0abcdefgh",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
        b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x10",
        b"\0\0\x01\x77\0\0\0\0\0x",
    ];
    for (n_closed, frame) in (1..).zip(frames) {
        flood(&rig, frame).await;
        rig.until(|stats| &stats.open, 0).await;
        assert_eq!(rig.stats.closed_flood.load(Ordering::Relaxed), n_closed, "{frame:?}");
    }
}

/// The socket takes bytes and pings are answered: only the stream's window stays shut.
#[tokio::test]
async fn a_stream_that_is_never_read_is_reset_and_the_others_go_on() {
    let mut rig = Rig::start(short());
    let (mut sender, _driver) = connect(&rig, client::Builder::new().initial_window_size(10)).await;
    let mut hold = sender.clone();
    let held = tokio::spawn(async move { get(&mut hold, "/hold").await });
    rig.until_held(1).await;
    for path in ["/big", "/big"] {
        let mut ready = sender.ready().await.expect("open");
        let (response, _) = ready.send_request(request(path), true).expect("open");
        let response = timeout(PATIENCE, response).await.expect("must come").expect("the head");
        let mut body = response.into_body();
        let ended = async {
            while let Some(data) = body.data().await {
                if let Err(error) = data {
                    return error.reason();
                }
            }
            None
        };
        let reason = timeout(PATIENCE, ended).await.expect("must be reset");
        assert_eq!(reason, Some(h2::Reason::CANCEL));
        sender = ready;
    }
    assert_eq!(rig.stats.reset_streams.load(Ordering::Relaxed), 2);
    rig.gate.add_permits(1);
    assert_eq!(held.await.expect("no panic").expect("an answer"), "held");
    assert_eq!(get(&mut sender, "/").await.expect("an answer"), "hello");
    assert_eq!(rig.stats.closed_write_timeout.load(Ordering::Relaxed), 0);
}

/// The end of a short answer is queued with it, so that its stream cannot be reset any more.
#[tokio::test]
async fn a_short_answer_that_is_never_read_ends_its_connection() {
    let rig = Rig::start(short());
    let (sender, driver) = connect(&rig, client::Builder::new().initial_window_size(2)).await;
    let mut ready = sender.ready().await.expect("open");
    let (response, _) = ready.send_request(request("/"), true).expect("open");
    let response = timeout(PATIENCE, response).await.expect("must come").expect("the head");
    timeout(PATIENCE, driver).await.expect("must be closed").expect("no panic");
    assert_eq!(rig.stats.closed_write_timeout.load(Ordering::Relaxed), 1);
    drop(response);
}

/// By it the answers that a connection does not take are counted together.
#[tokio::test]
async fn the_streams_of_a_connection_have_one_recipient() {
    let rig = Rig::start(short());
    let (mut one, _driver) = connect(&rig, &client::Builder::new()).await;
    let (mut other, _driver) = connect(&rig, &client::Builder::new()).await;
    let first = get(&mut one, "/recipient").await.expect("an answer");
    assert_eq!(get(&mut one, "/recipient").await.expect("an answer"), first);
    let others = get(&mut other, "/recipient").await.expect("an answer");
    assert!(others != first && first != "none", "{first} {others}");
    let alone = rig.connect().await.get("/recipient").await;
    assert!(alone.ends_with("none"), "HTTP/1 has one answer at a time: {alone}");
}

/// What one client does not take is given up when others need the room, long before its time.
#[tokio::test]
async fn where_room_is_scarce_slow_answers_go_early() {
    let budget = ByteBudget::new(100);
    let long = Duration::from_secs(3600);
    let rig = Rig::start(ListenerOptions {
        write_timeout: long,
        keep_alive_timeout: long,
        budget: budget.clone(),
        ..ListenerOptions::default()
    });
    let (sender, _driver) = connect(&rig, client::Builder::new().initial_window_size(10)).await;
    let mut ready = sender.ready().await.expect("open");
    let (response, _) = ready.send_request(request("/big"), true).expect("open");
    let response = timeout(PATIENCE, response).await.expect("must come").expect("the head");
    let mut others = budget.lease();
    others.grow(100).expect("room");
    rig.until(|stats| &stats.reset_streams, 1).await;
    drop(response);
}

#[tokio::test]
async fn a_panic_ends_one_stream_only() {
    let rig = Rig::start(ListenerOptions::default());
    let (mut sender, _driver) = connect(&rig, &client::Builder::new()).await;
    assert!(get(&mut sender, "/panic").await.is_err());
    assert_eq!(get(&mut sender, "/").await.expect("an answer"), "hello");
}

/// Streams opened and reset in one breath, as frames: a polite client library would not send them.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for n_streams in 0..2000_u32 {
        let stream = (2 * n_streams + 1).to_be_bytes();
        // HEADERS, the end of both: GET http://a/
        frames.extend_from_slice(b"\0\0\x06\x01\x05");
        frames.extend_from_slice(&stream);
        frames.extend_from_slice(b"\x82\x86\x84\x41\x01a");
        // RST_STREAM with CANCEL
        frames.extend_from_slice(b"\0\0\x04\x03\0");
        frames.extend_from_slice(&stream);
        frames.extend_from_slice(b"\0\0\0\x08");
    }
    client.send(frames).await;
    rig.until(|stats| &stats.closed_flood, 1).await;
    rig.until(|stats| &stats.open, 0).await;
}

#[tokio::test]
async fn frames_that_break_the_rules_are_counted() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    // DATA on a stream that was never opened (RFC 9113, section 5.1).
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\x01\0\0\0\x01x")
        .await;
    rig.until(|stats| &stats.closed_framing, 1).await;
    rig.until(|stats| &stats.open, 0).await;
}
