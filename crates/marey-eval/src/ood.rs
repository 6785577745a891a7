//! How foreign an input looks: scores that are high for what the model was not trained on.

use crate::{Error, ErrorKind};

/// A score computed from the logits of one item; the higher, the more foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreignness {
    /// `1 - max p`, one less the best softmax score. Hendrycks and Gimpel, ICLR 2017.
    OneLessBest,
    /// The entropy of the softmax scores, in nats.
    Entropy,
    /// The energy `-ln Σ exp(logit)`, which only logits give. Liu et al., NeurIPS 2020.
    Energy,
}

impl Foreignness {
    /// Every score.
    pub const ALL: [Self; 3] = [Self::OneLessBest, Self::Entropy, Self::Energy];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneLessBest => "msp",
            Self::Entropy => "entropy",
            Self::Energy => "energy",
        }
    }

    /// The score of an item.
    ///
    /// # Errors
    /// No logit, or one that is not finite.
    pub fn of(self, logits: &[f32]) -> Result<f64, Error> {
        if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
            return Err(ErrorKind::Logits.into());
        }
        let wide = || logits.iter().map(|&logit| f64::from(logit));
        let top = wide().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = top + wide().map(|logit| (logit - top).exp()).sum::<f64>().ln();
        Ok(match self {
            Self::OneLessBest => 1.0 - (top - log_sum).exp(),
            // An exponential that rounds to 0 adds nothing, as p ln p does.
            Self::Entropy => wide()
                .map(|logit| (logit - log_sum).exp() * (log_sum - logit))
                .sum(),
            Self::Energy => -log_sum,
        })
    }
}
