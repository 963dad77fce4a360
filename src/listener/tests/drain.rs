//! The way down: lame duck, close, deadline.

use super::*;

#[tokio::test]
async fn in_the_lame_duck_answers_say_close() {
    let rig = Rig::start(ListenerOptions::default());
    let mut old = rig.connect().await;
    assert!(!says_close(&old.get("/").await));
    rig.enter(DrainPhase::LameDuck);
    for mut client in [old, rig.connect().await] {
        let answer = client.get("/").await;
        assert!(says_close(&answer), "{answer}");
        client.closes().await;
    }
}

#[tokio::test]
async fn in_the_lame_duck_a_request_in_progress_says_close() {
    let mut rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until_held(1).await;
    rig.enter(DrainPhase::LameDuck);
    rig.until(|stats| &stats.accepted, 1).await;
    rig.gate.add_permits(1);
    // The connection may hear of the phase after it has answered; then it closes when it is idle.
    let answer = client.answer().await;
    assert!(answer.ends_with("held"), "{answer}");
}

#[tokio::test]
async fn closing_ends_idle_connections_and_answers_the_others() {
    let mut rig = Rig::start(ListenerOptions::default());
    let mut idle = rig.connect().await;
    idle.get("/").await;
    let mut silent = rig.connect().await;
    let mut busy = rig.connect().await;
    busy.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut half_head = rig.connect().await;
    half_head.send("GET / HTTP/1.1\r\nHo").await;
    let mut half_body = rig.connect().await;
    half_body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await;
    rig.until_held(1).await;
    rig.until(|stats| &stats.accepted, 5).await;

    rig.enter(DrainPhase::Closing);
    idle.closes().await;
    silent.closes().await;
    half_head.send("st: a\r\n\r\n").await;
    half_body.send("cd").await;
    rig.gate.add_permits(1);
    for (client, expected) in [(busy, "held"), (half_head, "hello"), (half_body, "abcd")] {
        let mut client = client;
        let text = client.rest().await.expect("a clean close");
        assert!(text.ends_with(expected) && says_close(&text), "{text}");
    }
    let addr = rig.addr;
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
    assert!(TcpStream::connect(addr).await.is_err(), "the listening socket must be closed");
}

/// On one thread the accept loop has not run when the phase changes: everything is in the kernel.
#[tokio::test]
async fn requests_in_the_backlog_are_answered() {
    let rig = Rig::start(ListenerOptions::default());
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut socket = std::net::TcpStream::connect(rig.addr).expect("the backlog has room");
        std::io::Write::write_all(&mut socket, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("the kernel takes it");
        socket.set_nonblocking(true).expect("a socket");
        clients.push(Client(TcpStream::from_std(socket).expect("a socket")));
    }
    rig.enter(DrainPhase::Closing);
    for mut client in clients {
        let text = client.rest().await.expect("a clean close");
        assert!(text.ends_with("hello") && says_close(&text), "{text}");
    }
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}

/// The request has reached the kernel but not us, on a connection that looks idle to us.
#[tokio::test]
async fn a_request_that_meets_the_close_on_an_idle_connection_is_answered() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    client.get("/").await;
    let mut socket = client.0.into_std().expect("a socket");
    std::io::Write::write_all(&mut socket, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("the kernel takes it");
    rig.enter(DrainPhase::Closing);
    let mut client = Client(TcpStream::from_std(socket).expect("a socket"));
    let text = client.rest().await.expect("a clean close");
    assert!(text.ends_with("hello") && says_close(&text), "{text}");
}

/// The client connected before the listener closed; its first byte comes after that.
#[tokio::test]
async fn a_first_request_in_the_drain_is_answered() {
    let rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    rig.until(|stats| &stats.accepted, 1).await;
    rig.enter(DrainPhase::Closing);
    rig.until_closed().await;
    let answer = client.get("/").await;
    assert!(answer.ends_with("hello") && says_close(&answer), "{answer}");
    client.closes().await;
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}

#[tokio::test]
async fn stalled_clients_are_dropped_at_the_deadline() {
    let mut rig = Rig::start(ListenerOptions::default());
    let mut half_head = rig.connect().await;
    half_head.send("GET / HTTP/1.1\r\nHo").await;
    let mut half_body = rig.connect().await;
    half_body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await;
    let mut never_reads = rig.connect().await;
    never_reads.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut slow_service = rig.connect().await;
    slow_service.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until_held(1).await;
    rig.until(|stats| &stats.accepted, 4).await;
    rig.enter(DrainPhase::Closing);
    rig.until_closed().await;
    assert_eq!(rig.stats.closed_drain_deadline.load(Ordering::Relaxed), 0);
    rig.enter(DrainPhase::Aborting);
    let stats = Arc::clone(&rig.stats);
    assert_eq!(rig.report().await, DrainReport { aborted: 4 });
    assert_eq!(stats.open.load(Ordering::Relaxed), 0);
}

/// Its first byte came, so it has its header timeout, and no more.
#[tokio::test]
async fn half_a_head_does_not_hold_up_the_drain() {
    let rig = Rig::start(short());
    let mut client = rig.connect().await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    rig.until(|stats| &stats.accepted, 1).await;
    rig.enter(DrainPhase::Closing);
    client.closes().await;
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}

#[tokio::test]
async fn pipelined_requests_are_answered_before_the_close() {
    let mut rig = Rig::start(ListenerOptions::default());
    let mut client = rig.connect().await;
    let hold = "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("{hold}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    rig.until_held(1).await;
    rig.enter(DrainPhase::Closing);
    rig.until_closed().await;
    rig.gate.add_permits(1);
    let text = client.rest().await.expect("a clean close");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(text.ends_with("hello"), "{text}");
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}
