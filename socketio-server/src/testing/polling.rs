//! A client that polls: requests that are handed to the server's service as they are.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use socketio_protocol::engine::{Packet, PayloadEncoder, Version, decode_payload};
use tokio::sync::mpsc;
use tower_service::Service;

use super::link::{EndOnDrop, Order, Reaction, State, lock, refused};
use super::{Connecting, Refused, Task};
use crate::engine::RemoteAddress;
use crate::service::{NotFound, SocketIoService};

/// Opens a session. What is returned carries it.
pub(super) async fn open(
    how: Connecting,
    state: Arc<Mutex<State>>,
    orders: mpsc::UnboundedReceiver<Order>,
) -> Result<Task, Refused> {
    #[derive(Deserialize)]
    struct Open {
        sid: String,
    }
    let mut client = Client { service: how.server.service(), target: how.target(), how };
    let (status, body, binary) = client.request(Method::GET, Bytes::new()).await;
    if status != StatusCode::OK {
        return Err(refused(status.as_u16(), &body));
    }
    let packets: Vec<_> = decode_payload(client.how.version, binary, body, usize::MAX).map_while(Result::ok).collect();
    let Some(Packet::Open(open)) = packets.first() else { panic!("the first packet is no open packet: {packets:?}") };
    let open: Open = serde_json::from_str(open).expect("an open packet names its session");
    client.target += &format!("&sid={}", open.sid);
    for packet in packets.into_iter().skip(1) {
        lock(&state).received(packet); // Before the first GET there is no ping.
    }
    Ok(Box::pin(run(client, state, orders)))
}

struct Client {
    how: Connecting,
    service: SocketIoService<NotFound>,
    target: String,
}

impl Client {
    async fn request(&self, method: Method, body: Bytes) -> (StatusCode, Bytes, bool) {
        let mut request = Request::builder().method(method).uri(&self.target);
        for (name, value) in &self.how.headers {
            request = request.header(name, value);
        }
        request = request.extension(RemoteAddress(self.how.address));
        let request = request.body(Full::new(body)).expect("names and values of headers are well-formed");
        let Ok(response) = self.service.clone().call(request).await;
        let status = response.status();
        let binary =
            response.headers().get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
        let body = response.into_body().collect().await.expect("a body in memory can be read").to_bytes();
        (status, body, binary)
    }
}

async fn run(client: Client, state: Arc<Mutex<State>>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let _end = EndOnDrop(state.clone());
    let (replies, mut to_reply) = mpsc::unbounded_channel();
    let read = async {
        loop {
            let (status, body, binary) = client.request(Method::GET, Bytes::new()).await;
            if status != StatusCode::OK {
                return;
            }
            for packet in decode_payload(client.how.version, binary, body, usize::MAX).map_while(Result::ok) {
                let reaction = lock(&state).received(packet);
                match reaction {
                    Reaction::None => {}
                    Reaction::Send(packet) => drop(replies.send(packet)),
                    Reaction::End => return,
                }
            }
        }
    };
    let write = async {
        let orders = &mut orders;
        loop {
            let first = tokio::select! {
                Some(packet) = to_reply.recv() => Order::Send(packet),
                order = orders.recv() => order.unwrap_or(Order::Close),
            };
            let mut payload = PayloadEncoder::new(client.how.version, client.how.version == Version::V4);
            let mut order = Some(first);
            let mut last = false;
            while let Some(next) = order {
                match next {
                    Order::Send(packet) => payload.packet(&packet),
                    Order::Close => {
                        payload.packet(&Packet::Close);
                        last = true;
                    }
                    Order::GoSilent => return true,
                }
                order = if last { None } else { orders.try_recv().ok() };
            }
            let (status, ..) = client.request(Method::POST, payload.finish().bytes).await;
            if last || status != StatusCode::OK {
                return false;
            }
        }
    };
    tokio::pin!(read);
    let silent = tokio::select! {
        () = &mut read => false,
        silent = write => silent,
    };
    if silent {
        // The GET that waits is held: the server is not to know.
        while orders.recv().await.is_some() {}
    }
}
