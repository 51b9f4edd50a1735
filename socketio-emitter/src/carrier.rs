//! What all emitters of one connection share: how messages get to Redis, and answers back.
//!
//! To one server, behind Sentinels or not, they go over the connection that [`link`] keeps; in a Redis
//! Cluster over one to each node that something belongs to ([`cluster`]). Questions need more connections, and only
//! who asks has them ([`desk`](crate::desk)).

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use socketio_protocol::cluster::emitter::Command;
use socketio_redis_client::{Publisher, Redis};
use tokio::runtime::Handle;

use crate::{
    EmitError, Emitted,
    address::Connection,
    cluster,
    desk::Desk,
    link::{self, Pause, Settings},
    queue::{Limits, Queue},
};

/// Carries the messages of the emitters that share it. The connection ends with the last of them.
pub(crate) struct Carrier {
    way: Way,
    settings: Settings,
    key: String,
    /// Made with the first question.
    desk: OnceLock<Desk>,
}

/// How messages get to Redis.
enum Way {
    /// Over one connection.
    Server(Arc<Queue>),
    /// Over one to each node.
    Cluster(Box<Nodes>),
}

struct Nodes {
    limits: Limits,
    redis: OnceLock<Redis>,
    publisher: OnceLock<Publisher>,
    closed: AtomicBool,
}

impl Nodes {
    /// Started with the first message, because that needs a runtime.
    fn publisher(&self, settings: &Settings) -> Result<&Publisher, EmitError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(EmitError::Closed);
        }
        inside_a_runtime()?;
        Ok(self.publisher.get_or_init(|| cluster::start(self.redis(settings), settings, self.limits)))
    }

    fn redis(&self, settings: &Settings) -> &Redis {
        self.redis.get_or_init(|| Redis::at(settings.address.clone()))
    }
}

fn inside_a_runtime() -> Result<Handle, EmitError> {
    Handle::try_current().map_err(|_| EmitError::NoRuntime)
}

impl Carrier {
    pub(crate) fn new(settings: Settings, key: String, limits: Limits) -> Carrier {
        let way = match settings.address.is_cluster() {
            false => Way::Server(Arc::new(Queue::new(limits))),
            true => Way::Cluster(Box::new(Nodes {
                limits,
                redis: OnceLock::new(),
                publisher: OnceLock::new(),
                closed: AtomicBool::new(false),
            })),
        };
        Carrier { way, settings, key, desk: OnceLock::new() }
    }

    /// Where Redis is, without its password.
    pub(crate) fn address(&self) -> String {
        self.settings.address.to_string()
    }

    /// What the names of all channels begin with.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// How long answers are waited for if it is not said.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.settings.answer_timeout
    }

    pub(crate) fn publish(&self, command: &Command<'_>, payload: &[u8]) -> Emitted {
        let sent = self.check_size(payload.len()).and_then(|()| match &self.way {
            Way::Server(queue) => queue.push(command, payload, || self.serve(queue, None)),
            Way::Cluster(nodes) => {
                let publisher = nodes.publisher(&self.settings)?;
                let published = cluster::publish(publisher, command, payload);
                let published =
                    published.map_err(|error| cluster::unsent(&self.settings.address.to_string(), error))?;
                Ok(Emitted::carried(published.receivers()))
            }
        });
        sent.unwrap_or_else(|error| Emitted::settled(Err(error)))
    }

    pub(crate) fn check_size(&self, bytes: usize) -> Result<(), EmitError> {
        let max = self.settings.max_message;
        if bytes > max { Err(EmitError::TooLarge { bytes, max }) } else { Ok(()) }
    }

    /// Starts the task that sends.
    fn serve(&self, queue: &Arc<Queue>, connection: Option<Connection>) -> Result<(), EmitError> {
        inside_a_runtime()?.spawn(link::run(queue.clone(), self.settings.clone(), connection));
        Ok(())
    }

    /// Connects now rather than with the first message.
    pub(crate) async fn connect(&self) -> Result<(), EmitError> {
        let Settings { address, timeout, retries, .. } = &self.settings;
        let retries = retries.unwrap_or_default();
        match &self.way {
            Way::Server(queue) => {
                let connection = link::connect(address, *timeout, retries, &mut Pause::new()).await?;
                queue.served();
                self.serve(queue, Some(connection))
            }
            Way::Cluster(nodes) => {
                // One node that lets us in shows that the cluster is there and what it is asked for.
                drop(link::connect(address, *timeout, retries, &mut Pause::new()).await?);
                // It is tried for ever; what matters here is that it knows which node has what.
                let _ = nodes.publisher(&self.settings)?.connected().await;
                Ok(())
            }
        }
    }

    /// Where answers come, made when it is first asked for.
    pub(crate) fn desk(&self) -> Result<&Desk, EmitError> {
        inside_a_runtime()?;
        Ok(self.desk.get_or_init(|| match &self.way {
            Way::Server(_) => Desk::open(Redis::at(self.settings.address.clone()), None),
            Way::Cluster(nodes) => {
                Desk::open(nodes.redis(&self.settings).clone(), nodes.publisher(&self.settings).ok().cloned())
            }
        }))
    }

    /// Waits until nothing is without an answer.
    pub(crate) async fn settled(&self) {
        match &self.way {
            Way::Server(queue) => queue.drained().await,
            Way::Cluster(nodes) => {
                if let Some(publisher) = nodes.publisher.get() {
                    publisher.settled().await;
                }
            }
        }
    }

    /// Takes no more messages.
    pub(crate) fn close(&self) {
        match &self.way {
            Way::Server(queue) => queue.close(),
            Way::Cluster(nodes) => nodes.closed.store(true, Ordering::Relaxed),
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.close();
    }
}
