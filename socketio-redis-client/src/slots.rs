//! Which node of a Redis Cluster serves which key: the map of its 16,384 slots.
//!
//! Source: the Redis Cluster specification, "Key distribution model" and "Hash tags".

use crate::{address::Host, link::read_host, resp::Reply};

const SLOTS: u16 = 16_384;

/// The slot of a key, or of a sharded channel.
pub(crate) fn slot(key: &[u8]) -> u16 {
    crc16(hashed_part(key)) % SLOTS
}

/// Only what stands between the first `{` and the next `}` counts, if that is not empty.
fn hashed_part(key: &[u8]) -> &[u8] {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    tag.unwrap_or(key)
}

/// CRC16 as XMODEM has it. Bit by bit: a key is short, and is asked for once for each message.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// The answer to `CLUSTER SLOTS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlotMap {
    ranges: Vec<SlotRange>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SlotRange {
    first: u16,
    last: u16,
    /// The master first, then its replicas.
    nodes: Vec<Host>,
}

impl SlotMap {
    /// Reads what the node `asked` answers; `None` when that is no such answer.
    pub(crate) fn read(reply: &Reply, asked: &Host) -> Option<SlotMap> {
        let Reply::Array(ranges) = reply else { return None };
        let ranges = ranges.iter().map(|range| read_range(range, asked)).collect::<Option<Vec<_>>>()?;
        Some(SlotMap { ranges })
    }

    /// The master that serves `slot`.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Host> {
        self.ranges.iter().find(|range| (range.first..=range.last).contains(&slot)).map(|range| &range.nodes[0])
    }

    /// Masters and replicas, each once.
    pub(crate) fn nodes(&self) -> Vec<Host> {
        let mut nodes: Vec<Host> = self.ranges.iter().flat_map(|range| &range.nodes).cloned().collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// A node has said that `host` serves `slot` now.
    pub(crate) fn moved(&mut self, slot: u16, host: &Host) {
        if self.owner(slot) != Some(host) {
            self.ranges.insert(0, SlotRange { first: slot, last: slot, nodes: vec![host.clone()] });
        }
    }
}

fn read_range(range: &Reply, asked: &Host) -> Option<SlotRange> {
    let Reply::Array(parts) = range else { return None };
    let [Reply::Integer(first), Reply::Integer(last), nodes @ ..] = parts.as_slice() else { return None };
    let node = |node: &Reply| match node {
        Reply::Array(parts) => read_host(parts).or_else(|| {
            // A node that does not know its own name leaves it out: it is the one that was asked.
            let Some(Reply::Integer(port)) = parts.get(1) else { return None };
            Some(Host { name: asked.name.clone(), port: u16::try_from(*port).ok()? })
        }),
        _ => None,
    };
    let nodes = nodes.iter().map(node).collect::<Option<Vec<_>>>().filter(|nodes| !nodes.is_empty())?;
    Some(SlotRange { first: u16::try_from(*first).ok()?, last: u16::try_from(*last).ok()?, nodes })
}

/// What `MOVED 3999 127.0.0.1:6381` says.
pub(crate) fn read_moved(error: &str) -> Option<(u16, Host)> {
    let mut words = error.strip_prefix("MOVED ")?.split(' ');
    let slot = words.next()?.parse().ok()?;
    let (name, port) = words.next()?.rsplit_once(':')?;
    let name = name.trim_matches(['[', ']']);
    (!name.is_empty()).then_some((slot, Host { name: name.to_owned(), port: port.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    #[test]
    fn slots_are_those_of_redis() {
        // What CLUSTER KEYSLOT of redis-server 7.0.15 says.
        for (key, expected) in [
            ("123456789", 12739),
            ("socket.io#/#", 13868),
            ("socket.io", 9972),
            ("", 0),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key:?}");
        }
    }

    #[test]
    fn the_map_knows_owners_and_learns_of_moves() {
        let bulk = |text: &'static str| Reply::Bulk(Some(text.into()));
        let node = |name, port| Reply::Array(vec![bulk(name), Reply::Integer(port), bulk("id")]);
        let range = |first, last, nodes: Vec<Reply>| {
            Reply::Array([vec![Reply::Integer(first), Reply::Integer(last)], nodes].concat())
        };
        let reply =
            Reply::Array(vec![range(0, 8191, vec![node("a", 1), node("a", 2)]), range(8192, 16383, vec![node("", 3)])]);
        let mut map = SlotMap::read(&reply, &host("seed", 9)).expect("it is a map");
        assert_eq!(map.owner(8191), Some(&host("a", 1)));
        assert_eq!(map.owner(8192), Some(&host("seed", 3)));
        assert_eq!(map.nodes(), [host("a", 1), host("a", 2), host("seed", 3)]);
        let (slot, to) = read_moved("MOVED 8191 [::1]:7").expect("it is a move");
        map.moved(slot, &to);
        assert_eq!(map.owner(8191), Some(&host("::1", 7)));
        assert_eq!(map.owner(8190), Some(&host("a", 1)));
        for no in [Reply::Integer(1), Reply::Array(vec![range(0, 1, vec![])]), Reply::Array(vec![range(-1, 1, vec![])])]
        {
            assert_eq!(SlotMap::read(&no, &host("seed", 9)), None);
        }
        for no in ["MOVED", "MOVED 1", "MOVED x a:1", "MOVED 1 :1", "ASK 1 a:1"] {
            assert_eq!(read_moved(no), None, "{no}");
        }
    }
}
