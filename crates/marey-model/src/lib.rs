//! Layers, architectures, weights and the model card.
