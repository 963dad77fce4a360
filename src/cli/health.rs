//! `sconce health`: asks a running server whether it is ready, for health checks of containers.
//!
//! An image then needs no HTTP client of its own. The address is the one that `serve` would bind
//! under the same settings, so that a changed port needs no changed health check.

use super::{Failure, Settings, answer, print};
use clap::Args;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// For the whole exchange. A server that takes longer for this is not one to send requests to.
const PATIENCE: Duration = Duration::from_secs(3);

/// The answer's status line and headers with the body's few words; more is not read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Ask a running server whether it is ready: exit status 0 if it is, 1 if not
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct Health {
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

impl Health {
    /// Asks `/health/ready` at the address of the listener for predictions.
    ///
    /// # Errors
    ///
    /// The configuration is faulty, the server does not answer, or it is not ready.
    pub fn run(&self) -> Result<(), Failure> {
        self.run_within(PATIENCE)
    }

    fn run_within(&self, patience: Duration) -> Result<(), Failure> {
        let loaded = self.settings.load()?;
        let address = reachable(loaded.config.http.listen);
        let answer = ask(address, patience)
            .map_err(|error| Failure::Runtime(format!("{address} does not answer: {error}")))?;
        judge(&answer).map_err(|got| Failure::Runtime(format!("{address} is not ready: {got}")))?;
        print("ready\n")
    }
}

/// Where a server that listens there can be met from the same host: "any address" is none to call.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// One exchange, by hand: the answer is small and the connection ends with it.
fn ask(address: SocketAddr, patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(patience))?;
    let request =
        format!("GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let answer = answer::read(&mut stream, deadline, MAX_ANSWER_BYTES)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Only a 200 is ready. Otherwise what came instead, on one line.
fn judge(answer: &str) -> Result<(), String> {
    let status = answer.split("\r\n").next().unwrap_or_default();
    let mut words = status.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    if is_http && words.next() == Some("200") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let text = if is_http { format!("{status} {body}") } else { format!("{answer:?}") };
    Err(text.trim_end().chars().filter(|c| !c.is_control()).take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    /// Answers one connection with these bytes and closes it, or keeps it open and says no more.
    fn server(answer: &'static [u8], closes: bool) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n_bytes = stream.read(&mut request).unwrap();
            assert!(request[..n_bytes].starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            stream.write_all(answer).unwrap();
            if !closes {
                // Until the other side has had enough.
                let _ = stream.read(&mut request);
            }
        });
        address
    }

    fn health(address: SocketAddr) -> Result<(), Failure> {
        let settings = Settings { listen: Some(address.to_string()), ..Settings::default() };
        Health { settings }.run_within(crate::testing::PATIENCE)
    }

    #[test]
    fn a_ready_server_is_a_success() {
        let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true);
        assert_eq!(health(address), Ok(()));
    }

    #[track_caller]
    fn check(answer: &'static [u8], expected: &str) {
        let address = server(answer, true);
        let failure = health(address).unwrap_err();
        assert_eq!(failure.to_string(), format!("{address} {expected}"));
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn anything_else_is_a_failure_with_its_reason() {
        check(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 23\r\n\r\n{\"status\":\"draining\"}\r\n",
            "is not ready: HTTP/1.1 503 Service Unavailable {\"status\":\"draining\"}",
        );
        check(b"SSH-2.0-OpenSSH_9.2\r\n", "is not ready: \"SSH-2.0-OpenSSH_9.2\\r\\n\"");
        check(b"", "is not ready: \"\"");
    }

    #[test]
    fn nobody_there_is_a_failure() {
        let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let failure = health(address).unwrap_err().to_string();
        assert!(failure.starts_with(&format!("{address} does not answer: ")), "{failure}");
    }

    #[test]
    fn a_server_that_falls_silent_is_given_up() {
        let address = server(b"HTTP/1.1 200 OK\r\nContent-Le", false);
        let error = ask(address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn every_address_becomes_the_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:80", "[::1]:80"),
            ("10.1.2.3:8080", "10.1.2.3:8080"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
