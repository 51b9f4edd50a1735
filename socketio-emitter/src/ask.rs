//! Questions to the servers that each of them answers once.

use std::{collections::HashMap, collections::HashSet, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use socketio_protocol::{
    cluster::{Answers, Message, RemoteSocket, Want},
    socket::{Args, ArgsError},
};
use tokio::time::{Instant, timeout_at};

use crate::{Broadcast, EmitError, Emitter, desk::Question, plan};

impl Emitter {
    /// How many servers share the namespace: those that are subscribed in Redis at this moment.
    ///
    /// # Errors
    ///
    /// Those of [`EmitError`] that say why Redis could not be asked.
    pub async fn server_count(&self) -> Result<usize, EmitError> {
        let desk = self.desk()?;
        let timeout = self.answer_timeout();
        let late = |_| EmitError::Unreachable {
            address: self.address(),
            reason: format!("no answer within {timeout:?}"),
            attempts: 1,
        };
        timeout_at(Instant::now() + timeout, desk.servers(self.format())).await.map_err(late)?
    }

    /// Every socket of the namespace; see [`Broadcast::fetch_sockets`].
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, EmitError> {
        self.all().fetch_sockets().await
    }

    /// How many sockets the namespace has; see [`Broadcast::count`].
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    pub async fn count(&self) -> Result<Answers<u64>, EmitError> {
        self.all().count().await
    }

    /// The rooms of the namespace, on all servers, in no order; each socket's own room is among them.
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), Box<dyn std::error::Error>> {
    /// let rooms = emitter.of("/chat").rooms().await?;
    /// println!("{:?}, and {} servers did not say", rooms.received, rooms.missing);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    #[doc(alias = "allRooms")]
    pub async fn rooms(&self) -> Result<Answers<String>, EmitError> {
        let mut rooms = HashSet::new();
        let mut take = |answer| match answer {
            Message::AllRoomsResponse { rooms: theirs, .. } => rooms.extend(theirs),
            Message::FetchSocketsResponse { sockets, .. } => {
                rooms.extend(sockets.into_iter().flat_map(|socket| socket.rooms));
            }
            _ => {}
        };
        let timeout = self.answer_timeout();
        let (asked, missing) = if self.format().asks_for_rooms() {
            gather(self, timeout, |request| Message::AllRooms { request }, &mut take).await?
        } else {
            // The sockets know their rooms.
            let want = Want::Sockets { handshake: false, rooms: true, data: false };
            let options = Default::default();
            gather(self, timeout, |request| Message::Summarize { options, request, want }, &mut take).await?
        };
        Ok(Answers { received: rooms.into_iter().collect(), asked, missing })
    }

    /// The rooms of the namespace and how many sockets each has; see [`Broadcast::room_sizes`].
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`].
    pub async fn room_sizes(&self) -> Result<Answers<(String, u64)>, EmitError> {
        self.all().room_sizes().await
    }

    /// Sends `event` to the servers themselves and gathers what they answer, each as an `R`.
    ///
    /// A server that has no handler for `event` does not answer and is among the
    /// [missing](Answers::missing). What is no `R` is an error in its place.
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), socketio_emitter::EmitError> {
    /// let loads = emitter.server_side_emit_with_ack::<f64>("load", ()).await?;
    /// for load in loads.received.into_iter().flatten() {
    ///     println!("{load}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Broadcast::fetch_sockets`]; also [`EmitError::Reserved`], [`EmitError::Encode`].
    #[doc(alias = "serverSideEmit")]
    pub async fn server_side_emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Answers<Result<R, ArgsError>>, EmitError> {
        let args: Args = plan::server_event(event, &args)?;
        let mut received = Vec::new();
        let question = |request| Message::ServerSideEmit { args, request: Some(request) };
        let (asked, missing) = gather(self, self.answer_timeout(), question, |answer| {
            if let Message::ServerSideEmitResponse { answer, .. } = answer {
                received.push(answer.to::<R>());
            }
        })
        .await?;
        Ok(Answers { received, asked, missing })
    }
}

impl Broadcast {
    /// The selected sockets, on all servers, with how many servers did not answer in time.
    ///
    /// ```no_run
    /// # async fn example(emitter: socketio_emitter::Emitter) -> Result<(), Box<dyn std::error::Error>> {
    /// for socket in emitter.to("game").fetch_sockets().await?.complete()? {
    ///     println!("{} is in {:?}", socket.id, socket.rooms);
    ///     emitter.to(&socket.id).emit("hello", ()).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Why servers could not be asked, [`EmitError`]. That some did not answer is no error, but in the [`Answers`].
    #[doc(alias = "fetchSockets")]
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, EmitError> {
        let mut received = Vec::new();
        let (asked, missing) = self
            .ask(None, |answer| {
                if let Message::FetchSocketsResponse { sockets, .. } = answer {
                    received.extend(sockets);
                }
            })
            .await?;
        Ok(Answers { received, asked, missing })
    }

    /// How many sockets are selected: one number for each server that answered.
    ///
    /// Servers of Node.js send all that they know of them all the same.
    ///
    /// # Errors
    ///
    /// As [`fetch_sockets`](Broadcast::fetch_sockets).
    pub async fn count(&self) -> Result<Answers<u64>, EmitError> {
        let mut received = Vec::new();
        let (asked, missing) = self
            .ask(Some(Want::Count), |answer| match answer {
                Message::Summary { count, .. } => received.push(count),
                Message::FetchSocketsResponse { sockets, .. } => received.push(sockets.len() as u64),
                _ => {}
            })
            .await?;
        Ok(Answers { received, asked, missing })
    }

    /// How many of the selected sockets are in each room: rooms and sizes, in no order. The rooms that sockets have by
    /// themselves are left out.
    ///
    /// # Errors
    ///
    /// As [`fetch_sockets`](Broadcast::fetch_sockets).
    pub async fn room_sizes(&self) -> Result<Answers<(String, u64)>, EmitError> {
        let mut sizes = HashMap::<String, u64>::new();
        let (asked, missing) = self
            .ask(Some(Want::RoomSizes), |answer| match answer {
                Message::Summary { rooms, .. } => {
                    rooms.into_iter().for_each(|(room, size)| add(&mut sizes, room, size));
                }
                Message::FetchSocketsResponse { sockets, .. } => {
                    for RemoteSocket { id, rooms, .. } in sockets {
                        let rooms = rooms.into_iter().filter(|room| *room != id);
                        rooms.for_each(|room| add(&mut sizes, room, 1));
                    }
                }
                _ => {}
            })
            .await?;
        Ok(Answers { received: sizes.into_iter().collect(), asked, missing })
    }

    async fn ask(&self, want: Option<Want>, take: impl FnMut(Message)) -> Result<(usize, usize), EmitError> {
        let (emitter, target) = (self.emitter(), self.target());
        if !target.is_somebody() {
            return Ok((0, 0));
        }
        let options = target.options.clone();
        let question = |request| match want {
            Some(want) => Message::Summarize { options, request, want },
            None => Message::FetchSockets { options, request },
        };
        gather(emitter, target.timeout.unwrap_or(emitter.answer_timeout()), question, take).await
    }
}

/// Adds to the size of a room. Numbers of others may be anything.
fn add(sizes: &mut HashMap<String, u64>, room: String, size: u64) {
    let sum = sizes.entry(room).or_default();
    *sum = sum.saturating_add(size);
}

/// How many servers were asked, and how many of them did not answer.
async fn gather(
    emitter: &Emitter,
    timeout: Duration,
    question: impl FnOnce(String) -> Message,
    mut take: impl FnMut(Message),
) -> Result<(usize, usize), EmitError> {
    let Some(mut question) = Question::ask(emitter, Instant::now() + timeout, question).await? else {
        return Ok((0, 0));
    };
    while let Some(answer) = question.next().await {
        take(answer);
    }
    Ok((question.tally.servers(), question.tally.missing_servers()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_too_large_to_be_added_up_are_the_largest_number() {
        let mut sizes = HashMap::new();
        for (room, size) in [("a", u64::MAX), ("b", 1), ("a", u64::MAX), ("b", 2)] {
            add(&mut sizes, room.to_owned(), size);
        }
        assert_eq!(sizes, HashMap::from([("a".to_owned(), u64::MAX), ("b".to_owned(), 3)]));
    }
}
