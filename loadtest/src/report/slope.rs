//! Bytes a connection adds: a straight line through the steps of a hold, by least squares.
//!
//! Server, kernel and machine apart. A slope says how well it fits, because a number of bytes that came of
//! two noisy steps is worth little. Nothing here knows where the memory went.

use serde::Serialize;

use super::{Report, Step};

/// `bytes = base_bytes + bytes_per_connection * connections`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slope {
    pub bytes_per_connection: f64,
    pub base_bytes: f64,
    /// One standard error of the bytes per connection; none below three steps, which fit any line.
    pub standard_error: Option<f64>,
    /// Share of the spread that the line explains (r squared), 1 when all lie on it.
    pub fit: f64,
    pub steps: usize,
}

/// One line for each kind of memory that was seen at two numbers of connections or more.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Slopes {
    /// Proportional set size of the server: user memory.
    pub server: Option<Slope>,
    /// All slabs of the kernel.
    pub kernel: Option<Slope>,
    /// All memory the machine has in use, the generator's too.
    pub machine: Option<Slope>,
    /// Proportional set size of the generator.
    pub own: Option<Slope>,
}

/// The lines through the steps of a report.
#[must_use]
pub fn slopes(report: &Report) -> Slopes {
    let of = |bytes: fn(&Step) -> Option<u64>| {
        let seen = |step: &Step| Some((step.connections as f64, bytes(step)? as f64));
        line(&report.steps.iter().filter_map(seen).collect::<Vec<_>>())
    };
    Slopes {
        server: of(|step| step.server_bytes),
        kernel: of(|step| Some(step.slab_bytes)),
        machine: of(|step| Some(step.used_bytes)),
        own: of(|step| Some(step.own_bytes)),
    }
}

/// None where all points stand above one another.
fn line(points: &[(f64, f64)]) -> Option<Slope> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    // Around the means: sums of squares of bytes themselves would drown the slope in rounding.
    let spread_x = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    let spread_y = points.iter().map(|(_, y)| (y - mean_y).powi(2)).sum::<f64>();
    let common = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    if points.len() < 2 || spread_x <= 0.0 {
        return None;
    }
    let slope = common / spread_x;
    let left = points.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum::<f64>();
    Some(Slope {
        bytes_per_connection: slope,
        base_bytes: mean_y - slope * mean_x,
        standard_error: (points.len() > 2).then(|| (left / (count - 2.0) / spread_x).sqrt()),
        fit: if spread_y > 0.0 { (1.0 - left / spread_y).clamp(0.0, 1.0) } else { 1.0 },
        steps: points.len(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_step_has_no_slope_and_two_have_no_error() {
        assert_eq!(line(&[]), None);
        assert_eq!(line(&[(1_000.0, 5.0)]), None);
        assert_eq!(line(&[(1_000.0, 5.0), (1_000.0, 6.0)]), None);
        let slope = line(&[(0.0, 100.0), (10.0, 580.0)]).unwrap();
        assert_eq!((slope.bytes_per_connection, slope.base_bytes, slope.standard_error), (48.0, 100.0, None));
    }

    #[test]
    fn noise_shows_in_the_error_and_the_fit() {
        let straight = line(&[(0.0, 0.0), (1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]).unwrap();
        let noisy = line(&[(0.0, 4.0), (1.0, 6.0), (2.0, 24.0), (3.0, 27.0)]).unwrap();
        assert_eq!((straight.fit, straight.standard_error), (1.0, Some(0.0)));
        assert!(noisy.fit < 0.9 && noisy.standard_error.unwrap() > 1.0, "{noisy:?}");
        // By hand: common 43.5, spread_x 5, left 48.3.
        assert!((noisy.bytes_per_connection - 8.7).abs() < 1e-9, "{noisy:?}");
        assert!((noisy.standard_error.unwrap() - 2.198).abs() < 0.001, "{noisy:?}");
    }

    #[test]
    fn memory_that_does_not_grow_is_a_perfect_line_of_nothing() {
        let flat = line(&[(0.0, 7.0), (1.0, 7.0), (2.0, 7.0)]).unwrap();
        assert_eq!((flat.bytes_per_connection, flat.fit), (0.0, 1.0));
    }

    #[test]
    fn kinds_of_memory_are_kept_apart_and_the_unknown_is_left_out() {
        let step = |connections, server_bytes, slab_bytes| Step {
            connections,
            server_bytes,
            slab_bytes,
            ..Step::default()
        };
        let steps =
            vec![step(0, Some(3_000_000), 1 << 30), step(1_000, Some(3_048_000), (1 << 30) + 3_840_000)];
        let slopes = slopes(&Report { steps, ..Report::default() });
        assert_eq!(slopes.server.unwrap().bytes_per_connection, 48.0);
        assert_eq!(slopes.kernel.unwrap().bytes_per_connection, 3_840.0);
        let steps = vec![step(0, None, 1), step(10, None, 2)];
        assert!(super::slopes(&Report { steps, ..Report::default() }).server.is_none());
    }

    proptest! {
        #[test]
        fn a_line_is_found_again(slope in -10_000.0..10_000.0_f64, base in 0.0..1e11_f64) {
            let points: Vec<_> = [0.0, 1e5, 2.5e5, 5e5, 1e6].map(|x| (x, base + slope * x)).to_vec();
            let found = line(&points).unwrap();
            prop_assert!((found.bytes_per_connection - slope).abs() < 1e-3, "{found:?}");
        }
    }
}
