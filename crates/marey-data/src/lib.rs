//! Manifests, importers, splits, the packed store and the loader.
