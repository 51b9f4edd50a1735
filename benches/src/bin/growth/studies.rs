//! What is varied, what stays the same, and what is measured.

use std::time::{Duration, Instant};

use socketio_benches::process::cpu_of;
use socketio_tests::TestRedis;

use crate::Outcome;
use crate::chart::{Panel, Study};
use crate::crowd::{self, Crowd};
use crate::measured::Measured;

pub(crate) const NAMES: [&str; 7] = ["connections", "rooms", "namespaces", "payloads", "nodes", "full", "departure"];

pub(crate) const MOST_NAMESPACES: usize = 64;

/// Runs a study; `None` if there is none of that name.
pub(crate) async fn run(name: &str) -> Outcome<Option<Study>> {
    let study = match name {
        "connections" => connections().await?,
        "rooms" => rooms().await?,
        "namespaces" => namespaces().await?,
        "payloads" => payloads().await?,
        "nodes" => nodes().await?,
        "full" => full().await?,
        "departure" => departure().await?,
        _ => return Ok(None),
    };
    for panel in &study.panels {
        let figures = panel.points.iter().map(|(x, y)| format!("{x} {y:.3}")).collect::<Vec<_>>().join(", ");
        eprintln!("{name}: {}: {figures}", panel.title);
    }
    Ok(Some(study))
}

/// What is said: as long as a short chat message.
const SAY: &str = r#"2["say",null,"aaaaaaaabbbbbbbbccccccccdddddddd"]"#;

/// The memory of a process that has just done something settles first.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Deliveries that one figure is the mean of, about.
const DELIVERIES: usize = 100_000;

/// The CPU time of a delivery when one client says something that `audience` hear.
async fn said(server: &Measured, crowd: &mut Crowd, message: &str, audience: usize) -> Outcome<(f64, f64)> {
    let times = (DELIVERIES / audience).clamp(10, 2_000);
    for _ in 0..times / 10 + 1 {
        crowd.hear(0, message, audience).await?;
    }
    let before = server.cpu()?;
    let mut durations = Vec::with_capacity(times);
    for _ in 0..times {
        durations.push(crowd.hear(0, message, audience).await?);
    }
    let cost = (server.cpu()? - before) / (times * audience) as f64;
    durations.sort();
    Ok((cost, durations[times / 2].as_secs_f64() * 1e3))
}

/// As many as one process may hold here: a limit of 20,000 file descriptors is common.
const CONNECTIONS: [usize; 6] = [100, 300, 1_000, 3_000, 10_000, 18_000];

async fn connections() -> Outcome<Study> {
    let server = Measured::start(None).await?;
    let mut crowd = Crowd::default();
    crowd.grow_to(1, server.addr(), 1).await?; // What is made once is there.
    settle().await;
    let empty = server.memory()?;
    let mut connect = Panel::new("CPU of a connect", "connections", "µs");
    let mut memory = Panel::new("Memory of a connection at rest", "connections", "KiB");
    let mut delivery = Panel::new("CPU of a delivery, broadcast to all", "connections", "µs");
    let mut last = Panel::new("Until the last one has a broadcast", "connections", "ms");
    for count in CONNECTIONS {
        let (before, there) = (server.cpu()?, crowd.len());
        crowd.grow_to(count, server.addr(), 1).await?;
        connect.add(count, (server.cpu()? - before) / (count - there) as f64);
        settle().await;
        memory.add(count, (server.memory()? - empty) / (count - 1) as f64);
        let (cost, time) = said(&server, &mut crowd, SAY, count).await?;
        delivery.add(count, cost);
        last.add(count, time);
    }
    Ok(Study { title: "Connections to one server", panels: vec![memory, connect, delivery, last] })
}

async fn rooms() -> Outcome<Study> {
    const CLIENTS: usize = 1_000;
    const AUDIENCE: usize = 100;
    /// Members of each of the other rooms.
    const OTHERS: usize = 10;
    let server = Measured::start(None).await?;
    let mut crowd = Crowd::default();
    crowd.grow_to(CLIENTS, server.addr(), 1).await?;
    for client in 0..AUDIENCE {
        crowd.hear(client, r#"2["join",["measured"]]"#, 1).await?;
    }
    settle().await;
    let empty = server.memory()?;
    let mut memory = Panel::new("Memory of a membership", "other rooms, 10 members each", "bytes");
    let mut join = Panel::new("CPU of a join", "other rooms, 10 members each", "µs");
    let mut delivery = Panel::new("CPU of a delivery, to a room of 100", "other rooms, 10 members each", "µs");
    let (mut cost, _) = said(&server, &mut crowd, &SAY.replace("null", "\"measured\""), AUDIENCE).await?;
    delivery.add(1, cost);
    let mut there = 0;
    for count in [10, 100, 1_000, 10_000_usize] {
        let (before, events) = (server.cpu()?, crowd.heard());
        let mut asked = 0;
        for client in 0..CLIENTS {
            let mine =
                (there..count).filter(|room| (0..OTHERS).any(|member| (room * OTHERS + member) % CLIENTS == client));
            let names = mine.map(|room| format!("\"room {room}\"")).collect::<Vec<_>>();
            if !names.is_empty() {
                crowd.send(client, &format!(r#"2["join",[{}]]"#, names.join(","))).await?;
                asked += 1;
            }
        }
        crowd.heard_all(events + asked).await?;
        join.add(count, (server.cpu()? - before) / ((count - there) * OTHERS) as f64);
        there = count;
        settle().await;
        if count * OTHERS >= CLIENTS {
            // Fewer are less than what memory is given out by.
            memory.add(count, (server.memory()? - empty) * 1024.0 / (count * OTHERS) as f64);
        }
        (cost, _) = said(&server, &mut crowd, &SAY.replace("null", "\"measured\""), AUDIENCE).await?;
        delivery.add(count, cost);
    }
    Ok(Study { title: "Rooms of one server with 1,000 clients", panels: vec![memory, join, delivery] })
}

async fn namespaces() -> Outcome<Study> {
    const CLIENTS: usize = 500;
    let mut memory = Panel::new("Memory of a client in one more namespace", "namespaces of each client", "KiB");
    let mut enter =
        Panel::new("CPU of entering a namespace, the connect shared out", "namespaces of each client", "µs");
    let mut delivery = Panel::new("CPU of a delivery, broadcast to one namespace", "namespaces of each client", "µs");
    for count in [1, 4, 16, MOST_NAMESPACES] {
        let server = Measured::start(None).await?;
        let mut crowd = Crowd::default();
        crowd.grow_to(1, server.addr(), count).await?;
        settle().await;
        let (empty, before) = (server.memory()?, server.cpu()?);
        crowd.grow_to(CLIENTS, server.addr(), count).await?;
        enter.add(count, (server.cpu()? - before) / ((CLIENTS - 1) * count) as f64);
        settle().await;
        memory.add(count, (server.memory()? - empty) / ((CLIENTS - 1) * count) as f64);
        delivery.add(count, said(&server, &mut crowd, SAY, CLIENTS).await?.0);
    }
    Ok(Study { title: "Namespaces of 500 clients", panels: vec![memory, enter, delivery] })
}

async fn payloads() -> Outcome<Study> {
    const CLIENTS: usize = 50;
    let server = Measured::start(None).await?;
    let mut crowd = Crowd::default();
    crowd.grow_to(CLIENTS, server.addr(), 1).await?;
    let mut echo = Panel::new("CPU of an echo", "bytes of text", "µs");
    let mut delivery = Panel::new("CPU of a delivery, broadcast to 50", "bytes of text", "µs");
    let mut share = Panel::new("CPU of an echo, for each KiB", "bytes of text", "µs");
    for bytes in [10, 100, 1_000, 10_000, 100_000, 1_000_000_usize] {
        let message = format!(r#"2["echo","{}"]"#, "x".repeat(bytes));
        let times = (50_000_000 / (bytes + 2_000)).min(5_000);
        crowd.hear(0, &message, 1).await?;
        let before = server.cpu()?;
        for turn in 0..times {
            crowd.hear(turn % CLIENTS, &message, 1).await?;
        }
        let cost = (server.cpu()? - before) / times as f64;
        echo.add(bytes, cost);
        share.add(bytes, cost * 1024.0 / bytes as f64);
        let message = format!(r#"2["say",null,"{}"]"#, "x".repeat(bytes));
        let times = (20_000_000 / (bytes + 10_000)).min(2_000);
        crowd.hear(0, &message, CLIENTS).await?;
        let before = server.cpu()?;
        for _ in 0..times {
            crowd.hear(0, &message, CLIENTS).await?;
        }
        delivery.add(bytes, (server.cpu()? - before) / (times * CLIENTS) as f64);
    }
    Ok(Study { title: "The size of a message", panels: vec![echo, share, delivery] })
}

async fn nodes() -> Outcome<Study> {
    const CLIENTS: usize = 400;
    let redis = TestRedis::spawn();
    let mut delivery = Panel::new("CPU of a delivery, all servers together", "servers with 400 clients in all", "µs");
    let mut broker = Panel::new("CPU of Redis for a broadcast", "servers with 400 clients in all", "µs");
    let mut last = Panel::new("Until the last one has a broadcast", "servers with 400 clients in all", "ms");
    for count in 1..=4 {
        let mut servers = Vec::new();
        let mut crowd = Crowd::default();
        for number in 1..=count {
            let server = Measured::start(Some(&redis.url())).await?;
            crowd.grow_to(CLIENTS * number / count, server.addr(), 1).await?;
            servers.push(server);
        }
        let all = || servers.iter().try_fold(0.0, |sum, server| server.cpu().map(|cpu| sum + cpu));
        for _ in 0..20 {
            crowd.hear(0, SAY, CLIENTS).await?;
        }
        const TIMES: usize = 300;
        let (before, redis_before) = (all()?, cpu_of(redis.pid())?);
        let mut durations = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            durations.push(crowd.hear(0, SAY, CLIENTS).await?);
        }
        durations.sort();
        delivery.add(count, (all()? - before) / (TIMES * CLIENTS) as f64);
        broker.add(count, (cpu_of(redis.pid())? - redis_before) / TIMES as f64);
        last.add(count, durations[TIMES / 2].as_secs_f64() * 1e3);
    }
    Ok(Study { title: "Servers of a cluster (classic adapter)", panels: vec![delivery, broker, last] })
}

/// As many connections as a process may have, on each of several servers.
async fn full() -> Outcome<Study> {
    const CLIENTS: usize = 17_000;
    const TIMES: usize = 20;
    let redis = TestRedis::spawn();
    let mut memory = Panel::new("Memory of a connection at rest", "connections, 17,000 on each server", "KiB");
    let mut delivery =
        Panel::new("CPU of a delivery, all servers together", "connections, 17,000 on each server", "µs");
    let mut last = Panel::new("Until the last one has a broadcast", "connections, 17,000 on each server", "ms");
    let (mut servers, mut crowds, mut speaker, mut empty) = (Vec::new(), Vec::new(), Crowd::default(), 0.0);
    let mut rounds = 0;
    for count in 1..=3 {
        let server = Measured::start(Some(&redis.url())).await?;
        if count == 1 {
            speaker.grow_to(1, server.addr(), 1).await?;
        }
        settle().await;
        empty += server.memory()?;
        crowds.push((crowd::hold(server.addr(), CLIENTS).await?, rounds));
        servers.push(server);
        settle().await;
        let used = servers.iter().try_fold(0.0, |sum, server| server.memory().map(|memory| sum + memory))?;
        memory.add(count * CLIENTS, (used - empty) / (count * CLIENTS) as f64);

        let cpu = || servers.iter().try_fold(0.0, |sum, server| server.cpu().map(|cpu| sum + cpu));
        let (mut before, mut durations) = (0.0, Vec::new());
        for time in 0..=TIMES {
            let began = Instant::now();
            speaker.send(0, SAY).await?;
            rounds += 1;
            for (crowd, joined) in &crowds {
                crowd::have_heard(crowd, rounds - joined).await?;
            }
            match time {
                0 => before = cpu()?, // The first is not counted.
                _ => durations.push(began.elapsed()),
            }
        }
        delivery.add(count * CLIENTS, (cpu()? - before) / (TIMES * count * CLIENTS) as f64);
        durations.sort();
        last.add(count * CLIENTS, durations[TIMES / 2].as_secs_f64() * 1e3);
    }
    Ok(Study { title: "Full servers", panels: vec![memory, delivery, last] })
}

/// How long somebody who stays waits for an echo while all others leave at once.
async fn departure() -> Outcome<Study> {
    const MESSAGE: &str = r#"2["echo","still here"]"#;
    let mut longest = Panel::new("Longest wait of one who stays", "clients who leave at once", "ms");
    let mut leave = Panel::new("CPU of a departure", "clients who leave at once", "µs");
    for count in [1_000, 3_000, 10_000, 18_000_usize] {
        let server = Measured::start(None).await?;
        let mut witness = Crowd::default();
        witness.grow_to(1, server.addr(), 1).await?;
        // A process of its own, so that the one who stays does not wait for the closing on our side.
        let leaving = crowd::hold(server.addr(), count).await?;
        settle().await;
        let (before, began, mut most) = (server.cpu()?, Instant::now(), Duration::ZERO);
        leaving.signal("KILL");
        let mut echoes = 0;
        while began.elapsed() < Duration::from_secs(2) {
            most = most.max(witness.hear(0, MESSAGE, 1).await?);
            echoes += 1;
        }
        longest.add(count, most.as_secs_f64() * 1e3);
        eprintln!("departure of {count}: {echoes} echoes meanwhile");
        leave.add(count, (server.cpu()? - before) / count as f64);
    }
    Ok(Study { title: "Clients who leave at once", panels: vec![longest, leave] })
}
