//! What is told of the queues for workers, and of the workers.
//!
//! Utilisation is the rate of the busy seconds, saturation the wait in the queue. Posts that nobody has taken
//! are left out; what was seen by a worker that has ended stays in the histograms.

use std::fmt;
use std::sync::Arc;

use super::{Kind, Page, Seconds};
use crate::observe::WorkerTally;

impl Page<'_> {
    pub(super) fn queues(&mut self) {
        self.labelled(
            "myriapod_requests_refused",
            "Requests turned away with nothing wrong about them, by reason.",
            "reason",
            |tally| &tally.refusals,
        );
        self.sum(
            "myriapod_requests_overdue",
            "Answers that took too long: 504, or a break where they had begun.",
            |tally| tally.overdue.value(),
        );
        self.sum("myriapod_answers_late", "Answers that came when nobody waited for them.", |tally| {
            tally.late_answers.value()
        });
        self.counters("myriapod_queue_submitted", "Requests handed to the queue for workers.", |tally| {
            tally.queued.value()
        });
        self.gauges("myriapod_queue_waiting", "Jobs that wait for a worker.", |tally| tally.waiting.value());
        self.gauges("myriapod_queue_out", "Jobs in the queue, at workers or on their way back.", |tally| {
            tally.out.value()
        });
        self.counters("myriapod_queue_wakes", "Times that a worker had to be woken for a job.", |tally| {
            tally.worker_wakes.value()
        });
    }

    pub(super) fn workers(&mut self, tallies: &[Arc<WorkerTally>], stuck: u32) {
        let manned: Vec<_> =
            tallies.iter().enumerate().filter(|(_, tally)| tally.manned.value() > 0).collect();
        let busy = manned.iter().filter(|(_, tally)| tally.began_ns.value() != 0).count();
        self.gauge("myriapod_workers", "Workers there are, substitutes included.", manned.len());
        self.gauge("myriapod_workers_busy", "Workers with a job in hand.", busy);
        self.gauge("myriapod_workers_stuck", "Workers in a handler that does not return.", stuck);

        let manned = &manned;
        self.by_worker("myriapod_worker_jobs", "Jobs done.", manned, |tally| tally.jobs.value());
        self.by_worker(
            "myriapod_worker_jobs_stolen",
            "Jobs taken from another queue than the own.",
            manned,
            |tally| tally.steals.value(),
        );
        self.by_worker(
            "myriapod_worker_jobs_unrun",
            "Jobs not run, since nobody wanted them.",
            manned,
            |tally| tally.unrun.value(),
        );
        self.by_worker(
            "myriapod_worker_busy_seconds",
            "Time spent on jobs that are done.",
            manned,
            |tally| Seconds(tally.busy_ns.value()),
        );
        self.by_worker("myriapod_worker_rests", "Times it went to sleep.", manned, |tally| {
            tally.rests.value()
        });
        self.by_worker("myriapod_worker_reactor_wakes", "Times it had to wake a reactor.", manned, |tally| {
            tally.wakes.value()
        });

        let waits = tallies.iter().map(|tally| &tally.wait);
        self.histogram("myriapod_queue_wait_seconds", "From the queue to a worker's hand.", waits);
        let services = tallies.iter().map(|tally| &tally.service);
        self.histogram("myriapod_handler_duration_seconds", "From a worker's hand to the answer.", services);
    }

    fn by_worker<V: fmt::Display>(
        &mut self,
        name: &str,
        help: &str,
        manned: &[(usize, &Arc<WorkerTally>)],
        value: impl Fn(&WorkerTally) -> V,
    ) {
        self.family(name, Kind::Counter, help);
        for (worker, tally) in manned {
            self.sample(name, "_total", format_args!("worker=\"{worker}\""), value(tally));
        }
    }
}
