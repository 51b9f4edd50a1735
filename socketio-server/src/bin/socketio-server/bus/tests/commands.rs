//! What each command is answered with.

use super::Running;

#[tokio::test]
async fn every_command_is_answered_as_redis_does() {
    let bus = Running::start().await;
    let mut client = bus.client().await;
    for (command, reply) in [
        ("PING", "+PONG\r\n"),
        ("ping hello", "$5\r\nhello\r\n"),
        ("ECHO hello", "$5\r\nhello\r\n"),
        ("PUBLISH news hello", ":0\r\n"),
        ("PUBSUB CHANNELS", "*0\r\n"),
        ("PUBSUB NUMSUB", "*0\r\n"),
        ("PUBSUB NUMSUB a b", "*4\r\n$1\r\na\r\n:0\r\n$1\r\nb\r\n:0\r\n"),
        ("PUBSUB NUMPAT", ":0\r\n"),
        ("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"),
        ("PUNSUBSCRIBE", "*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n"),
        ("UNSUBSCRIBE a", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"),
        ("CLIENT ID", ":1\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CLIENT SETNAME ana", "+OK\r\n"),
        ("CLIENT GETNAME", "$3\r\nana\r\n"),
        ("CLIENT SETINFO LIB-NAME test", "+OK\r\n"),
        ("CLIENT SETINFO lib-ver 1", "+OK\r\n"),
        ("CLIENT SETINFO other 1", "-ERR Unrecognized option 'other'\r\n"),
        ("CLIENT KILL", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
        ("SELECT x", "-ERR value is not an integer or out of range\r\n"),
        ("COMMAND", "*0\r\n"),
        ("COMMAND DOCS", "*0\r\n"),
        ("COMMAND COUNT", ":0\r\n"),
        ("PUBLISH news", "-ERR wrong number of arguments for 'publish' command\r\n"),
        ("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command\r\n"),
        ("PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command\r\n"),
        ("PUBSUB SHARDNUMSUB", "-ERR unknown subcommand 'SHARDNUMSUB'. Try PUBSUB HELP.\r\n"),
        ("GET a", "-ERR unknown command 'GET', with args beginning with: 'a' \r\n"),
        ("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n"),
        ("FOO a\r\nb", "-ERR unknown command 'FOO', with args beginning with: 'a  b' \r\n"),
        ("QUIT", "+OK\r\n"),
    ] {
        client.say(command).await;
        client.hears(reply).await;
    }
    assert_eq!(client.hears_the_end().await, "", "QUIT closes");
}

#[tokio::test]
async fn passwords_are_refused_with_the_way_out() {
    let bus = Running::start().await;
    for (command, refusal) in [
        ("AUTH secret", "-ERR AUTH <password> called without any password configured"),
        ("AUTH ana secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("HELLO 3 AUTH ana secret", "-WRONGPASS invalid username-password pair or user is disabled."),
    ] {
        let mut client = bus.client().await;
        client.say(command).await;
        client.hears(refusal).await;
        client.say("QUIT").await;
        let rest = client.hears_the_end().await;
        assert!(rest.contains("leave both out of the URL"), "{rest}");
    }
}

#[tokio::test]
async fn the_default_user_is_let_in_with_any_password_as_in_a_redis_without_one() {
    let bus = Running::start().await;
    let mut client = bus.client().await;
    client.say("AUTH default secret").await;
    client.hears("+OK\r\n").await;
    client.say("HELLO 3 AUTH default secret").await;
    client.hears("%7\r\n").await;
}

#[tokio::test]
async fn hello_chooses_the_version_and_describes_the_bus() {
    let bus = Running::start().await;
    let mut client = bus.client().await;
    client.say("HELLO 3 SETNAME ana").await;
    client
        .hears(
            "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n\
             $2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
             $7\r\nmodules\r\n*0\r\n",
        )
        .await;
    client.say("CLIENT GETNAME").await;
    client.hears("$3\r\nana\r\n").await;

    client.say("HELLO 4").await;
    client.hears("-NOPROTO unsupported protocol version\r\n").await;
    client.say("HELLO 2 SETNAME").await;
    client.hears("-ERR Syntax error in HELLO option 'SETNAME'\r\n").await;
    client.say("UNSUBSCRIBE").await;
    client.hears(">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n").await;

    client.say("HELLO 2").await;
    client.hears("*14\r\n$6\r\nserver\r\n").await;
}
