//! What the crate promises from outside.

/// Figures against scikit-learn and torchmetrics.
mod golden;

/// Properties of figures on any input, and the inputs that are refused.
mod figures;

/// Every plot, drawn.
mod plots;

/// The three forms of a report.
mod reports;

/// A report with everything in it.
mod sample;
