//! What the crate promises from outside.

/// Figures against scikit-learn and torchmetrics.
mod golden;

/// Properties of figures on any input, and the inputs that are refused.
mod figures;

/// Figures of scores against scikit-learn, torchmetrics and SciPy.
mod judge;

/// How often random labels are taken for skill.
mod chance;

/// Every plot, drawn.
mod plots;

/// The three forms of a report.
mod reports;

/// Runs beside each other.
mod runs;

/// A report with everything in it.
mod sample;
