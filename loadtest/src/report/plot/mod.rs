//! Plots of a report as SVG: each drawn twice, for a wide page and for a phone.
//!
//! Drawn by hand rather than with the `plotters` crate: its SVG backend writes colours as attributes and
//! knows neither classes nor `<title>`, so dark mode would be patched into its text afterwards and tooltips
//! could not be had at all; what is left of it, scales and ticks, is small (`scale.rs`), and neither a
//! percentile axis nor bytes in powers of two are among it.
//!
//! Promises: text is text, ticks are round, labels do not cover one another, nothing comes from a network,
//! and what came from outside is escaped. One stylesheet (`theme.rs`) has all colours, for light and dark.
//! Which plots a report has is told in `charts.rs`.

mod charts;
mod frame;
mod legend;
mod load;
mod memory;
mod pen;
mod percentiles;
mod probes;
mod ratios;
mod scale;
mod theme;
mod time;

pub use charts::all;
pub use pen::escape;
pub use theme::{PAGE_COLOURS, style};

/// One plot, drawn for both widths.
pub struct Plot {
    /// For files: `latency-percentiles`.
    pub name: &'static str,
    pub title: &'static str,
    /// How to read it, in a sentence.
    pub about: String,
    pub wide: Picture,
    pub narrow: Picture,
}

/// What is between the tags of an SVG.
pub struct Picture {
    pub width: f64,
    pub height: f64,
    body: String,
}

/// Widths of a picture: of a page's column, and of a phone held upright.
const WIDE: f64 = 860.0;
const NARROW: f64 = 360.0;

/// Room of a standalone picture around the plot, and above it for what the page would say.
const PADDING: f64 = 24.0;
const TITLE_HEIGHT: f64 = 54.0;

impl Plot {
    /// Draws for both widths; the width is all that a drawing may depend on.
    fn draw(name: &'static str, title: &'static str, about: String, draw: impl Fn(f64) -> Picture) -> Plot {
        Plot { name, title, about, wide: draw(WIDE), narrow: draw(NARROW) }
    }

    /// A whole file, on a ground of its own: a page cannot tell a picture which colours it has.
    #[must_use]
    pub fn standalone(&self) -> String {
        let (width, height) =
            (self.wide.width + 2.0 * PADDING, self.wide.height + TITLE_HEIGHT + 2.0 * PADDING);
        let (style, title, about) = (style(), escape(self.title), escape(&self.about));
        let title_at = PADDING + 14.0;
        let about_at = title_at + 20.0;
        let top = PADDING + TITLE_HEIGHT;
        let body = &self.wide.body;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n<style>{style}</style>\n\
             <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
             <text class=\"heading\" x=\"{PADDING}\" y=\"{title_at}\">{title}</text>\n\
             <text class=\"about\" x=\"{PADDING}\" y=\"{about_at}\">{about}</text>\n\
             <g transform=\"translate({PADDING} {top})\">\n{body}</g>\n</svg>\n",
            width - 1.0,
            height - 1.0,
        )
    }
}

impl Picture {
    /// To stand in a page that has the stylesheet.
    #[must_use]
    pub fn inline(&self, label: &str) -> String {
        let Picture { width, height, body } = self;
        let label = escape(label);
        format!(
            "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">\n\
             {body}</svg>\n"
        )
    }
}
