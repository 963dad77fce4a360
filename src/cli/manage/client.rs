//! One exchange with the management listener of a server, by hand: the answer is small and the connection ends with it.

use crate::cli::answer;
use serde_json::Value;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// For reaching a server; what it does on order may take longer.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A server, by the address of its management listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replica(pub(super) String);

impl Replica {
    /// Asks for a path and reads JSON; the server's own words where it refuses.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        patience: Duration,
    ) -> Result<Value, String> {
        let answer = self.exchange(method, path, patience).map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("it answers no HTTP")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).map_err(|_| {
            format!("it answers {status}, and no JSON: is this the management address?")
        })?;
        if status == "200" {
            return Ok(body);
        }
        Err(body["error"].as_str().map_or_else(|| format!("it answers {status}"), str::to_owned))
    }

    fn exchange(&self, method: &str, path: &str, patience: Duration) -> io::Result<String> {
        let deadline = Instant::now() + patience;
        let Self(address) = self;
        let no_address = || io::Error::other("the name leads to no address");
        let found = address.to_socket_addrs()?.next().ok_or_else(no_address)?;
        let mut stream = TcpStream::connect_timeout(&found, CONNECT)?;
        stream.set_write_timeout(Some(CONNECT))?;
        // HTTP/1.0, so that the body comes as it is and ends with the connection.
        let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
        let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{length}\r\n");
        stream.write_all(request.as_bytes())?;
        let answer = answer::read(&mut stream, deadline, MAX_ANSWER_BYTES)?;
        if answer.len() > MAX_ANSWER_BYTES {
            return Err(io::Error::other("its answer is too long"));
        }
        String::from_utf8(answer).map_err(io::Error::other)
    }
}
