//! The options of the gateway.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::keys::{KeyError, KeySource, secret_in};
use super::tokens::Rules;

/// Who is let in, and where.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Clients and their tokens")]
pub(crate) struct TokenOptions {
    /// Namespaces that clients may enter, beside /. May be given several times
    #[arg(long, value_name = "NAME", env = "SOCKETIO_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    pub(crate) namespace: Vec<String>,

    /// Clients show a JWT that is signed by HS256 with this secret, of 32 bytes at least
    #[arg(long, value_name = "SECRET", env = "SOCKETIO_JWT_SECRET", hide_env_values = true, group = "jwt")]
    pub(crate) jwt_secret: Option<String>,

    /// A file with the secret. As with all files of keys: when it changes, and on SIGHUP, it is read again
    #[arg(long, value_name = "FILE", env = "SOCKETIO_JWT_SECRET_FILE", group = "jwt")]
    pub(crate) jwt_secret_file: Option<PathBuf>,

    /// Clients show a JWT that is signed by RS256 or ES256 with the private key of this public one, a PEM file
    #[arg(long, value_name = "FILE", env = "SOCKETIO_JWT_PUBLIC_KEY", group = "jwt")]
    pub(crate) jwt_public_key: Option<PathBuf>,

    /// Clients show a JWT that is signed with a key of this set, a file in JSON (JWKS)
    #[arg(long, value_name = "FILE", env = "SOCKETIO_JWT_JWKS", group = "jwt")]
    pub(crate) jwt_jwks: Option<PathBuf>,

    /// Who must have issued tokens: their iss
    #[arg(long, value_name = "TEXT", env = "SOCKETIO_JWT_ISSUER", requires = "jwt")]
    pub(crate) jwt_issuer: Option<String>,

    /// For whom tokens must be: their aud. Of several, one is enough
    #[arg(long, value_name = "TEXT", env = "SOCKETIO_JWT_AUDIENCE", value_delimiter = ',', requires = "jwt")]
    pub(crate) jwt_audience: Vec<String>,

    /// How many seconds the clock of whoever issues tokens may differ from this one
    #[arg(long, value_name = "SECONDS", env = "SOCKETIO_JWT_LEEWAY", default_value = "0")]
    pub(crate) jwt_leeway: u32,

    /// Namespaces that need a token; in the others it may be left out. [default: all]
    #[arg(long, value_name = "NAME", env = "SOCKETIO_JWT_NAMESPACE", value_delimiter = ',', value_parser = namespace, requires = "jwt")]
    pub(crate) jwt_namespace: Vec<String>,
}

impl TokenOptions {
    /// Where the keys are, if clients show tokens.
    pub(crate) fn keys(&self) -> Option<KeySource> {
        let secret = self.jwt_secret.as_ref().map(|secret| KeySource::Secret(secret.clone().into_bytes()));
        secret
            .or_else(|| self.jwt_secret_file.clone().map(KeySource::SecretFile))
            .or_else(|| self.jwt_public_key.clone().map(KeySource::Pem))
            .or_else(|| self.jwt_jwks.clone().map(KeySource::Jwks))
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules { issuer: self.jwt_issuer.clone(), audience: self.jwt_audience.clone(), leeway: self.jwt_leeway.into() }
    }

    /// All namespaces that clients may enter.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let mut all = vec!["/".to_owned()];
        all.extend(self.namespace.iter().filter(|name| *name != "/").cloned());
        all
    }

    /// Whether a token is needed in this namespace, if there are keys.
    pub(crate) fn needs_token(&self, namespace: &str) -> bool {
        self.jwt_namespace.is_empty() || self.jwt_namespace.iter().any(|name| name == namespace)
    }
}

/// The program's own HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "HTTP API")]
pub(crate) struct ApiOptions {
    /// Where the HTTP API listens, by which backends send to clients and ask who is there
    #[arg(long, value_name = "ADDR", env = "SOCKETIO_API", value_parser = crate::options::address, requires = "the_api_key")]
    pub(crate) api: Option<String>,

    /// The key that requests show: Authorization: Bearer KEY
    #[arg(long, value_name = "KEY", env = "SOCKETIO_API_KEY", hide_env_values = true, group = "the_api_key", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) api_key: Option<String>,

    /// A file with the key
    #[arg(long, value_name = "FILE", env = "SOCKETIO_API_KEY_FILE", group = "the_api_key")]
    pub(crate) api_key_file: Option<PathBuf>,
}

impl ApiOptions {
    /// The address and the key, if there is to be an API.
    pub(crate) fn key(&self) -> Result<Option<(&str, Vec<u8>)>, KeyError> {
        let Some(addr) = &self.api else { return Ok(None) };
        let key = match (&self.api_key, &self.api_key_file) {
            (Some(key), _) => key.clone().into_bytes(),
            (None, Some(path)) => secret_in(path)?,
            (None, None) => Vec::new(),
        };
        if key.is_empty() { Err(KeyError::NoApiKey) } else { Ok(Some((addr, key))) }
    }
}

fn namespace(name: &str) -> Result<String, String> {
    match name.starts_with('/') && !name.contains(['?', ',']) {
        true => Ok(name.to_owned()),
        false => Err("expected the name of a namespace, such as /chat".to_owned()),
    }
}
