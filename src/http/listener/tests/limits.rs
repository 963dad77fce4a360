//! Deadlines, the connection cap, and binding.

use super::*;

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let rig = Rig::start(short());
    rig.connect().await.closes().await;
    assert_eq!(rig.stats.closed_header_timeout.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn half_a_head_is_closed() {
    let rig = Rig::start(short());
    for half in ["G", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = rig.connect().await;
        client.send(half).await;
        client.closes().await;
    }
    assert_eq!(rig.stats.closed_header_timeout.load(Ordering::Relaxed), 3);
}

/// A byte now and then must not move the deadline: it is for the whole head.
#[tokio::test]
async fn a_dripping_head_is_closed() {
    let rig = Rig::start(short());
    let mut client = rig.connect().await;
    assert!(client.get("/").await.ends_with("hello"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nA: ").await;
    let dripped = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            if client.0.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, dripped).await.expect("the server must close the connection");
    assert_eq!(rig.stats.closed_header_timeout.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let rig = Rig::start(short());
    let mut client = rig.connect().await;
    client.get("/").await;
    // Empty lines are no request.
    client.send("\r\n\r\n").await;
    client.closes().await;
    assert_eq!(rig.stats.closed_keep_alive_timeout.load(Ordering::Relaxed), 1);
    assert_eq!(rig.stats.closed_header_timeout.load(Ordering::Relaxed), 0);
}

/// No deadline of ours is about the service: it has its own.
#[tokio::test]
async fn a_slow_service_is_waited_for() {
    let mut rig = Rig::start(short());
    let mut client = rig.connect().await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /").await;
    rig.until_held(1).await;
    // Another connection runs through both deadlines meanwhile, twice.
    for _ in 0..2 {
        rig.connect().await.closes().await;
    }
    rig.gate.add_permits(1);
    assert!(client.answer().await.ends_with("held"));
    client.closes().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed() {
    let rig = Rig::start(short());
    let mut client = rig.connect().await;
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until(|stats| &stats.closed_write_timeout, 1).await;
    rig.until(|stats| &stats.open, 0).await;
}

/// Never still, but too slow for the room that there is.
#[tokio::test]
async fn a_client_that_reads_too_slowly_is_closed() {
    let budget = ByteBudget::new(100);
    let mut others = budget.lease();
    others.grow(100).expect("room");
    let rig = Rig::start(Options { budget, ..Options::default() });
    let mut client = rig.connect().await;
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let dripped = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while rig.stats.closed_write_timeout.load(Ordering::Relaxed) == 0 {
            ticks.tick().await;
            drop(client.0.read_u8().await);
        }
    };
    timeout(PATIENCE, dripped).await.expect("the server must close the connection");
}

/// Slower than the write timeout as a whole, but never still.
#[tokio::test]
async fn a_client_that_reads_slowly_is_served() {
    let rig = Rig::start(short());
    let mut client = rig.connect().await;
    client.send("GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let mut n_bytes = 0;
    let mut space = vec![0; 2 * 1024 * 1024];
    let mut ticks = tokio::time::interval(SHORT / 8);
    loop {
        ticks.tick().await;
        let read = timeout(PATIENCE, client.0.read(&mut space)).await;
        match read.expect("more must come").expect("the answer must come whole") {
            0 => break,
            n => n_bytes += n,
        }
    }
    assert!(n_bytes > BIG_ANSWER_BYTES);
    assert_eq!(rig.stats.closed_write_timeout.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn at_the_cap_connections_wait() {
    let mut rig = Rig::start(Options { max_connections: 2, ..Options::default() });
    let (mut first, mut second) = (rig.connect().await, rig.connect().await);
    for client in [&mut first, &mut second] {
        client.send("GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    }
    rig.until_held(2).await;
    let mut third = rig.connect().await;
    third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until(|stats| &stats.capacity_waits, 1).await;
    assert_eq!(rig.stats.accepted.load(Ordering::Relaxed), 2, "must not accept at the cap");
    rig.gate.add_permits(1);
    assert!(third.answer().await.ends_with("hello"), "must be served when there is room");
    assert_eq!(rig.stats.accepted.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn the_cap_stays_below_the_descriptor_limit() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = Options { max_connections: usize::MAX, ..Options::default() };
    let listener = Listener::bind(any, options).expect("port 0 is always free");
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit {
        assert!((listener.options.max_connections as u64) < limit);
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let rig = Rig::start(Options::default());
    let error = Listener::bind(rig.addr, Options::default()).expect_err("the port is in use");
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen on {}: ", rig.addr)), "{text}");
    assert!(!text.contains('\n'), "{text}");
}
