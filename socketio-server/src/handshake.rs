//! What a client said when it connected.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde_json::json;
use socketio_protocol::socket::{Args, ArgsError, Value};

use crate::engine::Request;

/// The first HTTP request of a client, and what it sent along when it entered the namespace.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.middleware(async |socket: Socket| {
///     #[derive(serde::Deserialize)]
///     struct Auth { token: String }
///
///     let handshake = socket.handshake();
///     println!("{:?} from {:?}, secure: {}", handshake.header("user-agent"), handshake.address(), handshake.secure());
///     match handshake.auth::<Auth>() {
///         Ok(auth) if auth.token == "abc" => Ok(()),
///         _ => Err("who are you?".into()),
///     }
/// });
/// TestClient::to(&io).auth(serde_json::json!({ "token": "abc" })).connect().await;
/// assert!(TestClient::to(&io).try_connect().await.is_err());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Handshake {
    request: Request,
    auth: Args,
    time: SystemTime,
}

impl Handshake {
    pub(crate) fn new(request: Request, auth: Args) -> Self {
        Self { request, auth, time: SystemTime::now() }
    }

    /// The first HTTP request of the connection: url, query, headers, address.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.request.headers()
    }

    /// All parameters of the query, decoded, in order: those of Engine.IO (`EIO`, `transport`) among them.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        self.request.query_pairs()
    }

    /// One parameter of the query, decoded. The last of several with one name.
    pub fn query(&self, name: &str) -> Option<String> {
        self.request.query(name)
    }

    /// The path and query of the request.
    pub fn url(&self) -> &str {
        self.request.url()
    }

    /// What the client sent along with CONNECT (`auth` in its options), as `T`.
    ///
    /// # Errors
    ///
    /// When the client sent something else. Nothing sent reads as an empty object.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        match self.auth.value()? {
            Some(auth) => Ok(auth),
            None => {
                let empty = Args::from_json(bytestring::ByteString::from_static("{}"), Vec::new())
                    .unwrap_or_else(|_| Args::none());
                Ok(empty.value()?.expect("an object is a value"))
            }
        }
    }

    /// When the socket was created.
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// When the socket was created, in milliseconds since 1970: the reference's `issued`.
    pub fn issued(&self) -> u64 {
        self.time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether a browser says that a page of some origin sent it. (Browsers send `Origin` with each WebSocket.)
    pub fn xdomain(&self) -> bool {
        self.request.header("origin").is_some()
    }

    /// Where the client is, as far as the listener or a [trusted proxy](crate::Builder::trust_proxy) knows: an IP address.
    pub fn address(&self) -> Option<String> {
        self.request.remote().map(|remote| remote.ip().to_canonical().to_string())
    }

    /// Whether the connection is encrypted, at least to a trusted proxy.
    pub fn secure(&self) -> bool {
        self.request.secure()
    }

    /// The object that other servers are sent, with the reference's keys.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let headers: serde_json::Map<_, _> =
            self.request.headers().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let query: serde_json::Map<_, _> =
            self.request.query_pairs().into_iter().map(|(name, value)| (name, value.into())).collect();
        let auth = self.auth.value::<Value>().ok().flatten();
        let issued = self.issued();
        json!({
            "headers": headers,
            "time": javascript_date(issued / 1000),
            "address": self.address(),
            "xdomain": self.xdomain(),
            "secure": self.secure(),
            "issued": issued,
            "url": self.url(),
            "query": query,
            "auth": auth.map_or_else(|| json!({}), |auth| serde_json::to_value(&auth).unwrap_or_default()),
        })
    }
}

/// Seconds since 1970 as JavaScript's `Date` prints them, in UTC.
fn javascript_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    let (year, month, day) = civil(days);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let weekday = DAYS[(days % 7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday} {month} {day:02} {year} {h:02}:{m:02}:{s:02} GMT+0000 (Coordinated Universal Time)")
}

/// Year, month and day of a number of days since 1970-01-01, counted in years that begin in March.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_reference_tells_of_a_handshake_can_be_asked_for() {
        let request = http::Request::get("/socket.io/?EIO=4&a=1&a=2")
            .header("Origin", "http://page.example")
            .extension(crate::engine::RemoteAddress("[::ffff:192.0.2.1]:80".parse().unwrap()))
            .extension(crate::engine::Secure)
            .body(())
            .unwrap();
        let auth = Args::new_single(&json!({ "token": 1 })).unwrap();
        let handshake = Handshake::new(Request::new(&crate::engine::Head::of(&request), None), auth);
        assert_eq!(handshake.headers().collect::<Vec<_>>(), [("origin", "http://page.example")]);
        assert_eq!(handshake.query("a").as_deref(), Some("2"));
        assert_eq!(handshake.query_pairs().len(), 3);
        assert_eq!(handshake.url(), "/socket.io/?EIO=4&a=1&a=2");
        assert_eq!(handshake.address().as_deref(), Some("192.0.2.1"));
        assert!(handshake.xdomain() && handshake.secure());
        assert_eq!(handshake.auth::<serde_json::Value>().unwrap()["token"], 1);
        let since = handshake.time().duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(u128::from(handshake.issued()), since.as_millis());
        let told = handshake.to_json();
        assert_eq!(
            (&told["issued"], &told["query"]["a"], &told["xdomain"]),
            (&json!(handshake.issued()), &json!("2"), &json!(true))
        );
    }

    #[test]
    fn dates_are_written_as_javascript_does() {
        let suffix = "GMT+0000 (Coordinated Universal Time)";
        for (seconds, text) in [
            (0, "Thu Jan 01 1970 00:00:00"),
            (951_782_400, "Tue Feb 29 2000 00:00:00"),
            (1_795_564_799, "Tue Nov 24 2026 23:59:59"),
        ] {
            assert_eq!(javascript_date(seconds), format!("{text} {suffix}"));
        }
    }
}
