//! The curves themselves: the rate of a step after the warm-up.

use std::f64::consts::PI;

use super::{Anneal, ScheduleConfig, ScheduleKind};

/// The share of the way from the start at `done` of its time, both 0 to 1.
pub(crate) fn anneal(kind: Anneal, done: f64) -> f64 {
    let done = done.clamp(0.0, 1.0);
    match kind {
        Anneal::Cosine => 0.5 * (1.0 - (PI * done).cos()),
        Anneal::Linear => done,
    }
}

/// A curve with its lengths in steps.
#[derive(Clone, Debug)]
pub(super) enum Curve {
    Constant,
    /// Down from step `first` to step `last`.
    Cosine {
        first: usize,
        last: usize,
        min_lr: f64,
    },
    OneCycle {
        /// The step with the peak, which may lie between two.
        peak: f64,
        last: f64,
        /// First and last rate as shares of the peak.
        ends: [f64; 2],
        kind: Anneal,
    },
    WarmRestarts {
        first: usize,
        period: f64,
        factor: f64,
        min_lr: f64,
    },
    Step {
        factor: f64,
        steps_per_epoch: usize,
        when: When,
    },
}

/// After which epochs the rate falls.
#[derive(Clone, Debug)]
pub(super) enum When {
    Milestones(Vec<usize>),
    Every(usize),
}

impl Curve {
    pub(super) fn new(
        config: &ScheduleConfig,
        warmup_steps: usize,
        steps_per_epoch: usize,
        num_steps: usize,
    ) -> Self {
        let min_lr = config.min_lr.unwrap_or(0.0);
        match config.kind {
            ScheduleKind::Constant | ScheduleKind::Plateau => Self::Constant,
            ScheduleKind::Cosine => Self::Cosine {
                first: warmup_steps,
                last: num_steps.saturating_sub(1).max(warmup_steps + 1),
                min_lr,
            },
            ScheduleKind::OneCycle => {
                let first = config.div_factor.unwrap_or(25.0).recip();
                let num = num_steps as f64;
                Self::OneCycle {
                    peak: (config.pct_start.unwrap_or(0.3) * num - 1.0).max(0.0),
                    last: num - 1.0,
                    ends: [first, first / config.final_div_factor.unwrap_or(1e4)],
                    kind: config.anneal.unwrap_or_default(),
                }
            }
            ScheduleKind::WarmRestarts => Self::WarmRestarts {
                first: warmup_steps,
                // A period shorter than a step restarts at every step.
                period: (config.period_epochs.unwrap_or(1.0) * steps_per_epoch as f64).max(1.0),
                factor: config.period_factor.unwrap_or(1.0),
                min_lr,
            },
            ScheduleKind::Step => Self::Step {
                factor: config.factor.unwrap_or(0.1),
                steps_per_epoch: steps_per_epoch.max(1),
                when: match &config.milestones {
                    Some(milestones) => When::Milestones(milestones.clone()),
                    None => When::Every(config.every_epochs.unwrap_or(1)),
                },
            },
        }
    }

    /// The rate of `step`, where the peak is `peak_lr`.
    pub(super) fn lr(&self, peak_lr: f64, step: usize) -> f64 {
        let down = |min_lr: f64, done: f64| {
            min_lr + (peak_lr - min_lr) * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
        };
        match self {
            Self::Constant => peak_lr,
            &Self::Cosine {
                first,
                last,
                min_lr,
            } => down(min_lr, (step - first) as f64 / (last - first) as f64),
            &Self::OneCycle {
                peak,
                last,
                ends: [start, end],
                kind,
            } => {
                let at = step as f64;
                let (from, to, done) = if at <= peak && peak > 0.0 {
                    (start, 1.0, at / peak)
                } else if last > peak {
                    (1.0, end, (at - peak) / (last - peak))
                } else {
                    (1.0, 1.0, 1.0)
                };
                peak_lr * (from + (to - from) * anneal(kind, done))
            }
            &Self::WarmRestarts {
                first,
                mut period,
                factor,
                min_lr,
            } => {
                let mut at = (step - first) as f64;
                while at >= period {
                    at -= period;
                    period *= factor;
                }
                down(min_lr, at / period)
            }
            Self::Step {
                factor,
                steps_per_epoch,
                when,
            } => {
                let epoch = step / steps_per_epoch;
                let times = match when {
                    When::Milestones(milestones) => {
                        milestones.iter().filter(|&&after| epoch >= after).count()
                    }
                    When::Every(every) => epoch / every,
                };
                peak_lr * factor.powi(times as i32)
            }
        }
    }
}
