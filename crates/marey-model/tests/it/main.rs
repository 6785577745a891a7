//! Integration tests of marey-model.
//!
//! The golden files come from `reference/model_golden.py`, `reference/clip_models_golden.py` and `reference/attribution_golden.py`.

/// Weights and clips that follow from a hash, as in the script.
mod hashed;

/// Outputs, gradients and running statistics are PyTorch's.
mod golden;

/// Checkpoints that PyTorch wrote, with all that they carry beside the weights.
mod import;

/// Training makes the loss smaller, and a seed gives a model.
mod train;

/// Bundles: written whole, read strictly.
mod bundle;

/// Outputs beside the classes.
mod heads;
