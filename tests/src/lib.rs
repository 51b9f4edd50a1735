//! The kit of the tests: programs to start, a Redis of one's own, and the suites in Node.js.
//!
//! What is tested across the crates needs other programs: the servers of this workspace, `redis-server`, Node.js with the
//! real Socket.IO clients. [`Program`] starts one and ends it by its process id, whatever happens to the test.
//! [`TestRedis`] and [`Server`] are programs that are ready when they are returned. [`NodeSuite`] runs one file of
//! `tests/node` against a server. A program that is missing fails the test and says how to get it; nothing is skipped.
//!
//! ```no_run
//! use socketio_tests::{NodeSuite, TestRedis};
//!
//! let redis = TestRedis::spawn();
//! println!("a Redis for this test alone: {}", redis.url());
//! NodeSuite::new("cluster.test.mjs").server("SERVER_CMD", "/path/to/cluster-node").run();
//! ```

mod node;
mod paths;
mod program;
mod redis;
mod server;

pub use node::NodeSuite;
pub use paths::{has_test, node_folder, python_folder, valkey_server, workspace, workspace_binary, workspace_example};
pub use program::{Program, free_port, until};
pub use redis::TestRedis;
pub use server::Server;
