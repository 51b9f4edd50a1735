//! How much clients may do: connections, attempts to connect, events and bytes, for each socket and each address.
//!
//! Every limit is a *token bucket*: it holds so many tokens as may be spent at once, and fills at the rate that is
//! allowed for long. What is remembered is bounded: of addresses those that have connections or have spent something,
//! up to a number past which newcomers share one allowance.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use socketio_protocol::engine::HandshakeError;

use super::clock::now;
use super::connection::Connection;
use super::counters::bump;
use super::request::Request;

/// How often something may happen: so often for long, and so much at once.
///
/// ```
/// use socketio_server::engine::{Excess, Rate, RateLimits};
///
/// // Two a second for long, and 20 at once by who was silent before.
/// let limits = RateLimits::default().events(Rate::per_second(2).burst(20), Excess::Drop);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: f64,
    burst: f64,
}

impl Rate {
    /// `n` a second, and as many at once.
    pub fn per_second(n: u32) -> Self {
        Self { per_second: n.into(), burst: n.into() }
    }

    /// `n` a minute, and as many at once.
    pub fn per_minute(n: u32) -> Self {
        Self { per_second: f64::from(n) / 60.0, burst: n.into() }
    }

    /// Lets `n` happen at once.
    #[must_use]
    pub fn burst(self, n: u32) -> Self {
        Self { burst: n.into(), ..self }
    }
}

/// What happens to an event that is too much.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// use socketio_server::engine::{Excess, Rate, RateLimits};
///
/// let limits = RateLimits::default().event("say", Rate::per_minute(1), Excess::Drop);
/// let io = Server::builder().rate_limits(limits).build();
/// io.on("say", async || "said");
///
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<String>("say", ()).await, "said");
/// let refused: serde_json::Value = client.emit_with_ack("say", ()).await;
/// assert_eq!(refused["error"], "rate limit exceeded");
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// It is dropped. If the client asked for an answer it is `{"error": "rate limit exceeded"}`.
    Drop,
    /// The client is disconnected from every namespace, with the reason `server namespace disconnect`, and its
    /// connection closed.
    Disconnect,
}

/// The limits of a server; without any, nothing is limited. Given to `Builder::rate_limits`, or to an engine alone in
/// [`EngineConfig`](super::EngineConfig), where those of sockets mean nothing.
///
/// ```
/// use socketio_server::Server;
/// use socketio_server::engine::{Excess, Rate, RateLimits};
///
/// let limits = RateLimits::default()
///     .connections(50_000)
///     .connections_per_address(100)
///     .connects_per_address(Rate::per_minute(120))
///     .events(Rate::per_second(50).burst(200), Excess::Drop)
///     .event("chat message", Rate::per_second(2).burst(10), Excess::Drop)
///     .bytes_per_address(Rate::per_second(1_000_000), Excess::Disconnect);
/// let io = Server::builder().rate_limits(limits).build();
/// ```
#[derive(Clone)]
pub struct RateLimits {
    connections: usize,
    connections_per_address: usize,
    connects: Option<Rate>,
    events: Limit,
    bytes: Limit,
    named: Vec<(Box<str>, Rate, Excess)>,
    address_events: Limit,
    address_bytes: Limit,
    max_addresses: usize,
    address: Arc<AddressOf>,
}

type Limit = Option<(Rate, Excess)>;
type AddressOf = dyn Fn(&Request) -> Option<IpAddr> + Send + Sync;

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            connections_per_address: usize::MAX,
            connects: None,
            events: None,
            bytes: None,
            named: Vec::new(),
            address_events: None,
            address_bytes: None,
            max_addresses: 65_536,
            address: Arc::new(|request| request.remote().map(|remote| remote.ip())),
        }
    }
}

impl RateLimits {
    /// How many connections there may be; a handshake past it is refused (429, code 4).
    #[must_use]
    pub fn connections(mut self, max: usize) -> Self {
        self.connections = max;
        self
    }

    /// How many connections there may be from one address; a handshake past it is refused (429, code 4).
    #[must_use]
    pub fn connections_per_address(mut self, max: usize) -> Self {
        self.connections_per_address = max;
        self
    }

    /// How often an address may connect; a handshake past it is refused (429, code 4).
    #[must_use]
    pub fn connects_per_address(mut self, rate: Rate) -> Self {
        self.connects = Some(rate);
        self
    }

    /// How many events a socket may send.
    #[must_use]
    pub fn events(mut self, rate: Rate, excess: Excess) -> Self {
        self.events = Some((rate, excess));
        self
    }

    /// How many events of one name a socket may send. They count as events of the socket, too.
    #[must_use]
    pub fn event(mut self, name: &str, rate: Rate, excess: Excess) -> Self {
        self.named.push((name.into(), rate, excess));
        self
    }

    /// How many bytes of events a socket may send, attachments included. One event that is longer than what may be
    /// spent at once passes when nothing is spent, and is paid for afterwards.
    #[must_use]
    pub fn bytes(mut self, rate: Rate, excess: Excess) -> Self {
        self.bytes = Some((rate, excess));
        self
    }

    /// How many events all sockets of an address may send together.
    #[must_use]
    pub fn events_per_address(mut self, rate: Rate, excess: Excess) -> Self {
        self.address_events = Some((rate, excess));
        self
    }

    /// How many bytes of events all sockets of an address may send together.
    #[must_use]
    pub fn bytes_per_address(mut self, rate: Rate, excess: Excess) -> Self {
        self.address_bytes = Some((rate, excess));
        self
    }

    /// How many addresses are told apart. Those past it share the allowance of one. Default 65,536, about 10 MB.
    #[must_use]
    pub fn max_addresses(mut self, max: usize) -> Self {
        self.max_addresses = max;
        self
    }

    /// Where a request comes from: behind a proxy, what a header says that the proxy sets. Default: the address of the
    /// TCP connection, if the listener told it. Requests without an address are limited only in total. Of an IPv6
    /// address the first 64 bits count, as a client has all below.
    #[must_use]
    pub fn address(mut self, address: impl Fn(&Request) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.address = Arc::new(address);
        self
    }

    fn knows_addresses(&self) -> bool {
        self.connections_per_address < usize::MAX
            || self.connects.is_some()
            || self.address_events.is_some()
            || self.address_bytes.is_some()
    }

    fn key(&self, request: &Request) -> Option<IpAddr> {
        Some(match (self.address)(request)?.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
            address => address,
        })
    }
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits")
            .field("connections", &self.connections)
            .field("connections_per_address", &self.connections_per_address)
            .field("connects", &self.connects)
            .field("events", &self.events)
            .field("bytes", &self.bytes)
            .field("named", &self.named)
            .field("address_events", &self.address_events)
            .field("address_bytes", &self.address_bytes)
            .finish_non_exhaustive()
    }
}

/// How much is left to spend.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Option<Rate>, now: Instant) -> Self {
        Self { tokens: rate.map_or(0.0, |rate| rate.burst), at: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.at = self.at.max(now);
    }

    /// Spends `n` if they are there. More than the bucket holds can be spent when it is full; it owes the rest.
    fn take(&mut self, rate: Rate, n: f64, now: Instant) -> bool {
        self.refill(rate, now);
        let enough = self.tokens >= n.min(rate.burst);
        if enough {
            self.tokens -= n;
        }
        enough
    }

    fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.tokens >= rate.burst
    }
}

/// Lets handshakes pass or not, and knows the addresses.
#[derive(Debug, Default)]
pub(super) struct Gate {
    open: AtomicUsize,
    addresses: Mutex<Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    known: HashMap<IpAddr, Arc<Address>>,
    /// What addresses share for which there is no room.
    others: Option<Arc<Address>>,
    swept: Option<Instant>,
}

/// What one address has spent.
#[derive(Debug)]
pub(crate) struct Address(Mutex<Spent>);

#[derive(Debug)]
struct Spent {
    open: usize,
    connects: Bucket,
    events: Bucket,
    bytes: Bucket,
}

/// Addresses that need not be remembered are looked for this often, at most.
const SWEEP: Duration = Duration::from_secs(1);

impl Gate {
    /// Counts a connection that is about to open. It counts until the pass is dropped.
    pub(super) fn admit(self: &Arc<Self>, limits: &RateLimits, request: &Request) -> Result<Pass, HandshakeError> {
        let now = now();
        let mut pass = Pass { gate: self.clone(), address: None };
        if self.open.fetch_add(1, Ordering::AcqRel) >= limits.connections {
            return Err(HandshakeError::TooMany("Too many connections"));
        }
        if let Some(address) = self.address(limits, request, now) {
            let mut spent = address.lock();
            if limits.connects.is_some_and(|rate| !spent.connects.take(rate, 1.0, now)) {
                return Err(HandshakeError::TooMany("Too many attempts from this address"));
            }
            if spent.open >= limits.connections_per_address {
                return Err(HandshakeError::TooMany("Too many connections from this address"));
            }
            spent.open += 1;
            drop(spent);
            pass.address = Some(address);
        }
        Ok(pass)
    }

    fn address(&self, limits: &RateLimits, request: &Request, now: Instant) -> Option<Arc<Address>> {
        if !limits.knows_addresses() {
            return None;
        }
        let key = limits.key(request)?; // A function of the application: not under the lock.
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = addresses.known.get(&key) {
            return Some(address.clone());
        }
        if addresses.known.len() >= limits.max_addresses
            && addresses.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP)
        {
            addresses.swept = Some(now);
            addresses.known.retain(|_, address| address.is_needed(limits, now));
        }
        let new = || Arc::new(Address::new(limits, now));
        Some(match addresses.known.len() < limits.max_addresses {
            true => addresses.known.entry(key).or_insert_with(new).clone(),
            false => addresses.others.get_or_insert_with(new).clone(),
        })
    }
}

impl Address {
    fn new(limits: &RateLimits, now: Instant) -> Self {
        Self(Mutex::new(Spent {
            open: 0,
            connects: Bucket::full(limits.connects, now),
            events: Bucket::full(limits.address_events.map(|(rate, _)| rate), now),
            bytes: Bucket::full(limits.address_bytes.map(|(rate, _)| rate), now),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether forgetting it would give it something back.
    fn is_needed(&self, limits: &RateLimits, now: Instant) -> bool {
        let mut spent = self.lock();
        let rate = |limit: Limit| limit.map(|(rate, _)| rate);
        spent.open > 0
            || limits.connects.is_some_and(|rate| !spent.connects.is_full(rate, now))
            || rate(limits.address_events).is_some_and(|rate| !spent.events.is_full(rate, now))
            || rate(limits.address_bytes).is_some_and(|rate| !spent.bytes.is_full(rate, now))
    }
}

/// A connection counts for as long as this is held.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    address: Option<Arc<Address>>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(address) = &self.address {
            address.lock().open -= 1;
        }
    }
}

/// What the sockets of one connection have spent.
#[derive(Debug)]
pub(crate) struct SocketLimits {
    /// What came since the last event.
    bytes: usize,
    sockets: Vec<(ByteString, Buckets)>,
    address: Option<Arc<Address>>,
}

#[derive(Debug)]
struct Buckets {
    events: Bucket,
    bytes: Bucket,
    /// In the order of the limits.
    named: Box<[Bucket]>,
}

impl SocketLimits {
    /// Nothing, if the events of this connection's sockets are not limited.
    pub(crate) fn of(connection: &Connection) -> Option<Box<Self>> {
        let limits = connection.shared.config.rate_limits.as_ref()?;
        let by_address = limits.address_events.is_some() || limits.address_bytes.is_some();
        if limits.events.is_none() && limits.bytes.is_none() && limits.named.is_empty() && !by_address {
            return None;
        }
        let address = by_address.then(|| connection.shared.gate.address(limits, connection.request(), now())).flatten();
        Some(Box::new(Self { bytes: 0, sockets: Vec::new(), address }))
    }

    /// So many bytes have come: a packet, or a part of one.
    pub(crate) fn heard(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Spends an event with the bytes that came for it, or says what is to happen because it is too much.
    pub(crate) fn event(&mut self, connection: &Connection, nsp: &ByteString, event: &str) -> Result<(), Excess> {
        let Some(limits) = connection.shared.config.rate_limits.as_ref() else { return Ok(()) };
        let (now, bytes) = (now(), std::mem::take(&mut self.bytes) as f64);
        let at = self.sockets.iter().position(|(name, _)| name == nsp).unwrap_or_else(|| {
            let rate = |limit: Limit| limit.map(|(rate, _)| rate);
            let named = limits.named.iter().map(|(_, rate, _)| Bucket::full(Some(*rate), now)).collect();
            let buckets = Buckets {
                events: Bucket::full(rate(limits.events), now),
                bytes: Bucket::full(rate(limits.bytes), now),
                named,
            };
            // The packet's name may share the memory of all that was sent.
            self.sockets.push((ByteString::from(&**nsp), buckets));
            self.sockets.len() - 1
        });
        let own = &mut self.sockets[at].1;
        let spend = |bucket: &mut Bucket, limit: Limit, n: f64| match limit {
            Some((rate, excess)) if !bucket.take(rate, n, now) => Err(excess),
            _ => Ok(()),
        };
        let result = spend(&mut own.events, limits.events, 1.0)
            .and_then(|()| spend(&mut own.bytes, limits.bytes, bytes))
            .and_then(|()| {
                let mut named = limits.named.iter().zip(&mut own.named).filter(|((name, ..), _)| **name == *event);
                named.try_for_each(|((_, rate, excess), bucket)| spend(bucket, Some((*rate, *excess)), 1.0))
            })
            .and_then(|()| {
                let Some(address) = &self.address else { return Ok(()) };
                let mut spent = address.lock();
                spend(&mut spent.events, limits.address_events, 1.0)?;
                spend(&mut spent.bytes, limits.address_bytes, bytes)
            });
        if result.is_err() {
            bump(&connection.shared.counters.rate_limited);
            tracing::debug!(target: "socketio::socket", sid = connection.short_id(), nsp = &**nsp, "an event is over a rate limit");
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_at_its_rate_and_no_further() {
        let rate = Rate::per_second(2).burst(4);
        let start = Instant::now();
        let mut bucket = Bucket::full(Some(rate), start);
        let mut taken = |seconds: f64| {
            let now = start + Duration::from_secs_f64(seconds);
            std::iter::from_fn(|| bucket.take(rate, 1.0, now).then_some(())).count()
        };
        assert_eq!([taken(0.0), taken(0.0), taken(0.5), taken(2.0), taken(100.0)], [4, 0, 1, 3, 4]);
    }

    #[test]
    fn more_than_a_bucket_holds_is_paid_for_afterwards() {
        let rate = Rate::per_second(10);
        let start = Instant::now();
        let mut bucket = Bucket::full(Some(rate), start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(bucket.take(rate, 30.0, at(0)));
        assert!(!bucket.take(rate, 1.0, at(2)));
        assert!(bucket.take(rate, 10.0, at(3)));
    }

    #[test]
    fn addresses_are_forgotten_when_they_have_spent_nothing_and_bounded() {
        let limits = RateLimits::default().connects_per_address(Rate::per_second(1)).max_addresses(10);
        let limits = limits.address(|request| request.query("ip")?.parse().ok());
        let gate = Arc::new(Gate::default());
        let from = |ip: &str| {
            let request = http::Request::get(format!("/?ip={ip}")).body(()).unwrap();
            gate.admit(&limits, &Request::new(&crate::engine::Head::of(&request), None))
        };
        for i in 0..10 {
            drop(from(&format!("10.0.0.{i}")).unwrap());
        }
        assert!(from("10.0.0.3").is_err(), "once a second");
        drop(from("10.0.1.1").unwrap());
        assert!(from("10.0.1.2").is_err(), "two of those for whom there is no room share one allowance");
        assert_eq!(gate.addresses.lock().unwrap().known.len(), 10);
        std::thread::sleep(Duration::from_millis(1100));
        let held = from("2001:db8::1:0:0:1").unwrap();
        assert!(from("2001:db8::2:0:0:2").is_err(), "one network");
        assert_eq!(gate.addresses.lock().unwrap().known.len(), 1);
        assert_eq!(gate.open.load(Ordering::Relaxed), 1);
        drop(held);
        assert_eq!(gate.open.load(Ordering::Relaxed), 0);
    }
}
