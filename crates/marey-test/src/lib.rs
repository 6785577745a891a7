//! Synthetic videos and test helpers.
