//! The classic family over Redis: PUBLISH, one pattern and three channels for each namespace.
//!
//! Which bytes go on which channel is `socketio_protocol::cluster::classic`'s part; here they are carried.

use std::{borrow::Cow, future::Future, pin::Pin, sync::Arc};

use socketio_protocol::cluster::{
    Answer, BusError, BusStatus, Channel, Envelope, Inbox, Message, MessageError, Published,
    classic::{self, Channels, Room},
};

use socketio_redis_client::{Listener, Sink, Topics, random::random_id};

use crate::shared::{Shared, tell};

/// One namespace.
pub(crate) struct Classic {
    shared: Shared,
    names: Arc<Names>,
    listener: Listener,
}

struct Names {
    channels: Channels,
    uid: String,
}

impl Classic {
    pub(crate) fn open(shared: Shared, nsp: &str, inbox: Arc<dyn Inbox>) -> Classic {
        let channels = Channels::new(&shared.prefix, nsp);
        let uid = random_id(classic::UID_LENGTH);
        let own_response = channels.response_to(&uid);
        let topics = Topics {
            patterns: vec![channels.pattern()],
            channels: vec![channels.request().to_owned(), channels.response().to_owned(), own_response],
            ..Topics::default()
        };
        let names = Arc::new(Names { channels, uid });
        let listener = shared.subscriber.open(topics, Arc::new(Ear { names: names.clone(), inbox }));
        Classic { shared, names, listener }
    }

    fn encode(&self, message: &Message) -> (Cow<'_, str>, Vec<u8>) {
        let mut payload = Vec::with_capacity(256);
        let channel = classic::encode(&self.names.channels, &self.names.uid, message, &mut payload);
        (channel, payload)
    }
}

impl Channel for Classic {
    fn uid(&self) -> &str {
        &self.names.uid
    }

    fn publish(&self, message: &Message) -> Result<Published, BusError> {
        self.listener.open()?;
        let (channel, payload) = self.encode(message);
        self.shared.publisher.publish(&channel, &payload)
    }

    fn respond(&self, requester: Option<&str>, message: &Message) -> Result<Published, BusError> {
        self.listener.open()?;
        let (channel, payload) = self.encode(message);
        match requester {
            // Requesters before 8.x read the answer to a server-side event on the common channel only.
            Some(uid)
                if self.shared.specific_responses && !matches!(message, Message::ServerSideEmitResponse { .. }) =>
            {
                self.shared.publisher.publish(&self.names.channels.response_to(uid), &payload)
            }
            _ => self.shared.publisher.publish(&channel, &payload),
        }
    }

    fn server_count(&self) -> Pin<Box<dyn Future<Output = Result<usize, BusError>> + Send + '_>> {
        Box::pin(self.shared.count(self.names.channels.request(), false))
    }

    fn is_there<'a>(&'a self, uid: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.shared.count(&self.names.channels.response_to(uid), false).await? > 0) })
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + '_>> {
        Box::pin(self.listener.ready())
    }

    fn close(&self) {
        self.listener.close();
    }
}

impl Drop for Classic {
    fn drop(&mut self) {
        self.listener.close();
    }
}

/// Reads what arrives and gives it to the inbox.
struct Ear {
    names: Arc<Names>,
    inbox: Arc<dyn Inbox>,
}

impl Ear {
    fn read(&self, channel: &[u8], payload: &[u8]) -> Result<Option<Envelope>, MessageError> {
        let Names { channels, uid } = &*self.names;
        match channels.room_of(channel) {
            Some(Room::Named(room)) if !std::str::from_utf8(room).is_ok_and(|room| self.inbox.has_room(room)) => {
                Ok(None)
            }
            Some(_) => classic::decode_broadcast(channels, uid, payload),
            None if channel == channels.request().as_bytes() => classic::decode_request(channels, uid, payload),
            None => classic::decode_response(channels, payload, |request| self.inbox.wants(request)),
        }
    }
}

impl Sink for Ear {
    fn message(&self, channel: &[u8], payload: &[u8]) {
        tell(&*self.inbox, channel, self.read(channel, payload));
    }

    fn status(&self, status: BusStatus) {
        self.inbox.status(status);
    }
}
