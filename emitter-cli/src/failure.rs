//! What went wrong, in three lines, and the exit code for it.

use std::fmt::Display;

use socketio_emitter::EmitError;

use crate::output;

/// The exit codes that scripts rely on.
pub(crate) mod code {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const UNREACHABLE: u8 = 3;
    pub(crate) const TOO_FEW: u8 = 4;
    pub(crate) const PARTLY: u8 = 5;
    pub(crate) const INTERRUPTED: u8 = 130;
    pub(crate) const NOBODY_READS: u8 = 141;
}

/// What went wrong, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) cause: Option<String>,
    pub(crate) tip: Option<String>,
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) fn new(code: u8, what: impl Display) -> Failure {
        Failure { what: what.to_string(), cause: None, tip: None, code }
    }

    /// The command line asks for what cannot be.
    pub(crate) fn usage(what: impl Display) -> Failure {
        Failure::new(code::USAGE, what)
    }

    pub(crate) fn cause(mut self, cause: impl Display) -> Failure {
        self.cause = Some(cause.to_string());
        self
    }

    pub(crate) fn tip(mut self, tip: impl Display) -> Failure {
        self.tip = Some(tip.to_string());
        self
    }

    /// Prints the lines on stderr.
    pub(crate) fn print(&self) {
        output::error(&self.what);
        self.cause.iter().for_each(|cause| output::cause(cause));
        self.tip.iter().for_each(|tip| output::tip(tip));
    }

    /// All of it in one line.
    pub(crate) fn in_a_line(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.what),
            None => self.what.clone(),
        }
    }
}

impl From<EmitError> for Failure {
    fn from(error: EmitError) -> Failure {
        let failed = |what: &str, cause: &str, tip: &str| Failure::new(code::FAILED, what).cause(cause).tip(tip);
        match &error {
            EmitError::Reserved { event } => Failure::usage(format!("{event:?} is a reserved event name"))
                .cause("clients and servers use it for news of their own")
                .tip("choose another name"),
            EmitError::Url { url, reason } => Failure::usage(format!("{url:?} is not the URL of a Redis"))
                .cause(reason)
                .tip("write redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path"),
            EmitError::Encode { reason } => Failure::usage("the arguments cannot be sent").cause(reason),
            EmitError::TooLarge { bytes, max } => {
                Failure::new(code::FAILED, format!("the message has {bytes} bytes, more than the {max} accepted"))
                    .tip("send less, or a link to it: servers would be cut off by Redis")
            }
            EmitError::Unreachable { address, reason, .. } => {
                Failure::new(code::UNREACHABLE, format!("cannot reach Redis at {address}"))
                    .cause(reason)
                    .tip(way_to(address, reason))
            }
            EmitError::Auth { address, reason } => failed(
                &format!("Redis at {address} refuses the login"),
                reason,
                "put user and password into REDIS_URL: redis://user:password@host",
            ),
            EmitError::Denied { reason } => failed(
                "Redis does not permit it",
                reason,
                "an administrator grants it: ACL SETUSER <user> +publish &<key>*",
            ),
            EmitError::ReadOnly { reason } => failed(
                "this Redis is a read-only replica",
                reason,
                "give the address of its master with REDIS_URL / --url",
            ),
            EmitError::Loading { reason } => {
                failed("Redis is still loading its data", reason, "try again in a moment, or with more --retries")
            }
            EmitError::ClusterDown { reason } => {
                failed("the Redis cluster cannot take it now", reason, "try again in a moment, or look at CLUSTER INFO")
            }
            EmitError::Refused { reason } => failed("Redis refused", reason, "look at the configuration of this Redis"),
            EmitError::Timeout { after } => failed(
                "Redis did not answer",
                &format!("no answer within {}", output::duration(*after)),
                "the event may have been delivered: look before you send it again",
            ),
            EmitError::Unanswered { reason } => failed(
                "the link to Redis broke before it answered",
                reason,
                "the event may have been delivered: look before you send it again",
            ),
            other => Failure::new(code::FAILED, other),
        }
    }
}

/// What helps where Redis is not reached.
fn way_to(address: &str, reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    let tls = address.starts_with("rediss");
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    match () {
        () if tls && says(&["unknownissuer", "unknown issuer"]) => {
            "name the authority that signed its certificate with --cacert FILE"
        }
        () if tls
            && says(&["certificaterequired", "certificate required", "handshakefailure", "handshake failure"]) =>
        {
            "this Redis wants a certificate of ours: --cert CERT KEY"
        }
        () if tls && says(&["certificate"]) => "its certificate has to be for this host and in date, see the cause",
        () if tls && says(&["corrupt message", "invalidcontenttype", "eof", "no answer within"]) => {
            "perhaps it speaks no TLS: write redis:// for rediss://"
        }
        () if says(&["it closed the connection", "reset by peer", "does not speak as redis"]) => {
            "perhaps it wants TLS: write rediss:// for redis://"
        }
        () if says(&["lookup", "resolve", "name or service"]) => "look at the name of the host in REDIS_URL / --url",
        () => "start one (redis-server), or set REDIS_URL / --url",
    }
}
