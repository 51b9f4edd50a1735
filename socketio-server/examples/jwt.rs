//! Clients that show a token (JWT) are let in, with what it says; who shows none, or one that is over, is told so. When a
//! token ends, so does the connection, unless the client has shown a newer one.
//!
//!     PORT=3000 JWT_SECRET=... cargo run --example jwt

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use socketio_server::{ConnectError, Data, EventError, Server, Socket, State};

#[derive(Clone, Serialize, Deserialize)]
struct Claims {
    /// Who it is.
    sub: String,
    /// When it ends, in seconds since 1970.
    exp: u64,
    #[serde(default)]
    rooms: Vec<String>,
}

/// What a client shows: `io({ auth: (cb) => cb({ token }) })`, so that it is asked again for each connection.
#[derive(Deserialize)]
struct Login {
    token: String,
}

struct Verifier {
    key: DecodingKey,
    rules: Validation,
}

impl Verifier {
    /// The algorithm is ours to say, never the token's.
    fn new(secret: &str) -> Self {
        Self { key: DecodingKey::from_secret(secret.as_bytes()), rules: Validation::new(Algorithm::HS256) }
    }

    fn check(&self, token: &str) -> Result<Claims, &'static str> {
        let checked = jsonwebtoken::decode(token, &self.key, &self.rules);
        checked.map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => "your token is over",
            _ => "your token is not valid",
        })
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let secret = std::env::var("JWT_SECRET").map_err(|_| std::io::Error::other("JWT_SECRET is not set"))?;
    let verifier = Arc::new(Verifier::new(&secret));
    let io = Server::builder().state(verifier.clone()).build();

    io.middleware(async move |socket: Socket| {
        let login: Login = socket.handshake().auth().map_err(|_| refused("a token is needed"))?;
        let claims = verifier.check(&login.token).map_err(refused)?;
        socket.join(claims.rooms.as_slice());
        socket.set_data(claims);
        Ok(())
    });
    io.on_connection(async |socket: Socket| {
        while let Some(left) = time_left(&socket) {
            tokio::time::sleep(left).await;
        }
        let _ = socket.emit("over", ());
        socket.disconnect(false);
    });
    io.on("renew", async |socket: Socket, verifier: State<Arc<Verifier>>, Data(token): Data<String>| {
        let claims = verifier.0.check(&token)?;
        if socket.data::<Claims>().is_none_or(|before| before.sub != claims.sub) {
            return Err(EventError::new("that is somebody else's"));
        }
        socket.set_data(claims);
        Ok(true)
    });
    io.on("whoami", async |socket: Socket| socket.data::<Claims>().map(|claims| claims.sub.clone()));

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    io.listen(&format!("127.0.0.1:{port}")).await
}

fn refused(why: &'static str) -> ConnectError {
    ConnectError::new(why).data(serde_json::json!({ "code": 401 }))
}

/// How long the socket's token is good for; `None` once it is over, or the client gone.
fn time_left(socket: &Socket) -> Option<Duration> {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(socket.data::<Claims>()?.exp);
    end.duration_since(SystemTime::now()).ok().filter(|left| socket.connected() && !left.is_zero())
}
