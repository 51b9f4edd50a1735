//! What the curves of the studies have in common: a white card with a title, and the scale at the left of a panel.

use std::fmt::{Display, Write};

/// Begins a picture on a white card, so that it can be read on any page. `</svg>` ends it.
pub fn card(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"11\" fill=\"#333\"><title>{title}</title><rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#fff\"/>\
         <text x=\"16\" y=\"24\" font-size=\"15\" font-weight=\"600\">{title}</text>\n"
    )
}

/// The y axis of a panel: from zero at the bottom to `most` at the top.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Where the curves begin.
    pub left: f64,
    /// Where they end.
    pub right: f64,
    /// Where `most` is.
    pub top: f64,
    /// Where zero is.
    pub bottom: f64,
    /// The highest value there is room for.
    pub most: f64,
}

impl Scale {
    /// The values that are written beside a scale, as shares of the highest.
    pub const LEVELS: [f64; 3] = [0.0, 0.5, 1.0];

    /// Where a value is.
    pub fn up(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * value / self.most
    }

    /// Draws a line at this share of the highest value, and writes beside it what it is.
    pub fn level(&self, svg: &mut String, share: f64, label: impl Display) {
        let y = self.up(self.most * share);
        let Self { left, right, .. } = self;
        let _ = write!(
            svg,
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            left - 6.0,
            y + 4.0,
        );
    }
}

/// The next number that a scale may end at: one of `steps`, from 1 to 10, times a power of ten.
pub fn ceiling(most: f64, steps: &[f64]) -> f64 {
    let ten = 10_f64.powf(most.max(1e-9).log10().floor());
    steps.iter().map(|step| step * ten).find(|top| *top >= most).unwrap_or(most)
}
