//! Tokens that say who a client is: JWT (RFC 7519), signed by HS256, RS256 or ES256.
//!
//! The application's backend signs them; here they are only checked, with [`Keys`]. A token must have an end (`exp`). What
//! else it must say is a matter of configuration: for whom it is (`aud`), by whom (`iss`).

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{KeyError, KeySource, Keys};

/// Checks tokens.
#[derive(Debug)]
pub(crate) struct Verifier {
    source: KeySource,
    keys: RwLock<Arc<Keys>>,
    rules: Rules,
}

/// What tokens must say.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) issuer: Option<String>,
    /// One of these, if there are any.
    pub(crate) audience: Vec<String>,
    /// Seconds that clocks may differ by.
    pub(crate) leeway: u64,
}

/// What a token says that is right.
#[derive(Debug, PartialEq)]
pub(crate) struct Claims {
    /// `sub`: whose it is.
    pub(crate) user: Option<String>,
    /// `exp`, and the leeway: its end in seconds since 1970.
    pub(crate) ends: u64,
    /// Rooms that the client is to be in.
    pub(crate) rooms: Vec<String>,
}

/// Why a token does not let a client in. Each is the client's doing, or the backend's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("a token is needed: auth: {{ token }}")]
    Missing,
    #[error("the token is not a JWT as it is used here")]
    Malformed,
    #[error("the token is signed with a key that is not known here")]
    UnknownKey,
    #[error("the token is signed by an algorithm that its key is not for")]
    WrongAlgorithm,
    #[error("the token's signature is wrong")]
    WrongSignature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is of another issuer")]
    WrongIssuer,
    #[error("the token is for another audience")]
    WrongAudience,
}

impl TokenError {
    /// For programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            TokenError::Missing => "token_missing",
            TokenError::Malformed => "token_malformed",
            TokenError::UnknownKey => "token_unknown_key",
            TokenError::WrongAlgorithm => "token_wrong_algorithm",
            TokenError::WrongSignature => "token_wrong_signature",
            TokenError::Expired => "token_expired",
            TokenError::NotYetValid => "token_not_yet_valid",
            TokenError::WrongIssuer => "token_wrong_issuer",
            TokenError::WrongAudience => "token_wrong_audience",
        }
    }
}

impl Verifier {
    /// Reads the keys.
    pub(crate) fn new(source: KeySource, rules: Rules) -> Result<Self, KeyError> {
        let keys = RwLock::new(Arc::new(source.read()?));
        Ok(Self { source, keys, rules })
    }

    /// Reads the keys again; the old ones stay if that fails.
    pub(crate) fn reload(&self) {
        match self.source.read() {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                tracing::info!("the keys for tokens were read again");
            }
            Err(error) => tracing::error!(%error, "the old keys for tokens stay"),
        }
    }

    /// Reads the keys again whenever their file has changed.
    pub(crate) async fn follow(self: Arc<Self>) {
        let Some(path) = self.source.path() else { return };
        let mut seen = version(path);
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let version = version(path);
            if version.is_some() && version != seen {
                seen = version;
                self.reload();
            }
        }
    }

    /// What `token` says, if it is right at `now`, in seconds since 1970.
    pub(crate) fn check(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = part(header)?;
        // What must be understood is not understood here (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let signature = decode(signature)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut wrong = TokenError::UnknownKey;
        let signed = keys.named(header.kid.as_deref()).any(|key| {
            if key.algorithm() != header.alg {
                wrong = wrong.max(TokenError::WrongAlgorithm);
                return false;
            }
            wrong = TokenError::WrongSignature;
            key.has_signed(message.as_bytes(), &signature)
        });
        if !signed {
            return Err(wrong);
        }
        self.rules.look_at(part(payload)?, now)
    }
}

impl TokenError {
    /// The one that says more.
    fn max(self, other: Self) -> Self {
        if self == TokenError::UnknownKey { other } else { self }
    }
}

impl Rules {
    fn look_at(&self, payload: Payload, now: u64) -> Result<Claims, TokenError> {
        let ends = seconds(payload.exp)?.saturating_add(self.leeway);
        if ends <= now {
            return Err(TokenError::Expired);
        }
        if let Some(begins) = payload.nbf
            && seconds(begins)? > now.saturating_add(self.leeway)
        {
            return Err(TokenError::NotYetValid);
        }
        if self.issuer.is_some() && payload.iss != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        let audience = match &payload.aud {
            Some(Value::String(one)) => std::slice::from_ref(one).iter().map(String::as_str).collect(),
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
            Some(_) => return Err(TokenError::Malformed),
        };
        if !self.audience.is_empty() && !self.audience.iter().any(|own| audience.contains(&&**own)) {
            return Err(TokenError::WrongAudience);
        }
        Ok(Claims { user: payload.sub.filter(|user| !user.is_empty()), ends, rooms: payload.rooms })
    }
}

/// The header of a token, as far as it counts.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// What a token says, as far as it counts.
#[derive(Deserialize)]
struct Payload {
    sub: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Value>,
    #[serde(default)]
    rooms: Vec<String>,
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

fn part<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| TokenError::Malformed)
}

/// A NumericDate, which may have a fraction.
fn seconds(date: f64) -> Result<u64, TokenError> {
    Ok(Duration::try_from_secs_f64(date).map_err(|_| TokenError::Malformed)?.as_secs())
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What changes when a file is written.
fn version(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// How often to look whether a file of keys has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use ring::hmac;
    use serde_json::json;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn verifier(rules: Rules) -> Verifier {
        Verifier::new(KeySource::Secret(SECRET.to_vec()), rules).unwrap()
    }

    fn token(header: &Value, payload: &Value) -> String {
        let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap())).join(".");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn a_token_says_who_for_how_long_and_which_rooms() {
        let checked = |payload: Value| verifier(Rules::default()).check(&token(&json!({"alg":"HS256"}), &payload), 100);
        let rooms = vec!["a".to_owned()];
        assert_eq!(
            checked(json!({ "sub": "ana", "exp": 101.5, "nbf": 100, "rooms": rooms, "more": [1] })),
            Ok(Claims { user: Some("ana".into()), ends: 101, rooms })
        );
        assert_eq!(checked(json!({ "exp": 101, "aud": 7 })), Err(TokenError::Malformed));
        assert_eq!(checked(json!({ "exp": 101 })), Ok(Claims { user: None, ends: 101, rooms: Vec::new() }));
        for payload in [
            json!({}),
            json!({ "exp": "101" }),
            json!({ "exp": -1 }),
            json!({ "exp": 1e300 }),
            json!({ "exp": 101, "sub": 7 }),
            json!({ "exp": 101, "rooms": "a" }),
            json!([]),
        ] {
            assert_eq!(checked(payload.clone()), Err(TokenError::Malformed), "{payload}");
        }
        assert_eq!(checked(json!({ "exp": 100 })), Err(TokenError::Expired));
        assert_eq!(checked(json!({ "exp": 101, "nbf": 101 })), Err(TokenError::NotYetValid));
    }

    #[test]
    fn what_a_token_must_say_is_looked_for() {
        let rules =
            || Rules { issuer: Some("backend".into()), audience: vec!["chat".into(), "game".into()], leeway: 5 };
        let checked = |payload: Value| verifier(rules()).check(&token(&json!({"alg":"HS256"}), &payload), 100);
        let right = json!({ "exp": 96, "nbf": 105, "iss": "backend", "aud": ["x", "game"] });
        assert_eq!(checked(right.clone()).map(|claims| claims.ends), Ok(101));
        for (name, value, wrong) in [
            ("exp", json!(95), TokenError::Expired),
            ("nbf", json!(106), TokenError::NotYetValid),
            ("iss", json!("other"), TokenError::WrongIssuer),
            ("iss", json!(null), TokenError::WrongIssuer),
            ("aud", json!("x"), TokenError::WrongAudience),
            ("aud", json!(["ch", 7]), TokenError::WrongAudience),
            ("aud", json!(null), TokenError::WrongAudience),
        ] {
            let mut payload = right.clone();
            payload[name] = value;
            assert_eq!(checked(payload.clone()), Err(wrong), "{payload}");
        }
    }

    #[test]
    fn a_token_is_taken_only_as_its_key_has_signed_it() {
        let verifier = verifier(Rules::default());
        let right = token(&json!({"alg":"HS256"}), &json!({ "exp": 101 }));
        assert!(verifier.check(&right, 100).is_ok());
        let (message, signature) = right.rsplit_once('.').unwrap();
        for at in 0..signature.len() {
            let mut changed = signature.to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = format!("{message}.{}", String::from_utf8(changed).unwrap());
            assert!(verifier.check(&changed, 100).is_err(), "{changed}");
        }
        let unsigned =
            |header: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), message.split_once('.').unwrap().1);
        for (token, wrong) in [
            (unsigned(r#"{"alg":"none"}"#), TokenError::WrongAlgorithm),
            (unsigned(r#"{"alg":"NONE"}"#), TokenError::WrongAlgorithm),
            (unsigned(r#"{"alg":"RS256"}"#), TokenError::WrongAlgorithm),
            (unsigned(r#"{"alg":"HS256"}"#), TokenError::WrongSignature),
            (unsigned(r#"{"alg":"HS256","alg":"none"}"#), TokenError::Malformed),
            (unsigned("{}"), TokenError::Malformed),
            (format!("{message}."), TokenError::WrongSignature),
            (message.to_owned(), TokenError::Malformed),
            (format!("{right}="), TokenError::Malformed),
            (format!(" {right}"), TokenError::Malformed),
            (String::new(), TokenError::Malformed),
            ("..".to_owned(), TokenError::Malformed),
            (token(&json!({"alg":"HS256","crit":["exp"]}), &json!({ "exp": 101 })), TokenError::Malformed),
        ] {
            assert_eq!(verifier.check(&token, 100), Err(wrong), "{token}");
        }
    }
}
