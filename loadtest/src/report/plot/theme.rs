//! Colours and type of all plots: one stylesheet, light unless the reader's system is dark.
//!
//! Plain rules instead of CSS variables, so that the many programs that show SVG and are no browsers show it
//! too, the light one. Colours of series are those of Okabe and Ito, darkened or lightened until a thin line
//! has contrast, which readers with any colour vision tell apart; ordered loads take a ramp that is monotone
//! in lightness (plasma on light, viridis on dark).

use std::fmt::Write as _;

/// A class and its colour on light and on dark.
const SERIES: &[(&str, &str, &str)] = &[
    ("c0", "#0068a8", "#56b4e9"),
    ("c1", "#cc4a00", "#ff8a4c"),
    ("c2", "#00805d", "#3ccfa0"),
    ("c3", "#95478e", "#e3a4d2"),
    ("c4", "#946800", "#e8bd37"),
    ("c5", "#59636e", "#9aa4ae"),
    ("r0", "#0d0887", "#3b7ea8"),
    ("r1", "#3e049c", "#2a8f9e"),
    ("r2", "#6300a7", "#21a08f"),
    ("r3", "#8606a6", "#35b07c"),
    ("r4", "#a62098", "#55bf68"),
    ("r5", "#c03a83", "#7ccd50"),
    ("r6", "#d5546e", "#a8d93a"),
    ("r7", "#e76f5a", "#d3e021"),
    ("r8", "#f58c46", "#fde725"),
];

const RAMP_STEPS: usize = 9;
const CATEGORIES: usize = 5;

/// What a page needs besides: ground, ink, muted ink, lines, raised ground, good, bad; light and dark.
pub const PAGE_COLOURS: [(&str, &str, &str); 7] = [
    ("ground", "#ffffff", "#0d1117"),
    ("ink", "#1f2328", "#e6edf3"),
    ("muted", "#59636e", "#9aa4ae"),
    ("lines", "#d7dce1", "#30363d"),
    ("raised", "#f5f7f9", "#161b22"),
    ("good", "#00704f", "#3ccfa0"),
    ("bad", "#b93a00", "#ff8a4c"),
];

const SHAPES: &str = "\
.plot{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-size:12px}
.plot text{font-variant-numeric:tabular-nums}
.plot .heading{font-size:16px;font-weight:600}
.plot .about{font-size:12.5px}
.plot .line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.plot .thin{stroke-width:1.25}
.plot .dashed{stroke-dasharray:5 4}
.plot .dot{fill:currentColor}
.plot .faint{fill-opacity:.35}
.plot .fill{fill:currentColor;fill-opacity:.14}
.plot .bar{fill:currentColor;fill-opacity:.85}
.plot .hit{fill:transparent}
.plot .strong{font-weight:600}
.plot .grid,.plot .axis{stroke-width:1;shape-rendering:crispEdges}
";

/// Rules by class for one set of colours.
fn colours(is_dark: bool) -> String {
    let page = |name: &str| {
        let (_, light, dark) = PAGE_COLOURS.iter().find(|(known, ..)| *known == name).expect("a name above");
        if is_dark { *dark } else { *light }
    };
    let axis = if is_dark { "#6b7681" } else { "#8b959f" };
    let grid = if is_dark { "#252b33" } else { "#e6eaee" };
    let (ground, ink, muted, lines) = (page("ground"), page("ink"), page("muted"), page("lines"));
    let mut rules = format!(
        ".plot text{{fill:{ink}}}.plot .name{{fill:currentColor}}\
         .plot .ground{{fill:{ground};stroke:{lines}}}\
         .plot .muted,.plot .tick,.plot .about{{fill:{muted}}}\
         .plot .grid{{stroke:{grid}}}.plot .axis{{stroke:{axis}}}\
         .plot .halo{{stroke:{ground};stroke-width:1.5}}"
    );
    for (class, light, dark) in SERIES {
        let colour = if is_dark { dark } else { light };
        let _ = write!(rules, ".plot .{class}{{color:{colour}}}");
    }
    rules + "\n"
}

/// All rules.
#[must_use]
pub fn style() -> String {
    format!("\n{SHAPES}{}@media (prefers-color-scheme:dark){{{}}}\n", colours(false), colours(true))
}

/// The class of one of so many loads: unlike colours for a few, a ramp for more, since those have an order.
pub fn class_of(place: usize, count: usize) -> String {
    if count <= 2 {
        return format!("c{}", place % CATEGORIES);
    }
    let step = (place * (RAMP_STEPS - 1)) as f64 / (count - 1) as f64;
    format!("r{}", (step.round() as usize).min(RAMP_STEPS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as WCAG has it.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        let linear =
            |part: f64| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn every_colour_can_be_seen_on_its_ground() {
        let (_, light_ground, dark_ground) = PAGE_COLOURS[0];
        for (class, light, dark) in SERIES.iter().copied() {
            // A line of two pixels needs less than letters do; only the very end of the ramp is that light.
            let least = if class == "r8" { 2.2 } else { 2.9 };
            assert!(contrast(light, light_ground) >= least, "{class} {}", contrast(light, light_ground));
            assert!(contrast(dark, dark_ground) >= 3.0, "{class} {}", contrast(dark, dark_ground));
        }
        for (name, light, dark) in
            PAGE_COLOURS.iter().copied().filter(|(name, ..)| ["ink", "muted", "good", "bad"].contains(name))
        {
            assert!(contrast(light, light_ground) >= 4.5 && contrast(dark, dark_ground) >= 4.5, "{name}");
        }
    }

    #[test]
    fn the_ramp_goes_one_way() {
        let ramp = |dark: bool| {
            SERIES
                .iter()
                .filter(|(class, ..)| class.starts_with('r'))
                .map(move |(_, l, d)| luminance(if dark { d } else { l }))
        };
        for dark in [false, true] {
            let all = ramp(dark).collect::<Vec<_>>();
            assert!(all.windows(2).all(|two| two[0] < two[1]), "{all:?}");
        }
    }

    #[test]
    fn few_loads_differ_and_many_are_a_ramp() {
        assert_eq!((class_of(0, 1), class_of(1, 2)), ("c0".into(), "c1".into()));
        let nine = (0..9).map(|place| class_of(place, 9)).collect::<Vec<_>>();
        assert_eq!(nine, (0..9).map(|step| format!("r{step}")).collect::<Vec<_>>());
        assert_eq!((class_of(0, 40), class_of(39, 40)), ("r0".into(), "r8".into()));
    }
}
