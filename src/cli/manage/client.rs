//! One exchange with the management listener of a server, by hand: the answer is small and the connection ends with it.

use crate::cli::answer;
use serde_json::Value;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
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
        let answer = self.exchange(method, path, patience).map_err(|error| {
            if error.kind() != io::ErrorKind::TimedOut {
                return error.to_string();
            }
            let seconds = patience.as_secs();
            let undone =
                if method == "GET" { "" } else { "; what was ordered may be done all the same" };
            format!("no answer within {seconds} s{undone}")
        })?;
        if answer.is_empty() {
            return Err("it closes without an answer".to_owned());
        }
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("it answers no HTTP")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        let body: Option<Value> = serde_json::from_str(body).ok().filter(Value::is_object);
        let body = body.ok_or_else(|| {
            let what = "but not with a document: is this the management address?";
            format!("it answers {}, {what}", clean(status))
        })?;
        if status == "200" {
            return Ok(body);
        }
        Err(body["error"].as_str().map_or_else(|| format!("it answers {}", clean(status)), clean))
    }

    fn exchange(&self, method: &str, path: &str, patience: Duration) -> io::Result<String> {
        let deadline = Instant::now() + patience;
        let Self(address) = self;
        let connect = CONNECT.min(patience);
        let found = look_up(address.clone(), connect)?;
        let mut stream = TcpStream::connect_timeout(&found, connect)?;
        stream.set_write_timeout(Some(connect))?;
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

/// The first address of a name. The system's own look-up knows no time limit, so it is left to itself when that is over.
fn look_up(address: String, time: Duration) -> io::Result<SocketAddr> {
    let (found, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let looked = address.to_socket_addrs().map(|mut found| found.next());
        // Nobody may wait any more.
        let _ = found.send(looked);
    });
    let answer = answer.recv_timeout(time).map_err(|_| io::ErrorKind::TimedOut)?;
    answer?.ok_or_else(|| io::Error::other("the name leads to no address"))
}

/// A server's text without control characters, which a terminal would obey; lines stay lines.
fn clean(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}
