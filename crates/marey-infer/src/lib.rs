//! Bundles in, predictions out.
