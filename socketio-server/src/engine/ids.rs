//! Ids that cannot be guessed: of sessions, and of sockets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytestring::ByteString;

/// Twenty characters from 120 random bits. The length is part of the contract: the sharded Redis adapter tells a
/// socket's own room from others by it.
///
/// # Panics
///
/// When the operating system has no random numbers to give; nothing can be served safely then.
///
/// ```
/// let id = socketio_server::engine::random_id();
/// assert_eq!(id.len(), 20);
/// assert_ne!(id, socketio_server::engine::random_id());
/// ```
pub fn random_id() -> ByteString {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    URL_SAFE_NO_PAD.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_have_twenty_url_safe_characters_and_do_not_repeat() {
        let ids: HashSet<_> = (0..1000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.len(), 20);
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id}");
        }
    }
}
