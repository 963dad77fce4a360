//! A store by HTTP, as a server of WebDAV lists it.

use super::super::listing::Listing;
use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Answers every request with a listing of these paths.
fn answer(mut client: TcpStream, paths: &[&str]) {
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let found = |path: &&str| {
        format!(
            "<D:response><D:href>{path}</D:href><D:propstat><D:prop>\
             <D:getlastmodified>Mon, 30 Nov 2026 08:00:00 GMT</D:getlastmodified>\
             <D:getcontentlength>5</D:getcontentlength><D:resourcetype/></D:prop>\
             <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        )
    };
    let all: String = paths.iter().map(found).collect();
    let body = format!("<D:multistatus xmlns:D=\"DAV:\">{all}</D:multistatus>");
    let length = body.len();
    let head =
        format!("HTTP/1.1 207 Multi-Status\r\ncontent-length: {length}\r\nconnection: close");
    client.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
}

#[tokio::test]
async fn names_that_are_no_paths_hold_up_no_others() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let paths = [
        "/models/digits//model.pt",
        "/models/digits/1/model.pt",
        "/models/digits/1/%00",
        "/models/digits/1/%FF%FE",
        "/models//",
        "/models/other/1/model.pt",
    ];
    let server = std::thread::spawn(move || answer(listener.accept().unwrap().0, &paths));
    let url = format!("http://{address}/models");
    let remote = Remote::connect(&StoreUrl::of(Path::new(&url)).unwrap()).unwrap();
    let listing = Listing::read(&remote).await.unwrap();
    server.join().unwrap();
    let models: Vec<_> = listing.models.keys().map(String::as_str).collect();
    assert_eq!(models, ["digits", "other"], "{:?}", listing.refused);
    let files: Vec<_> = listing.models["digits"].versions[&1].keys().collect();
    assert_eq!(files, ["model.pt"]);
    assert_eq!(listing.n_refused, 4, "{:?}", listing.refused);
}
