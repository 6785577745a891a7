//! A rate that falls when a figure stops becoming better.

use serde::{Deserialize, Serialize};

use super::{ScheduleConfig, ScheduleKind};
use crate::Monitor;

/// What a plateau schedule remembers between epochs; part of the checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// What the rate is multiplied by now, 0–1.
    pub scale: f64,
    pub(super) best: Option<f64>,
    pub(super) bad_epochs: usize,
    pub(super) cooldown_left: usize,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            scale: 1.0,
            best: None,
            bad_epochs: 0,
            cooldown_left: 0,
        }
    }
}

impl Plateau {
    /// Takes in the figure of an epoch, if the schedule listens to one.
    pub(crate) fn update(&mut self, config: &ScheduleConfig, monitor: &Monitor, value: f64) {
        if config.kind != ScheduleKind::Plateau {
            return;
        }
        let min_delta = config.min_delta.unwrap_or(1e-4);
        let is_better = !value.is_nan()
            && self
                .best
                .is_none_or(|best| monitor.is_better(value, best, min_delta));
        if is_better {
            self.best = Some(value);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs += 1;
        }
        if self.cooldown_left > 0 {
            self.cooldown_left -= 1;
            self.bad_epochs = 0;
        }
        if self.bad_epochs > config.patience.unwrap_or(10) {
            self.scale *= config.factor.unwrap_or(0.1);
            self.cooldown_left = config.cooldown.unwrap_or(0);
            self.bad_epochs = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyTorch 2.15.0, by reference/schedule_golden.py; also when its state goes through a checkpoint each time.
    #[test]
    fn a_plateau_equals_pytorch() {
        let text = "kind = \"plateau\"\nfactor = 0.5\npatience = 1\nmin_delta = 0.01\ncooldown = 1\nmin_lr = 0.02";
        let mut config: ScheduleConfig = toml::from_str(text).expect("valid TOML");
        config.resolve(15).expect("valid");
        let golden = [
            // (figure, rate after it)
            (0.3, 0.1),
            (0.5, 0.1),
            (0.505, 0.1),
            (0.5, 0.05),
            (0.4, 0.05),
            (0.4, 0.05),
            (0.4, 0.025),
            (0.4, 0.025),
            (0.6, 0.025),
            (0.6, 0.025),
            (0.6, 0.02),
            (0.6, 0.02),
            (0.6, 0.02),
            (0.6, 0.02),
            (0.6, 0.02),
        ];
        let mut plateau = Plateau::default();
        for (epoch, (figure, expect)) in golden.into_iter().enumerate() {
            plateau.update(&config, &Monitor::MacroF1, figure);
            let found = config.lowered(0.1, &plateau);
            assert!(
                (found - expect).abs() < 1e-12,
                "{found} is not {expect} after epoch {epoch}"
            );
            let text = serde_json::to_string(&plateau).expect("JSON");
            plateau = serde_json::from_str(&text).expect("the same");
        }
    }

    #[test]
    fn a_figure_that_is_no_number_is_no_better_one() {
        let mut config = ScheduleConfig {
            kind: ScheduleKind::Plateau,
            patience: Some(0),
            ..ScheduleConfig::default()
        };
        config.resolve(5).expect("valid");
        let mut plateau = Plateau::default();
        for figure in [1.0, f64::NAN] {
            plateau.update(&config, &Monitor::Loss, figure);
        }
        assert_eq!(plateau.scale, 0.1);
    }
}
