//! Progress of a run on stderr: a bar where it is a terminal, a line now and then where it is not.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use marey::train::{Event, Monitor, Observer};

use crate::{machine::readable_secs, output};

/// Seconds between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar over a known number of things.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Instant,
}

impl Bar {
    /// A bar at zero. `unit` is what is counted, in the plural.
    pub(crate) fn new(unit: &str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = format!("{{prefix}} {{wide_bar}} {{pos}}/{{len}} {unit} {{msg}}");
        bar.set_style(
            ProgressStyle::with_template(&template)
                .expect("the template is valid")
                .progress_chars("=> "),
        );
        Self {
            bar,
            is_terminal,
            last_line: Instant::now(),
        }
    }

    /// Shows `done` of `total`, with a word before and after.
    pub(crate) fn show(&mut self, prefix: &str, done: usize, total: usize, message: &str) {
        self.bar.set_length(total as u64);
        self.bar.set_prefix(prefix.to_owned());
        self.bar.set_message(message.to_owned());
        self.bar.set_position(done as u64);
        if !self.is_terminal && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            output::note(format!("{prefix} {done}/{total} {message}"));
        }
    }

    /// A line above the bar.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| output::note(text));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows a run.
#[derive(Debug)]
pub(crate) struct RunProgress {
    bar: Bar,
    monitor: Monitor,
    label: String,
}

impl RunProgress {
    /// For a run whose recipe watches `monitor`; `label` begins every line.
    pub(crate) fn new(monitor: Monitor, label: &str) -> Self {
        Self {
            bar: Bar::new("batches"),
            monitor,
            label: label.to_owned(),
        }
    }
}

impl Observer for RunProgress {
    fn on_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Step {
                record,
                num_epochs,
                batches_done,
                num_batches,
                time_left,
            } => {
                let prefix = format!("{}epoch {}/{num_epochs}", self.label, record.epoch);
                let message = format!(
                    "loss {:.3}, {:.1} clips/s, {} left",
                    record.loss,
                    record.clips_per_sec,
                    readable_secs(time_left.as_secs_f64())
                );
                self.bar
                    .show(&prefix, *batches_done, *num_batches, &message);
            }
            Event::Validating {
                clips_done,
                num_clips,
            } => {
                self.bar.show(
                    &format!("{}validating", self.label),
                    *clips_done,
                    *num_clips,
                    "",
                );
            }
            Event::Epoch {
                record,
                num_epochs,
                is_best,
            } => {
                let validation = record.validation.map_or_else(String::new, |found| {
                    let value = found.monitored;
                    let best = if *is_best { " (best)" } else { "" };
                    format!(", validation {} {value:.3}{best}", self.monitor.name())
                });
                self.bar.note(&format!(
                    "{}epoch {}/{num_epochs}: loss {:.3}{validation}, {:.1} clips/s, {}",
                    self.label,
                    record.epoch,
                    record.train_loss,
                    record.clips_per_sec,
                    readable_secs(record.seconds)
                ));
            }
            Event::Skipped { item, reason } => self.bar.note(&format!("left out {item}: {reason}")),
            _ => {}
        }
    }
}
