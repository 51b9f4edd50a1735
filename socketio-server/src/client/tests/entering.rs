//! How a client gets into a namespace: patterns, functions that decide later or never, namespaces that go.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{Namespace, NamespaceRequest};

/// Lives for as long as the function of an application that it was moved into.
#[derive(Clone)]
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server whose namespace `/never` is made by a pattern and never lets anybody in.
fn never(connect_timeout: Duration) -> (Server, Arc<AtomicUsize>) {
    let io = Server::builder().connect_timeout(connect_timeout).cleanup_empty_child_namespaces(true).build();
    let running: Arc<AtomicUsize> = Arc::default();
    let count = running.clone();
    io.of_matching(|name| name == "/never").middleware(async move |socket: Socket| {
        let _alive = Alive::new(&count);
        socket.join("early");
        std::future::pending().await
    });
    (io, running)
}

fn names(io: &Server) -> Vec<String> {
    let mut names: Vec<_> = io.namespaces().iter().map(|namespace| namespace.name().to_string()).collect();
    names.sort();
    names
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::test]
async fn a_middleware_that_never_ends_is_ended_and_nothing_is_left_of_its_client() {
    let (io, running) = never(Duration::from_millis(150));
    let mut client = Polling::connect(&io).await;
    client.send(&["0/never,"]).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    assert_eq!(names(&io), ["/", "/never"]);
    let namespace = io.of("/never");
    assert_eq!(client.next().await, r#"4/never,{"message":"timeout"}"#);
    settle().await;
    assert_eq!(running.load(Ordering::SeqCst), 0, "its future is dropped");
    assert_eq!((namespace.local_count(), namespace.adapter().local().all_rooms().len()), (0, 0));
    assert_eq!(names(&io), ["/"], "it was the last guest");
    client.send(&["2[\"x\"]", "2/never,[\"late\"]"]).await;
    assert_eq!(io.local_count(), 1, "its other namespaces are not touched");
}

#[tokio::test]
async fn a_client_that_only_waits_is_closed() {
    let (io, running) = never(Duration::from_millis(60));
    let client = Polling::open(&io).await;
    client.send(&["0/never,"]).await;
    assert_eq!(client.request("").await.1, "1", "closed as one that joined no namespace in time");
    settle().await;
    assert_eq!((running.load(Ordering::SeqCst), names(&io)), (0, vec!["/".to_owned()]));
}

#[tokio::test]
async fn a_middleware_whose_client_goes_is_dropped_at_once() {
    let (io, running) = never(Duration::from_secs(60));
    let client = Polling::connect(&io).await;
    client.send(&["0/never,"]).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    assert_eq!(client.request("1").await.0, 200);
    settle().await;
    assert_eq!((running.load(Ordering::SeqCst), names(&io)), (0, vec!["/".to_owned()]));
}

/// Tenants, whom a function lets in by a key, and after them anything that begins with `/t`.
fn tenants() -> (Server, crate::NamespacePattern, crate::NamespacePattern) {
    let io = Server::builder().cleanup_empty_child_namespaces(true).build();
    let keys = io.of_matching_async(
        |name| name.starts_with("/tenant-"),
        async |asked: NamespaceRequest| {
            let auth = asked.handshake().auth::<serde_json::Value>().unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_ne!(auth["key"], "panic");
            auth["key"] == asked.name()["/tenant-".len()..]
        },
    );
    let rest = io.of_matching(|name| name.starts_with("/t") && name.len() < 8);
    (io, keys, rest)
}

#[tokio::test]
async fn an_async_function_decides_on_each_client_and_the_next_pattern_after_it() {
    let (io, keys, rest) = tenants();
    keys.on("whose", async || "keys");
    rest.on("whose", async || "rest");
    let mut client = Polling::connect(&io).await;
    for (packet, answer) in [
        (r#"0/tenant-ana,{"key":"bob"}"#, r#"4/tenant-ana,{"message":"Invalid namespace"}"#),
        (r#"0/tenant-ana,{"key":"panic"}"#, r#"4/tenant-ana,{"message":"Invalid namespace"}"#),
        (r#"0/tenant-ana,"#, r#"4/tenant-ana,{"message":"Invalid namespace"}"#),
        (r#"0/other,"#, r#"4/other,{"message":"Invalid namespace"}"#),
    ] {
        client.send(&[packet]).await;
        assert_eq!(client.next().await, answer);
    }
    assert_eq!(names(&io), ["/"], "nothing is made for those who are refused");

    // Events sent right behind CONNECT wait.
    client.send(&[r#"0/tenant-ana,{"key":"ana"}"#, r#"2/tenant-ana,7["whose"]"#]).await;
    assert!(client.next().await.starts_with("0/tenant-ana,{\"sid\":"));
    assert_eq!(client.next().await, r#"3/tenant-ana,7["keys"]"#);
    assert_eq!((keys.namespaces().len(), rest.namespaces().len()), (1, 0));

    let mut other = Polling::connect(&io).await;
    other.send(&["0/tenant-ana,{\"key\":\"bob\"}"]).await;
    assert!(other.next().await.starts_with("4/tenant-ana,"), "that it is there already opens it to nobody");

    other.send(&["0/tenant-,{\"key\":\"x\"}", "2/tenant-,8[\"whose\"]"]).await;
    assert!(other.next().await.starts_with("4/tenant-,"), "fits the first pattern only");
    other.send(&["0/tenant,", "2/tenant,8[\"whose\"]"]).await;
    assert!(other.next().await.starts_with("0/tenant,"));
    assert_eq!(other.next().await, r#"3/tenant,8["rest"]"#);

    client.send(&["1/tenant-ana,"]).await;
    assert!(keys.namespaces().is_empty(), "it goes with its last guest");
}

#[tokio::test]
async fn a_name_is_refused_by_one_pattern_and_taken_by_the_next() {
    let io = Server::new();
    let order: Arc<Mutex<Vec<u8>>> = Arc::default();
    for n in 1..=3 {
        let order = order.clone();
        io.of_matching_async(
            |_| true,
            move |_| {
                order.lock().unwrap().push(n);
                async move { n == 2 }
            },
        );
    }
    let mut client = Polling::open(&io).await;
    client.send(&["0/x,"]).await;
    assert!(client.next().await.starts_with("0/x,"));
    client.send(&["1/x,", "0/x,"]).await;
    assert!(client.next().await.starts_with("0/x,"));
    assert_eq!(*order.lock().unwrap(), [1, 2, 2], "in order, and once it is there its own pattern only");
}

#[tokio::test]
async fn a_client_that_goes_while_it_is_decided_on_leaves_nothing_behind() {
    let io = Server::builder().cleanup_empty_child_namespaces(true).build();
    let running: Arc<AtomicUsize> = Arc::default();
    let count = running.clone();
    io.of_matching_async(
        |_| true,
        move |_| {
            let alive = Alive::new(&count);
            async move {
                let _alive = alive;
                std::future::pending().await
            }
        },
    );
    let client = Polling::open(&io).await;
    client.send(&["0/x,"]).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    assert_eq!(client.request("1").await.0, 200);
    settle().await;
    assert_eq!((running.load(Ordering::SeqCst), names(&io).len()), (0, 1));
}

#[tokio::test]
async fn the_operators_of_a_pattern_act_on_each_of_its_namespaces_and_no_other() {
    let io = Server::builder().connection_state_recovery(crate::Recovery::default()).build();
    let boards = io.of_matching(|name| name.starts_with("/board-"));
    io.of("/other");
    let mut client = Polling::connect(&io).await;
    for name in ["/board-1", "/board-2", "/other"] {
        client.send(&[&format!("0{name},")]).await;
        client.next().await;
    }
    boards.sockets_join("red").unwrap().await.unwrap();
    assert!(boards.namespaces().iter().all(|namespace| namespace.adapter().local().has_room("red")));
    assert!(!io.of("/other").adapter().local().has_room("red"));
    assert_eq!(boards.fetch_sockets().await.unwrap().len(), 2);
    assert_eq!(boards.except("red").fetch_sockets().await.unwrap().len(), 0);

    boards.to("red").emit("hi", ()).unwrap().await.unwrap();
    let mut heard = [client.next().await, client.next().await];
    heard.sort();
    for (text, name) in heard.iter().zip(["/board-1", "/board-2"]) {
        let (_, args) = text.split_once(',').unwrap();
        let args: Vec<String> = serde_json::from_str(args).unwrap();
        assert_eq!((text.split(',').next().unwrap(), args.len()), (&*format!("2{name}"), 2), "one offset each: {text}");
    }

    let acks = boards.timeout(Duration::from_secs(5)).emit_with_ack::<String>("ask", ());
    for _ in 0..2 {
        let question = client.next().await;
        let (name, rest) = question.strip_prefix('2').unwrap().split_once(',').unwrap();
        let (id, _) = rest.split_once('[').unwrap();
        client.send(&[&format!("3{name},{id}[\"{name}\"]")]).await;
    }
    let acks = acks.await.unwrap();
    let mut answers = acks.answers.clone();
    answers.sort();
    assert_eq!((answers, acks.is_complete()), (vec!["/board-1".to_owned(), "/board-2".into()], true));

    boards.sockets_leave(["red"]).unwrap().await.unwrap();
    assert!(boards.namespaces().iter().all(|namespace| !namespace.adapter().local().has_room("red")));
    boards.server_side_emit("sse", ()).unwrap().await.unwrap();
    assert!(boards.server_side_emit_with_ack::<i32>("sse", ()).await.unwrap().is_empty(), "there is no other server");
    boards.disconnect_sockets(false).unwrap().await.unwrap();
    let mut left = [client.next().await, client.next().await];
    left.sort();
    assert_eq!(left, ["1/board-1,", "1/board-2,"]);
    assert_eq!((io.local_count(), io.of("/other").local_count()), (1, 1));
}

#[tokio::test]
async fn a_namespace_that_is_removed_tells_its_sockets_and_is_unknown_from_then_on() {
    let io = Server::new();
    let lottery = io.of("/lottery");
    let reasons: Arc<Mutex<Vec<&str>>> = Arc::default();
    let log = reasons.clone();
    lottery.on_disconnect(async move |_, reason| log.lock().unwrap().push(reason.as_str()));
    let mut client = Polling::connect(&io).await;
    client.send(&["0/lottery,"]).await;
    client.next().await;
    assert!(io.remove_namespace("lottery"));
    assert!(!io.remove_namespace("lottery"));
    assert!(!io.remove_namespace("/"), "it is always there");
    assert_eq!(client.next().await, "1/lottery,");
    assert_eq!(*reasons.lock().unwrap(), ["server namespace disconnect"]);
    client.send(&["2/lottery,[\"late\"]", "0/lottery,"]).await;
    assert_eq!(client.next().await, r#"4/lottery,{"message":"Invalid namespace"}"#);
    assert!(io.of("/lottery") != lottery, "made anew, without the old handlers");
}

#[tokio::test]
async fn a_client_that_a_middleware_lets_into_a_removed_namespace_is_refused() {
    let io = Server::new();
    let slow = io.of("/slow");
    slow.middleware(async |_| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    });
    let mut client = Polling::connect(&io).await;
    client.send(&["0/slow,"]).await;
    assert!(io.remove_namespace("/slow"));
    assert_eq!(client.next().await, r#"4/slow,{"message":"Invalid namespace"}"#);
    assert_eq!(slow.local_count(), 0);
    io.on("echo", async |Data(n): Data<i32>| n);
    client.send(&["2/slow,[\"late\"]", "21[\"echo\",5]"]).await;
    assert_eq!(client.next().await, "31[5]", "what was still on its way is nobody's fault");
}

#[tokio::test]
async fn what_is_on_its_way_to_a_namespace_that_was_left_does_no_harm_while_another_is_entered() {
    let io = Server::new();
    let (one, _other) = (io.of("/one"), io.of("/other"));
    io.on("echo", async |Data(n): Data<i32>| n);
    let mut client = Polling::connect(&io).await;
    client.send(&["0/one,"]).await;
    client.next().await;
    one.local_sockets().pop().unwrap().disconnect(false);
    assert_eq!(client.next().await, "1/one,");
    client.send(&["0/other,", "2/one,[\"late\"]", "21[\"echo\",5]"]).await;
    assert!(client.next().await.starts_with("0/other,"));
    assert_eq!(client.next().await, "31[5]");
}

#[tokio::test]
async fn who_watches_is_told_of_each_new_namespace() {
    let io = Server::new();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = told.clone();
    io.on_new_namespace(move |namespace: &Namespace| log.lock().unwrap().push(namespace.name().to_string()));
    io.of("/a");
    io.of("a");
    io.of_matching(|name| name == "/b");
    let mut client = Polling::connect(&io).await;
    client.send(&["0/b,", "0/c,"]).await;
    client.next().await;
    assert_eq!(*told.lock().unwrap(), ["/a", "/b"]);
    assert_eq!(names(&io), ["/", "/a", "/b"]);
}
