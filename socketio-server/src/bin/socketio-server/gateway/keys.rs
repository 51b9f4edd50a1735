//! The keys that tokens are signed with: a shared secret, public keys in PEM, a set of them as JWKS (RFC 7517).
//!
//! A key is for one algorithm, which its kind decides: a secret for HS256, one of RSA for RS256, one of P-256 for ES256. So
//! no token can have a public key taken for a secret, whatever its header says, and `none` has no key.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{hmac, signature};
use serde::Deserialize;

/// Keys to look for one that has signed a token.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Debug)]
pub(crate) struct Key {
    /// What a token calls it, its `kid`. Keys without one may have signed any token.
    id: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Hs256(hmac::Key),
    /// What a BIT STRING of a public key holds: PKCS #1.
    Rs256(signature::UnparsedPublicKey<Vec<u8>>),
    Rs256Parts(signature::RsaPublicKeyComponents<Vec<u8>>),
    Es256(signature::UnparsedPublicKey<Vec<u8>>),
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    Secret(Vec<u8>),
    SecretFile(PathBuf),
    Pem(PathBuf),
    Jwks(PathBuf),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Unreadable(PathBuf, std::io::Error),
    #[error("{path}: {what}", path = .0.display(), what = .1)]
    File(PathBuf, &'static str),
    #[error("the secret for tokens is {0} bytes long, and must be 32 at least (RFC 7518, section 3.2)")]
    Short(usize),
    #[error("the key of the API is empty")]
    NoApiKey,
    #[error("the secret of webhooks is whsec_ and base64, or text, and has 24 bytes at least")]
    WebhookSecret,
    #[error("no TLS for webhooks: {0}")]
    Tls(String),
}

impl KeySource {
    /// Its file, if it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            KeySource::Secret(_) => None,
            KeySource::SecretFile(path) | KeySource::Pem(path) | KeySource::Jwks(path) => Some(path),
        }
    }

    /// Reads the keys.
    pub(crate) fn read(&self) -> Result<Keys, KeyError> {
        let text = match self {
            KeySource::Secret(secret) => return Keys::secret(secret),
            KeySource::SecretFile(path) => return Keys::secret(&secret_in(path)?),
            KeySource::Pem(path) | KeySource::Jwks(path) => {
                std::fs::read_to_string(path).map_err(|error| KeyError::Unreadable(path.clone(), error))?
            }
        };
        match self {
            KeySource::Jwks(path) => Keys::jwks(&text).map_err(|what| KeyError::File(path.clone(), what)),
            KeySource::Pem(path) => Keys::pem(&text).map_err(|what| KeyError::File(path.clone(), what)),
            KeySource::Secret(_) | KeySource::SecretFile(_) => unreachable!("returned above"),
        }
    }
}

/// The secret in a file, without the end of its line.
pub(crate) fn secret_in(path: &Path) -> Result<Vec<u8>, KeyError> {
    let mut secret = std::fs::read(path).map_err(|error| KeyError::Unreadable(path.to_owned(), error))?;
    while secret.last().is_some_and(|last| b"\r\n".contains(last)) {
        secret.pop();
    }
    Ok(secret)
}

impl Keys {
    fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET {
            return Err(KeyError::Short(secret.len()));
        }
        Ok(Keys(vec![Key { id: None, material: Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)) }]))
    }

    /// All public keys of a PEM file.
    fn pem(text: &str) -> Result<Self, &'static str> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
            let (label, begun) = begun.split_once("-----").ok_or("a line of BEGIN does not end")?;
            let (body, after) = begun.split_once("-----END ").ok_or("there is no END")?;
            rest = after;
            let der = STANDARD.decode(body.split_whitespace().collect::<String>()).map_err(|_| "this is not base64")?;
            let material = match label {
                "PUBLIC KEY" => subject_public_key(&der)?,
                "RSA PUBLIC KEY" => Material::rsa(der),
                _ => return Err("only public keys are read here: BEGIN PUBLIC KEY"),
            };
            keys.push(Key { id: None, material });
        }
        if keys.is_empty() { Err("there is no public key: BEGIN PUBLIC KEY") } else { Ok(Keys(keys)) }
    }

    /// The keys of a set that are for signatures by an algorithm known here; others are passed over.
    fn jwks(text: &str) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }
        let set: Set = serde_json::from_str(text).map_err(|_| "this is no JWKS: {\"keys\": [..]}")?;
        let keys: Result<Vec<_>, _> = set.keys.into_iter().filter_map(|key| key.read().transpose()).collect();
        let keys = keys?;
        if keys.is_empty() { Err("there is no key for HS256, RS256 or ES256 in it") } else { Ok(Keys(keys)) }
    }

    /// The keys that may have signed a token that names `id`.
    pub(crate) fn named(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| match (&key.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        })
    }
}

impl Key {
    /// What it is for, as the header of a token calls it.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.material {
            Material::Hs256(_) => "HS256",
            Material::Rs256(_) | Material::Rs256Parts(_) => "RS256",
            Material::Es256(_) => "ES256",
        }
    }

    /// Whether it has signed `message`. How long that takes says nothing about a secret.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hs256(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rs256(key) | Material::Es256(key) => key.verify(message, signature).is_ok(),
            Material::Rs256Parts(key) => key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok(),
        }
    }
}

impl Material {
    fn rsa(pkcs1: Vec<u8>) -> Self {
        Material::Rs256(signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, pkcs1))
    }

    fn p256(point: Vec<u8>) -> Result<Self, &'static str> {
        if point.len() != 65 || point[0] != 4 {
            return Err("a point of P-256 has two coordinates of 32 bytes");
        }
        Ok(Material::Es256(signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)))
    }
}

/// A key as a set has it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn read(self) -> Result<Option<Key>, &'static str> {
        let part = |part: &Option<String>| {
            let text = part.as_deref().ok_or("a key lacks a part")?;
            URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| "a part of a key is not base64url")
        };
        let algorithm = match (&*self.kty, self.crv.as_deref()) {
            ("oct", _) => "HS256",
            ("RSA", _) => "RS256",
            ("EC", Some("P-256")) => "ES256",
            _ => return Ok(None),
        };
        let is_for_other = self.alg.as_deref().is_some_and(|alg| alg != algorithm);
        if is_for_other || self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let material = match algorithm {
            "HS256" => {
                let secret = part(&self.k)?;
                if secret.len() < MIN_SECRET {
                    return Err("a secret must be 32 bytes long at least (RFC 7518, section 3.2)");
                }
                Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, &secret))
            }
            "RS256" => {
                let (n, e) = (without_zeros(part(&self.n)?), without_zeros(part(&self.e)?));
                if n.len() < 256 {
                    return Err("a key of RSA has 2048 bits at least");
                }
                Material::Rs256Parts(signature::RsaPublicKeyComponents { n, e })
            }
            _ => Material::p256([&[4], &*part(&self.x)?, &*part(&self.y)?].concat())?,
        };
        Ok(Some(Key { id: self.kid, material }))
    }
}

/// Some libraries write a number with zeros in front.
fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Reads a SubjectPublicKeyInfo (RFC 5280, section 4.1): which algorithm, and the key as a BIT STRING.
fn subject_public_key(der: &[u8]) -> Result<Material, &'static str> {
    const UNREADABLE: &str = "the public key cannot be read";
    let (info, _) = element(der, 0x30).ok_or(UNREADABLE)?;
    let (algorithm, rest) = element(info, 0x30).ok_or(UNREADABLE)?;
    let (kind, parameters) = element(algorithm, 0x06).ok_or(UNREADABLE)?;
    // The first byte says how many bits of the last one are not the key's.
    let key = match element(rest, 0x03) {
        Some(([0, key @ ..], _)) => key.to_vec(),
        _ => return Err(UNREADABLE),
    };
    if kind == RSA_ENCRYPTION {
        Ok(Material::rsa(key))
    } else if kind == EC_PUBLIC_KEY && element(parameters, 0x06).is_some_and(|(curve, _)| curve == P_256) {
        Material::p256(key)
    } else {
        Err("the public key is neither of RSA nor of the curve P-256")
    }
}

/// The content of the element that DER begins with, if it has this tag, and what comes behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (first == tag).then(|| rest.split_at_checked(length))?
}

/// Bytes of a secret for HMAC with SHA-256.
const MIN_SECRET: usize = 32;

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told() {
        for (text, told) in [
            ("", "there is no public key"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA", "there is no END"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "not base64"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "cannot be read"),
            ("-----BEGIN PUBLIC KEY-----\nMIT/\n-----END PUBLIC KEY-----", "cannot be read"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "only public keys"),
            // Ed25519
            (
                "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----",
                "neither of RSA nor of the curve P-256",
            ),
        ] {
            let error = Keys::pem(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(matches!(KeySource::Secret(vec![7; 31]).read(), Err(KeyError::Short(31))));
        assert!(KeySource::Secret(vec![7; 32]).read().is_ok());
    }

    #[test]
    fn of_a_set_the_keys_are_taken_that_are_for_signatures() {
        let secret = URL_SAFE_NO_PAD.encode([7; 32]);
        let set = |keys: &str| Keys::jwks(&format!("{{\"keys\":[{keys}]}}"));
        let keys = set(&format!(
            r#"{{"kty":"oct","k":"{secret}","kid":"a"}}, {{"kty":"OKP","crv":"Ed25519","x":"AA"}},
               {{"kty":"oct","k":"{secret}","use":"enc","kid":"b"}}, {{"kty":"oct","k":"{secret}","alg":"HS512"}}"#
        ))
        .unwrap();
        assert_eq!((keys.0.len(), keys.named(Some("a")).count(), keys.named(Some("b")).count()), (1, 1, 0));
        assert_eq!(keys.named(None).next().map(Key::algorithm), Some("HS256"));
        for (key, told) in [
            (r#"{"kty":"OKP"}"#, "there is no key"),
            (r#"{"kty":"oct","k":"AAAA"}"#, "32 bytes"),
            (r#"{"kty":"oct"}"#, "lacks a part"),
            (r#"{"kty":"RSA","n":"AAAA","e":"AQAB"}"#, "2048 bits"),
            (r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#, "32 bytes"),
            (r#"{"kty":"EC","crv":"P-256","x":"!","y":"AAAA"}"#, "base64url"),
            ("7", "no JWKS"),
        ] {
            let error = set(key).unwrap_err();
            assert!(error.contains(told), "{key}: {error}");
        }
    }
}
