//! Curves as SVG: a few panels side by side, the x axis logarithmic, the y axis from zero.

use std::fmt::Write;

use socketio_benches::chart::{Scale, card, ceiling};

/// What one run over one variable showed.
pub(crate) struct Study {
    pub(crate) title: &'static str,
    pub(crate) panels: Vec<Panel>,
}

/// One curve.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    x: &'static str,
    unit: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Panel {
    pub(crate) fn new(title: &'static str, x: &'static str, unit: &'static str) -> Self {
        Self { title, x, unit, points: Vec::new() }
    }

    pub(crate) fn add(&mut self, x: usize, y: f64) {
        self.points.push((x as f64, y));
    }
}

const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 250.0;
/// Where the curve is within its panel.
const LEFT: f64 = 52.0;
/// Its first point stands clear of the scale.
const FIRST: f64 = LEFT + 20.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = HEIGHT - 46.0;

/// What a scale may end at.
const STEPS: [f64; 9] = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];

/// The whole picture.
pub(crate) fn draw(study: &Study) -> String {
    let width = WIDTH * study.panels.len() as f64;
    let mut svg = card(width, HEIGHT, study.title);
    for (number, panel) in study.panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", WIDTH * number as f64);
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let Some((&(first, _), &(last, _))) = self.points.first().zip(self.points.last()) else { return };
        let most = ceiling(self.points.iter().map(|point| point.1).fold(0.0, f64::max), &STEPS);
        let scale = Scale { left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM, most };
        let across = |x: f64| FIRST + (RIGHT - FIRST) * (x / first).ln() / (last / first).ln();
        let _ = write!(svg, "<text x=\"16\" y=\"48\" font-weight=\"600\">{}, {}</text>", self.title, self.unit);
        for share in Scale::LEVELS {
            scale.level(svg, share, short(most * share));
        }
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, RIGHT),
            HEIGHT - 10.0,
            self.x
        );
        let line = self.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), scale.up(*y)));
        let line = line.collect::<Vec<_>>().join(" ");
        let _ = write!(svg, "<polyline points=\"{line}\" fill=\"none\" stroke=\"#2563eb\" stroke-width=\"2\"/>");
        for (x, y) in &self.points {
            let (at, high) = (across(*x), scale.up(*y));
            let _ = write!(
                svg,
                "<circle cx=\"{at:.1}\" cy=\"{high:.1}\" r=\"3\" fill=\"#2563eb\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#1e40af\">{}</text>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                high - 8.0,
                short(*y),
                BOTTOM + 16.0,
                short(*x)
            );
        }
    }
}

/// Three digits, thousands as `k`.
fn short(value: f64) -> String {
    let (value, letter) = match value {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}
