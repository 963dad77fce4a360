//! Orders to running servers: `sconce models`, `load`, `unload`, `pin`, `unpin`, `reject`, `rollout`.
//!
//! They go to one server, or to several replicas one after the other, and end at the first that fails: what the others
//! serve is then as it was.

mod arguments;
mod client;
mod table;

use arguments::Address;
pub use arguments::{ModelVersion, Percent, To};

use super::{Failure, print};
use crate::inference::ModelName;
use clap::Subcommand;
use client::Replica;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Seconds that a server may take to do something, and to tell what is there.
const WORK: u64 = 600;
const LOOK: u64 = 10;

/// What is asked of servers.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Order {
    /// List the models that servers have, with their versions and states
    Models {
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Have a model's folder read and loaded
    Load {
        /// The model
        model: ModelName,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Let a model go, until it is loaded again
    Unload {
        /// The model
        model: ModelName,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Have a version answer by default and stay, also after a restart
    Pin {
        /// The version, like digits/2
        #[arg(value_name = "MODEL/VERSION")]
        version: ModelVersion,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Have the highest version answer by default again
    Unpin {
        /// The model
        model: ModelName,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Go back from a version: its file is not served again
    Reject {
        /// The version, like digits/2
        #[arg(value_name = "MODEL/VERSION")]
        version: ModelVersion,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Take the rejection of a version back: it is loaded and served again as the folder says
    Accept {
        /// The version, like digits/2
        #[arg(value_name = "MODEL/VERSION")]
        version: ModelVersion,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Lead the roll-out of a new version
    #[command(subcommand)]
    Rollout(RolloutOrder),
}

/// What is asked about a roll-out.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum RolloutOrder {
    /// Load a version beside the one that serves, and begin
    Start {
        /// The version, like digits/2
        #[arg(value_name = "MODEL/VERSION")]
        version: ModelVersion,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Show how far it is
    Status {
        /// The model
        model: ModelName,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Give the new version a percentage of the requests
    Weight {
        /// The model
        model: ModelName,
        /// The percentage
        percent: Percent,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Have the new version serve alone
    Promote {
        /// The model
        model: ModelName,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
    /// Have the old version serve alone, and reject the new one
    Abort {
        /// The model
        model: ModelName,
        /// Which servers.
        #[command(flatten)]
        to: To,
    },
}

/// A request to each server.
struct Asked<'a> {
    to: &'a To,
    method: &'static str,
    path: String,
    shows: fn(&Value) -> String,
}

impl Order {
    /// Tells every server, and prints what each is afterwards.
    ///
    /// # Errors
    ///
    /// The first server that cannot be reached or refuses.
    pub fn run(&self) -> Result<(), Failure> {
        let Asked { to, method, path, shows } = self.asked();
        let patience = to.patience.unwrap_or(if method == "GET" { LOOK } else { WORK });
        let patience = Duration::from_secs(patience);
        let is_look = method == "GET";
        let mut unreached = Vec::new();
        for (idx, address) in to.to.iter().enumerate() {
            let answer = with_progress(address, to.json, || {
                Replica(address.to_string()).ask(method, &path, patience)
            });
            let answer = match answer {
                Ok(answer) => answer,
                // Whoever looks wants to see the others all the more.
                Err(reason) if is_look => {
                    unreached.push(format!("{address}: {reason}"));
                    continue;
                }
                Err(reason) => return Err(failed(&to.to, idx, &reason)),
            };
            if to.json {
                print(&format!("{}\n", json!({"replica": address.to_string(), "answer": answer})))?;
            } else {
                let head = if to.to.len() > 1 { format!("{address}\n") } else { String::new() };
                print(&format!("{head}{}", shows(&answer)))?;
            }
        }
        if unreached.is_empty() { Ok(()) } else { Err(Failure::Runtime(unreached.join("\n"))) }
    }

    fn asked(&self) -> Asked<'_> {
        let order = |to, method, path: String| Asked { to, method, path, shows: table::model };
        let of = |model: &ModelName, what: &str| format!("/manage/models/{model}{what}");
        let of_version = |it: &ModelVersion, what: &str| {
            format!("/manage/models/{}/versions/{}{what}", it.model, it.version)
        };
        match self {
            Self::Models { to } => {
                Asked { to, method: "GET", path: "/manage/models".to_owned(), shows: table::models }
            }
            Self::Load { model, to } => order(to, "POST", of(model, "/reload")),
            Self::Unload { model, to } => order(to, "POST", of(model, "/unload")),
            Self::Pin { version, to } => order(to, "POST", of_version(version, "/default")),
            Self::Unpin { model, to } => order(to, "DELETE", of(model, "/default")),
            Self::Reject { version, to } => order(to, "POST", of_version(version, "/reject")),
            Self::Accept { version, to } => order(to, "POST", of_version(version, "/accept")),
            Self::Rollout(RolloutOrder::Start { version, to }) => {
                order(to, "POST", of_version(version, "/rollout"))
            }
            Self::Rollout(RolloutOrder::Status { model, to }) => {
                Asked { shows: table::rollout, ..order(to, "GET", of(model, "/rollout")) }
            }
            Self::Rollout(RolloutOrder::Weight { model, percent, to }) => {
                order(to, "POST", of(model, &format!("/rollout/weight/{}", percent.as_str())))
            }
            Self::Rollout(RolloutOrder::Promote { model, to }) => {
                order(to, "POST", of(model, "/rollout/promote"))
            }
            Self::Rollout(RolloutOrder::Abort { model, to }) => {
                order(to, "POST", of(model, "/rollout/abort"))
            }
        }
    }
}

/// What went wrong with one of them, and which were told before and are not told now.
fn failed(all: &[Address], idx: usize, reason: &str) -> Failure {
    let mut text = format!("{}: {reason}", all[idx]);
    for (title, addresses) in [("told", &all[..idx]), ("not told", &all[idx + 1..])] {
        if !addresses.is_empty() {
            let listed: Vec<_> = addresses.iter().map(Address::to_string).collect();
            text += &format!("\n{title}: {}", listed.join(", "));
        }
    }
    Failure::Runtime(text)
}

/// Does the work, and says on a terminal that it still goes on.
fn with_progress<T: Send>(
    address: &Address,
    is_silent: bool,
    work: impl FnOnce() -> T + Send,
) -> T {
    if is_silent || !std::io::stderr().is_terminal() {
        return work();
    }
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let began_at = Instant::now();
            while is_done
                .recv_timeout(Duration::from_secs(2))
                .is_err_and(|it| it == mpsc::RecvTimeoutError::Timeout)
            {
                let text = format!("{address}: working for {} s\n", began_at.elapsed().as_secs());
                // Where it cannot be written, nobody looks.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// Answers connections with these in turn; gives back what was asked.
    fn server(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let n = stream.read(&mut request).unwrap();
                let line = String::from_utf8_lossy(&request[..n]);
                asked.push(line.lines().next().unwrap_or_default().to_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (address, asked)
    }

    fn to(addresses: &[&str]) -> To {
        let to = addresses.iter().map(|address| address.parse().unwrap()).collect();
        To { to, patience: Some(60), json: true }
    }

    const OK: &str = "HTTP/1.0 200 OK\r\n\r\n{\"name\":\"m\",\"state\":\"ready\",\"versions\":[]}";
    const REFUSED: &str =
        "HTTP/1.0 409 Conflict\r\n\r\n{\"error\":\"is being loaded\",\"code\":\"conflict\"}";

    #[test]
    fn every_order_has_its_route() {
        let (address, asked) = server(vec![OK; 7]);
        let model = || "m".parse::<ModelName>().unwrap();
        let version = || "m/2".parse::<ModelVersion>().unwrap();
        let to = || to(&[&address]);
        for order in [
            Order::Load { model: model(), to: to() },
            Order::Pin { version: version(), to: to() },
            Order::Unpin { model: model(), to: to() },
            Order::Reject { version: version(), to: to() },
            Order::Accept { version: version(), to: to() },
            Order::Rollout(RolloutOrder::Start { version: version(), to: to() }),
            Order::Rollout(RolloutOrder::Weight {
                model: model(),
                percent: "12.5".parse().unwrap(),
                to: to(),
            }),
        ] {
            order.run().unwrap();
        }
        let expected = [
            "POST /manage/models/m/reload HTTP/1.0",
            "POST /manage/models/m/versions/2/default HTTP/1.0",
            "DELETE /manage/models/m/default HTTP/1.0",
            "POST /manage/models/m/versions/2/reject HTTP/1.0",
            "POST /manage/models/m/versions/2/accept HTTP/1.0",
            "POST /manage/models/m/versions/2/rollout HTTP/1.0",
            "POST /manage/models/m/rollout/weight/12.5 HTTP/1.0",
        ];
        assert_eq!(asked.join().unwrap(), expected);
    }

    #[test]
    fn the_first_replica_that_refuses_ends_it() {
        let (good, asked) = server(vec![OK]);
        let (bad, _) = server(vec![REFUSED]);
        let order =
            Order::Load { model: "m".parse().unwrap(), to: to(&[&good, &bad, "127.0.0.1:1"]) };
        let failure = order.run().unwrap_err();
        let expected = format!("{bad}: is being loaded\ntold: {good}\nnot told: 127.0.0.1:1");
        assert_eq!(failure.to_string(), expected);
        assert_eq!((failure.exit_code(), asked.join().unwrap().len()), (1, 1));
    }

    #[test]
    fn odd_answers_are_told_as_such() {
        let ask = |answer: &'static str, method: &str| {
            let (address, _) = server(vec![answer]);
            Replica(address).ask(method, "/manage/models", Duration::from_secs(60)).unwrap_err()
        };
        let no_document =
            "it answers 200, but not with a document: is this the management address?";
        assert_eq!(ask("HTTP/1.0 200 OK\r\n\r\n[1,2]", "GET"), no_document);
        assert_eq!(ask("HTTP/1.0 200 OK\r\n\r\n{\"na", "GET"), no_document);
        assert_eq!(ask("", "GET"), "it closes without an answer");
        assert_eq!(ask("SSH-2.0\r\n", "GET"), "it answers no HTTP");
        let colored = "HTTP/1.0 409 Conflict\r\n\r\n{\"error\":\"\\u001b[31mred\"}";
        assert_eq!(ask(colored, "POST"), "[31mred");
    }
}
