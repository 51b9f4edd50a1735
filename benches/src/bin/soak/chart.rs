//! The run as a picture: a few curves over its minutes, one line for each server.

use std::fmt::Write;

use serde_json::Value;
use socketio_benches::chart::{Scale, card, ceiling};

const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = HEIGHT - 30.0;
const ACROSS: usize = 3;
const HEAD: f64 = 40.0;
const COLOURS: [&str; 2] = ["#2563eb", "#ea580c"];

/// What is drawn: the title, where it stands in a server's state, and what one of it is in the unit of the title.
const PANELS: [(&str, &str, f64); 9] = [
    ("Memory, MiB", "/process/rss", 1024.0),
    ("File descriptors", "/process/fds", 1.0),
    ("Tasks", "/process/tasks", 1.0),
    ("Connections that poll", "/gauges/polling", 1.0),
    ("WebSockets", "/gauges/websocket", 1.0),
    ("Rooms", "/gauges/rooms", 1.0),
    ("Questions without an answer yet", "/gauges/handlers waiting", 1.0),
    ("Bytes that wait for clients, MiB", "/gauges/queued bytes", 1_048_576.0),
    ("Messages that wait for Redis", "/gauges/cluster queue", 1.0),
];

/// What a scale may end at.
const STEPS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];

/// The whole picture.
pub(crate) fn draw(samples: &[Value]) -> String {
    let (width, height) = (WIDTH * ACROSS as f64, HEAD + HEIGHT * PANELS.len().div_ceil(ACROSS) as f64);
    let last = samples.last();
    let minutes = last.and_then(|sample| sample["seconds"].as_f64()).unwrap_or(0.0) / 60.0;
    let came = last.map_or(0, |sample| sample["clients"]["came"].as_u64().unwrap_or(0));
    let title = format!("{minutes:.0} minutes of two servers with one Redis, {came} clients that came and went");
    let mut svg = card(width, height, &title);
    for (number, (title, path, unit)) in PANELS.into_iter().enumerate() {
        let (column, row) = (number % ACROSS, number / ACROSS);
        let _ = writeln!(
            svg,
            "<g transform=\"translate({} {})\"><text x=\"16\" y=\"24\" font-weight=\"600\">{title}</text>",
            WIDTH * column as f64,
            HEAD + HEIGHT * row as f64
        );
        panel(&mut svg, samples, path, unit, minutes);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, samples: &[Value], path: &str, unit: f64, minutes: f64) {
    let lines: Vec<Vec<(f64, f64)>> = (0..COLOURS.len()).map(|server| line(samples, server, path, unit)).collect();
    let most = ceiling(lines.iter().flatten().map(|point| point.1).fold(1.0, f64::max), &STEPS);
    let scale = Scale { left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM, most };
    let across = |x: f64| LEFT + (RIGHT - LEFT) * x / minutes.max(1e-9);
    for share in Scale::LEVELS {
        scale.level(svg, share, most * share);
        let x = minutes * share;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{x:.0} min</text>",
            across(x),
            BOTTOM + 16.0
        );
    }
    for (points, colour) in lines.iter().zip(COLOURS) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), scale.up(*y))).collect();
        let _ = write!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", points.join(" "));
    }
}

/// A server's values over the minutes; of samples that come close together the highest, so that no peak is lost.
fn line(samples: &[Value], server: usize, path: &str, unit: f64) -> Vec<(f64, f64)> {
    const MOST: usize = 250;
    let points = samples.iter().filter_map(|sample| {
        let value = sample["servers"][server].pointer(path)?.as_f64()? / unit;
        Some((sample["seconds"].as_f64()? / 60.0, value))
    });
    let points: Vec<_> = points.collect();
    let together = points.len().div_ceil(MOST).max(1);
    let (last, some) = points.split_last().map_or((None, &points[..0]), |(last, some)| (Some(*last), some));
    let highest =
        some.chunks(together).map(|chunk| (chunk[0].0, chunk.iter().map(|point| point.1).fold(0.0, f64::max)));
    highest.chain(last).collect()
}
