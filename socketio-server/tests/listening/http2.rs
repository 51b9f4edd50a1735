//! What HTTP/2 makes possible to those who mean no good, frame by frame, without TLS so that it can be seen.

use serde_json::json;
use socketio_server::Server;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::kit::{Client, local, serve, server};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// How a connection begins.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// `GET http://test/`, compressed.
const GET: &[u8] = b"\x82\x86\x84\x41\x04test";

/// The server ends a connection that sends these frames, and serves others.
async fn ends_the_connection(frames: Vec<u8>) {
    let io = server(Server::builder());
    let listener = local().await.http2_prior_knowledge(true);
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let mut client = Client::new(TcpStream::connect(addr).await.unwrap());
    let _ = client.stream.write_all(&[preface(), frames].concat()).await; // It may have ended before all is written.
    client.ended().await;
    let mut other = Client::new(TcpStream::connect(addr).await.unwrap());
    assert_eq!(other.who("").await, json!(["127.0.0.1", false]));
    io.close().await;
}

#[tokio::test]
async fn streams_opened_and_reset_in_haste_end_their_connection() {
    let streams = (0..5_000).flat_map(|n| {
        let stream = 2 * n + 1;
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        [open, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    ends_the_connection(streams.collect()).await;
}

#[tokio::test]
async fn headers_without_end_end_their_connection() {
    let more = frame(CONTINUATION, 0, 1, &b"\x00\x01x\x01y".repeat(2_000));
    let headers = [frame(HEADERS, END_STREAM, 1, GET), more.repeat(500)].concat();
    ends_the_connection(headers).await;
}

#[tokio::test]
async fn a_preface_in_pieces_is_one() {
    let io = server(Server::builder());
    let listener = local().await.http2_prior_knowledge(true);
    let addr = listener.local_addr().unwrap();
    serve(&io, listener);
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.set_nodelay(true).unwrap();
    for byte in preface() {
        client.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut settings = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut settings).await.unwrap();
    assert_eq!(settings[3], SETTINGS, "the server's own begin its side");
    io.close().await;
}
