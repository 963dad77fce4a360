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
    let rig = Rig::start(ListenerOptions { budget, ..ListenerOptions::default() });
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
    let mut rig = Rig::start(ListenerOptions { max_connections: 2, ..ListenerOptions::default() });
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

/// Fills the cap of two, then somebody else comes.
async fn another_is_served(rig: &Rig) {
    let mut another = rig.connect().await;
    assert!(another.get("/").await.ends_with("hello"), "must be served");
    assert!(rig.stats.closed_capacity.load(Ordering::Relaxed) > 0, "one makes way");
}

#[tokio::test]
async fn kept_connections_make_way_at_the_cap() {
    let rig = Rig::start(ListenerOptions { max_connections: 2, ..ListenerOptions::default() });
    let (mut first, mut second) = (rig.connect().await, rig.connect().await);
    first.get("/").await;
    second.get("/").await;
    another_is_served(&rig).await;
    first.closes().await;
}

#[tokio::test]
async fn silent_connections_make_way_at_the_cap() {
    let rig = Rig::start(ListenerOptions { max_connections: 2, ..ListenerOptions::default() });
    let (mut first, _second) = (rig.connect().await, rig.connect().await);
    rig.until(|stats| &stats.accepted, 2).await;
    another_is_served(&rig).await;
    first.closes().await;
}

#[tokio::test]
async fn half_heads_make_way_at_the_cap() {
    let rig = Rig::start(ListenerOptions { max_connections: 2, ..ListenerOptions::default() });
    let (mut first, mut second) = (rig.connect().await, rig.connect().await);
    first.send("GET / HT").await;
    second.send("PRI * HT").await;
    rig.until(|stats| &stats.accepted, 2).await;
    another_is_served(&rig).await;
    first.closes().await;
}

/// A client that has its answer and sends on what nobody wants is being closed, and holds no place for it.
#[tokio::test]
async fn lingering_connections_make_way_at_the_cap() {
    let options = ListenerOptions { linger_timeout: PATIENCE, ..ListenerOptions::default() };
    let rig = Rig::start(ListenerOptions { max_connections: 1, ..options });
    let mut first = rig.connect().await;
    first.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab").await;
    assert!(first.answer().await.ends_with("too large"));
    let mut another = rig.connect().await;
    assert!(another.get("/").await.ends_with("hello"), "must be served");
}

/// A listener with one place, whose client's request is held, and another client that has sent one and waits for a place.
async fn one_busy_and_one_waiting() -> (Rig, Client, Client) {
    let mut rig = Rig::start(ListenerOptions { max_connections: 1, ..ListenerOptions::default() });
    let mut first = rig.connect().await;
    first.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until_held(1).await;
    let mut second = rig.connect().await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    rig.until(|stats| &stats.capacity_waits, 1).await;
    (rig, first, second)
}

#[tokio::test]
async fn busy_connections_do_not_make_way_but_say_close() {
    let (rig, mut first, mut second) = one_busy_and_one_waiting().await;
    rig.gate.add_permits(1);
    let answer = first.rest().await.expect("a clean close");
    assert!(answer.ends_with("held") && says_close(&answer), "{answer}");
    assert!(second.answer().await.ends_with("hello"));
    assert_eq!(rig.stats.closed_capacity.load(Ordering::Relaxed), 1);
}

/// Connected and accepted, without a place when the listener closes.
#[tokio::test]
async fn who_waits_for_a_place_is_answered_in_the_drain() {
    let (rig, mut first, mut second) = one_busy_and_one_waiting().await;
    rig.enter(DrainPhase::Closing);
    let answer = second.rest().await.expect("a clean close");
    assert!(answer.ends_with("hello") && says_close(&answer), "{answer}");
    rig.gate.add_permits(1);
    assert!(first.rest().await.expect("a clean close").ends_with("held"));
    assert_eq!(rig.report().await, DrainReport { aborted: 0 });
}

#[test]
fn both_caps_stay_below_the_descriptor_limit() {
    #[track_caller]
    fn check(wanted: (usize, usize), n_allowed: usize, expected: (usize, usize)) {
        let shares = |(public, management)| Shares { public, management };
        assert_eq!(shares(wanted).within(n_allowed), shares(expected));
    }
    check((4096, 4096), 10_000, (4096, 4096));
    check((4096, 4096), 8000, (4096, 3904));
    check((4096, 4096), 4096, (3840, 256));
    check((4096, 4096), 896, (840, 56));
    check((100, 100), 150, (100, 50));
    check((100, 5), 100, (95, 5));
    check((usize::MAX, usize::MAX), 1000, (938, 62));
    check((4096, 4096), 0, (1, 1));
    let mut options = [(); 2]
        .map(|()| ListenerOptions { max_connections: usize::MAX, ..ListenerOptions::default() });
    let [public, management] = &mut options;
    within_descriptor_limit(public, management);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit {
        assert!(((public.max_connections + management.max_connections) as u64) < limit);
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let rig = Rig::start(ListenerOptions::default());
    let error =
        Listener::bind(rig.addr, ListenerOptions::default()).expect_err("the port is in use");
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen on {}: ", rig.addr)), "{text}");
    assert!(!text.contains('\n'), "{text}");
}
