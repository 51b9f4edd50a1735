//! One Redis, whatever its kind, for all who talk to it.

use std::{fmt, sync::Arc};

use crate::{Address, CONNECT_TIMEOUT, ConnectError, Link, topology::Topology};

/// A Redis to which publishers, subscribers and readers connect; of a cluster they share what is known of its nodes.
///
/// Cheap to clone.
///
/// ```no_run
/// use socketio_redis_client::Redis;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::at("redis+cluster://one:6379,two:6379".parse()?);
/// let mut link = redis.open("my-stream", "my-program").await?; // to the node that has it
/// println!("{:?}", link.ask(&[b"XLEN", b"my-stream"]).await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Redis {
    address: Address,
    topology: Option<Arc<Topology>>,
}

impl Redis {
    /// The Redis at `address`. Has to be called inside a Tokio runtime, where the nodes of a cluster are looked after.
    pub fn at(address: Address) -> Redis {
        let topology = address.is_cluster().then(|| Topology::start(address.clone()));
        Redis { address, topology }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A link to the server that has `key`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; the next attempt may lead elsewhere.
    pub async fn open(&self, key: &str, name: &str) -> Result<Link, ConnectError> {
        match &self.topology {
            None => Link::open(&self.address, name, CONNECT_TIMEOUT).await,
            Some(topology) => topology.open(key.as_bytes(), name).await,
        }
    }

    /// A link to the server, or to each node of a cluster that answers: what each knows of itself, only it tells.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when none answers.
    pub async fn open_each(&self, name: &str) -> Result<Vec<Link>, ConnectError> {
        match &self.topology {
            None => Ok(vec![Link::open(&self.address, name, CONNECT_TIMEOUT).await?]),
            Some(topology) => topology.open_each(name).await,
        }
    }

    /// A server has refused a command with this error: perhaps the key is elsewhere now.
    pub fn refused(&self, error: &str) {
        if let Some(topology) = &self.topology {
            topology.moved(error);
        }
    }

    pub(crate) fn topology(&self) -> Option<&Arc<Topology>> {
        self.topology.as_ref()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.address).finish()
    }
}
