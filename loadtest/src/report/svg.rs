//! The plots of a report as files of their own, for READMEs and articles.

use super::{Report, plot};

/// Name without ending, and text of the file.
#[must_use]
pub fn plots(report: &Report) -> Vec<(String, String)> {
    let file = |plot: plot::Plot| (plot.name.to_owned(), plot.standalone());
    plot::all(report).into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn names(report: &Report) -> Vec<String> {
        plots(report).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn every_plot_is_well_formed_and_needs_nobody() {
        for (sample, report) in samples::all() {
            for (name, text) in plots(&report) {
                let document = roxmltree::Document::parse(&text)
                    .unwrap_or_else(|error| panic!("{sample} {name}: {error}"));
                assert_eq!(document.root_element().tag_name().name(), "svg");
                assert!(!text.contains("NaN") && !text.contains("inf\""), "{sample} {name}");
                assert!(!text.contains("href") && !text.contains("url("), "{sample} {name}");
                assert!(!text.contains("<script>alert"), "{sample} {name}");
            }
        }
    }

    #[test]
    fn each_mode_has_the_plots_it_has_figures_for() {
        assert_eq!(names(&samples::closed()), ["latency-percentiles", "latency-time"]);
        assert_eq!(
            names(&samples::sweep()),
            ["throughput-load", "latency-load", "latency-percentiles", "latency-time"]
        );
        assert_eq!(
            names(&samples::hold()),
            ["memory-connections", "probe-connections", "latency-percentiles"]
        );
        assert_eq!(names(&samples::compare()), ["ratio-rate", "ratio-cpu", "ratio-memory"]);
        assert!(names(&Report::default()).is_empty());
    }

    /// Nothing is drawn outside the picture, and no two texts of a plot lie on one another.
    #[test]
    fn texts_stay_within_the_picture_and_apart() {
        for (sample, report) in samples::all() {
            for plot in plot::all(&report) {
                for picture in [&plot.wide, &plot.narrow] {
                    let text = picture.inline(plot.title);
                    let document = roxmltree::Document::parse(&text).unwrap();
                    let boxes = document.descendants().filter(|node| node.has_tag_name("text")).map(bounds);
                    let boxes = boxes.collect::<Vec<_>>();
                    for (at, one) in boxes.iter().enumerate() {
                        let place = format!("{sample} {} {}: {one:?}", plot.name, picture.width);
                        assert!(one.left >= -1.0 && one.right <= picture.width + 1.0, "{place}");
                        assert!(one.top >= -1.0 && one.bottom <= picture.height + 1.0, "{place}");
                        for other in &boxes[at + 1..] {
                            let apart = one.right <= other.left
                                || other.right <= one.left
                                || one.bottom <= other.top
                                || other.bottom <= one.top;
                            assert!(apart, "{place} on {other:?}");
                        }
                    }
                }
            }
        }
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "the text is for whoever reads the failure")]
    struct Bounds {
        text: String,
        left: f64,
        right: f64,
        top: f64,
        bottom: f64,
    }

    fn bounds(node: roxmltree::Node<'_, '_>) -> Bounds {
        let number = |name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let parts = node.descendants().filter(|part| part.is_text()).filter_map(|part| part.text());
        let text = parts.collect::<String>();
        // A little less than the pen reckons with: what it leaves free is air, not a rule.
        let width = text.chars().count() as f64 * 6.2;
        let left = match node.attribute("text-anchor").unwrap() {
            "start" => number("x"),
            "middle" => number("x") - width / 2.0,
            _ => number("x") - width,
        };
        Bounds { text, left, right: left + width, top: number("y") - 9.0, bottom: number("y") + 2.0 }
    }
}
