//! A Redis Cluster of the test's own.

use std::time::Duration;

use super::{Redis, free_port};

/// Nodes on free ports that end with the test: masters, each with as many replicas as asked for.
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<Redis>,
    folder: std::path::PathBuf,
}

/// How long the nodes take to find that one of them is gone.
const NODE_TIMEOUT: &str = "1000";

impl RedisCluster {
    pub(crate) fn start(masters: u16, replicas: u16) -> RedisCluster {
        let folder = std::env::temp_dir().join(format!("socketio-cluster-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir_all(&folder).unwrap();
        let count = masters * (1 + replicas);
        let bus_ports: Vec<String> = (0..count).map(|_| free_port().to_string()).collect();
        let dir = folder.to_str().unwrap();
        let nodes: Vec<Redis> = bus_ports
            .iter()
            .map(|bus_port| {
                let config = format!("nodes-{bus_port}.conf");
                Redis::with(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    bus_port,
                    "--cluster-node-timeout",
                    NODE_TIMEOUT,
                    "--cluster-config-file",
                    &config,
                    "--dir",
                    dir,
                    "--cluster-require-full-coverage",
                    "no",
                    "--cluster-replica-validity-factor",
                    "0",
                    "--repl-diskless-sync-delay",
                    "0",
                ])
            })
            .collect();
        for (node, bus_port) in nodes.iter().zip(&bus_ports).skip(1) {
            let port = node.port.to_string();
            assert_eq!(nodes[0].cli(&["cluster", "meet", "127.0.0.1", &port, bus_port]), "OK");
        }
        let cluster = RedisCluster { nodes, folder };
        let masters = usize::from(masters);
        for (n, node) in cluster.nodes[..masters].iter().enumerate() {
            let (first, last) = (16_384 * n / masters, 16_384 * (n + 1) / masters - 1);
            assert_eq!(node.cli(&["cluster", "addslotsrange", &first.to_string(), &last.to_string()]), "OK");
        }
        for (n, replica) in cluster.nodes[masters..].iter().enumerate() {
            let master = &cluster.nodes[n % masters];
            let id = master.cli(&["cluster", "myid"]);
            wait("the replica knows its master", || replica.cli(&["cluster", "replicate", &id]) == "OK");
        }
        for node in &cluster.nodes {
            // It knows the slots of a master when it has shaken hands with that.
            wait("the cluster is whole", || {
                let info = node.cli(&["cluster", "info"]);
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            });
        }
        for replica in &cluster.nodes[masters..] {
            wait("the replica follows", || replica.cli(&["info", "replication"]).contains("master_link_status:up"));
        }
        cluster
    }

    /// Known by two nodes that are there and one that is not.
    pub(crate) fn url(&self) -> String {
        let [one, .., other] = self.nodes.as_slice() else { panic!("a cluster has several nodes") };
        format!("redis+cluster://127.0.0.1:1,127.0.0.1:{},127.0.0.1:{}", one.port, other.port)
    }

    /// The master that serves a key or channel.
    pub(crate) fn owner(&self, key: &str) -> usize {
        let slot: u16 = self.alive().cli(&["cluster", "keyslot", key]).parse().unwrap();
        self.nodes
            .iter()
            .position(|node| {
                let mine = node.cli(&["cluster", "nodes"]);
                let myself = mine.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
                myself.split(' ').skip(8).any(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    first.parse().is_ok_and(|first: u16| first <= slot)
                        && last.parse().is_ok_and(|last: u16| slot <= last)
                })
            })
            .unwrap_or_else(|| panic!("nobody serves {key:?}"))
    }

    /// Moves the slot of `key` to another master, with all that it holds.
    pub(crate) fn move_slot(&self, key: &str) {
        let from = self.owner(key);
        let to = (from + 1) % 3;
        let slot = self.nodes[from].cli(&["cluster", "keyslot", key]);
        let [from, to] = [&self.nodes[from], &self.nodes[to]];
        let [from_id, to_id] = [from, to].map(|node| node.cli(&["cluster", "myid"]));
        assert_eq!(to.cli(&["cluster", "setslot", &slot, "importing", &from_id]), "OK");
        assert_eq!(from.cli(&["cluster", "setslot", &slot, "migrating", &to_id]), "OK");
        for key in from.cli(&["cluster", "getkeysinslot", &slot, "100"]).lines().filter(|key| !key.is_empty()) {
            assert_eq!(from.cli(&["migrate", "127.0.0.1", &to.port.to_string(), key, "0", "5000"]), "OK");
        }
        for node in [to, from].into_iter().chain(&self.nodes[..3]) {
            assert_eq!(node.cli(&["cluster", "setslot", &slot, "node", &to_id]), "OK");
        }
    }

    fn alive(&self) -> &Redis {
        self.nodes.iter().find(|node| node.cli(&["ping"]) == "PONG").expect("a node is alive")
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn wait(what: &str, done: impl Fn() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 30 s: {what}");
}
