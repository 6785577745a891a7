//! The real `marey` binary on real files, as a user runs it.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

/// How the tests run the binary and write recipes.
mod harness;

/// Train, evaluate, predict: the same clip gets the same scores on every way.
mod road;

/// How a bundle answers: views, calibration, silence, smoothing, several bundles together.
mod answer;

/// Whole recordings: events and anomalies.
mod recordings;

/// What more clips would buy, and labels that look wrong.
mod doubts;

/// Runs beside each other on the same items.
mod compare;

/// Killed or interrupted in the middle of an epoch, a run goes on to the same losses, to the bit.
mod resume;

/// What the losses, averages, rates and groups of a recipe do to a run.
mod craft;

/// Training in half precision: it learns, resumes, and says what ran and what was skipped.
mod precision;

/// What a user gets wrong: one clear error, exit code 2, nothing half-written.
mod bad_input;

/// Audits, divisions and the ledger of the test split.
mod audit;

/// The commands that only look.
mod look;

/// Items that show the same footage.
mod twins;

/// What `marey bench` says of a model.
mod bench;

/// The shipped recipes on the data that they are written for, where it is there.
mod recipes;

/// Tasks beside one class of a list: other labels, anomalies.
mod tasks;
