//! Sessions of the Admin UI in a Redis, for all servers.

use async_trait::async_trait;
use socketio_redis_client::resp::Reply;
use socketio_redis_client::{Address, ConnectError, Publisher, QueueLimits, Redis};

use super::auth::{AdminSessions, SESSION_LIFETIME};

/// Keeps in a Redis who has shown the password of the Admin UI, so that all servers know, those of Node.js with the
/// `RedisStore` of `@socket.io/admin-ui` among them: each session is a key `socket.io-admin#<id>` that lives for a day.
///
/// ```no_run
/// # use socketio_server::Server;
/// use socketio_server::admin::{AdminOptions, RedisSessions};
///
/// # async fn example(io: Server) -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = RedisSessions::connect("redis://localhost:6379").await?;
/// let hash = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";
/// io.instrument(AdminOptions::basic("ana", hash).sessions(sessions))?;
/// # Ok(()) }
/// ```
#[doc(alias = "RedisStore")]
#[derive(Debug)]
pub struct RedisSessions {
    redis: Publisher,
    prefix: String,
}

impl RedisSessions {
    /// Connects to the Redis at `url`, in the forms that the Redis adapter takes.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the URL is not understood or there is no link now.
    ///
    /// ```no_run
    /// use socketio_server::admin::RedisSessions;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = RedisSessions::connect("redis://localhost:6379").await?; // an error if there is no Redis
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        let sessions = Self::lazy(url)?;
        sessions.redis.connected().await?;
        Ok(sessions)
    }

    /// Connects in the background. To be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Url`] when the URL is not understood.
    ///
    /// ```no_run
    /// use socketio_server::admin::RedisSessions;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(RedisSessions::lazy("not a url").is_err());
    /// let sessions = RedisSessions::lazy("redis://localhost:6379")?; // no matter whether there is a Redis yet
    /// # Ok(()) }
    /// ```
    pub fn lazy(url: &str) -> Result<Self, ConnectError> {
        let redis = Redis::at(url.parse::<Address>()?);
        let redis = Publisher::start(&redis, "socketio-admin", QueueLimits::default());
        Ok(Self { redis, prefix: "socket.io-admin".to_owned() })
    }

    /// What the keys begin with, up to the `#`. Default `socket.io-admin`, as in Node.js.
    ///
    /// ```no_run
    /// use socketio_server::admin::RedisSessions;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = RedisSessions::connect("redis://localhost:6379").await?.prefix("chat-admin");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    fn key(&self, id: &str) -> String {
        format!("{}#{id}", self.prefix)
    }
}

#[async_trait]
impl AdminSessions for RedisSessions {
    async fn exists(&self, id: &str) -> bool {
        match self.redis.call(&[b"EXISTS", self.key(id).as_bytes()]).await {
            Ok(reply) => matches!(reply, Reply::Integer(1..)),
            Err(error) => {
                tracing::warn!(target: "socketio::redis", %error, "a session of the Admin UI cannot be looked up");
                false
            }
        }
    }

    async fn save(&self, id: &str) {
        let lifetime = SESSION_LIFETIME.as_secs().to_string();
        let command: [&[u8]; 5] = [b"SET", &self.key(id).into_bytes(), b"1", b"EX", lifetime.as_bytes()];
        if let Err(error) = self.redis.call(&command).await {
            tracing::warn!(target: "socketio::redis", %error, "a session of the Admin UI cannot be kept");
        }
    }
}
